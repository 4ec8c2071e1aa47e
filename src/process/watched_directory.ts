/**
 * Events of directories, one inotify watch for each however many want to hear.
 *
 * They are shared for a reason beyond thrift: the runtime keeps one watch for each path, and goes on using it for later
 * callers when the directory itself was removed and made again, which it does not notice. So a directory has one owner
 * here, who closes and opens its watch whenever it may be another directory than before.
 */
import { type FSWatcher, watch } from "node:fs";
import { basename } from "node:path";

/** `name` is the entry that was made, written, renamed or removed; null if anything may have changed. */
export type DirectoryListener = (name: string | null) => void;

export interface DirectorySubscription {
  /** Why nothing will be heard, e.g. `ENOSPC` when the system has no more watches, or `EACCES`; undefined if all is well. */
  readonly failure: string | undefined;
  close(): void;
}

const shared = new Map<string, SharedDirectory>();

/** Subscribes to a directory by its real path, without symbolic links. It keeps no process alive. */
export function watchDirectory(path: string, listener: DirectoryListener): DirectorySubscription {
  let directory = shared.get(path);
  if (directory === undefined) shared.set(path, directory = new SharedDirectory(path));
  const own = directory;
  own.listeners.add(listener);
  own.ensureOpen();
  return {
    get failure() {
      return own.failure;
    },
    close() {
      if (!own.listeners.delete(listener) || own.listeners.size > 0) return;
      own.close();
      shared.delete(path);
    },
  };
}

class SharedDirectory {
  readonly listeners = new Set<DirectoryListener>();
  failure: string | undefined;
  readonly #path: string;
  #watcher: FSWatcher | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  ensureOpen(): void {
    if (this.#watcher !== undefined) return;
    try {
      const watcher = watch(this.#path, { persistent: false }, (_, name) => this.#happened(watcher, name));
      watcher.on("error", (error) => this.#broken(watcher, error));
      this.#watcher = watcher;
      this.failure = undefined;
    } catch (error) {
      this.failure = codeOf(error);
    }
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  reopen(): void {
    this.close();
    this.ensureOpen();
  }

  #happened(watcher: FSWatcher, name: string | null): void {
    if (watcher !== this.#watcher) return;
    // What is told under the directory's own name is that it was itself moved or removed.
    if (name === null || name === basename(this.#path)) this.reopen();
    if (name !== null) reopenBelow(this.#path === "/" ? `/${name}` : `${this.#path}/${name}`);
    for (const listener of [...this.listeners]) listener(name);
  }

  #broken(watcher: FSWatcher, error: unknown): void {
    if (watcher !== this.#watcher) return;
    this.close();
    this.failure = codeOf(error);
    for (const listener of [...this.listeners]) listener(null);
  }
}

/** The directory at `path`, and those in it, may be others now. */
function reopenBelow(path: string): void {
  for (const [other, directory] of shared) {
    if (other === path || other.startsWith(`${path}/`)) directory.reopen();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
