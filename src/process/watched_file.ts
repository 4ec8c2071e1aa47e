/**
 * A file that others change while we run: roots of trust, revocation lists.
 *
 * Files change in three ways: written in place, replaced by a rename, or, in a mounted ConfigMap, by a symbolic link in
 * their path that is made to point elsewhere. And they, or the directories above, may come only later. All of it shows
 * in the directories that the kernel passes through on its way from the root to the file, so those are watched, each for
 * the one name that is looked up in it.
 */
import { lstatSync, readlinkSync, type Stats, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type DirectorySubscription, watchDirectory } from "./watched_directory.ts";

/** Quiet time after a change before it is told (spec/ztunnel.md §3.4, §3.6); ms. */
const DEBOUNCE_MS = 2_000;
/**
 * In quiet times: a file that is never quiet is told of after so long, and so often a file is looked at where the system
 * gives no watch, e.g. because others have them all.
 */
const LONGEST_DEBOUNCES = 5;
/** Symbolic links on the way, as in the kernel (path_resolution(7)). */
const MAX_LINKS = 40;
/** Directories that change while they are being followed are followed again, so many times before the next event. */
const MAX_ROUNDS = 8;

/**
 * Calls `onChange` after the file at `path` became another one: written, replaced, there at last. Not for its removal:
 * there is nothing to read then. Watch first and read afterwards, so that nothing is missed. Keeps no process alive.
 */
export function watchFile(path: string, onChange: () => void, debounceMs: number = DEBOUNCE_MS): { close(): void } {
  return new WatchedFile(resolve(path), onChange, debounceMs);
}

class WatchedFile {
  readonly #path: string;
  readonly #onChange: () => void;
  readonly #debounceMs: number;
  readonly #subscriptions = new Map<string, DirectorySubscription>();
  /** The names looked up on the way, by directory. */
  #lookups: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  /** What the file was when it was told of last. */
  #known: string | undefined;
  #timer: Timer | undefined;
  #poll: Timer | undefined;
  /** When the first of the events came that are not told yet, by performance.now(). */
  #since: number | undefined;
  #closed = false;

  constructor(path: string, onChange: () => void, debounceMs: number) {
    this.#path = path;
    this.#onChange = onChange;
    this.#debounceMs = debounceMs;
    this.#follow();
    this.#known = fingerprint(path);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#poll);
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
  }

  /** Watches the directories on the way as it is now. */
  #follow(): void {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { lookups, last } = lookUp(this.#path);
      this.#lookups = lookups;
      let changed = false;
      for (const [directory, subscription] of this.#subscriptions) {
        if (lookups.has(directory)) continue;
        subscription.close();
        this.#subscriptions.delete(directory);
      }
      for (const directory of lookups.keys()) {
        if (this.#subscriptions.has(directory)) continue;
        changed = true;
        this.#subscriptions.set(directory, watchDirectory(directory, (name) => this.#happened(directory, name)));
      }
      // What changed before a directory was watched shows by following once more.
      if (!changed) {
        this.#pollWhereNeeded(last);
        return;
      }
    }
  }

  /** A directory above that may not be listed hardly matters; that of the file does, and so does a lack of watches. */
  #pollWhereNeeded(last: string): void {
    clearTimeout(this.#poll);
    this.#poll = undefined;
    for (const [directory, { failure }] of this.#subscriptions) {
      if (failure === undefined || (failure === "EACCES" && directory !== last)) continue;
      this.#poll = setTimeout(() => this.#look(), this.#debounceMs * LONGEST_DEBOUNCES).unref();
      return;
    }
  }

  #happened(directory: string, name: string | null): void {
    const names = this.#lookups.get(directory);
    if (this.#closed || names === undefined) return;
    if (name !== null && !names.has(name) && !directory.endsWith(`/${name}`)) return;
    this.#follow();
    const now = performance.now();
    this.#since ??= now;
    const left = this.#since + this.#debounceMs * LONGEST_DEBOUNCES - now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.max(0, Math.min(this.#debounceMs, left))).unref();
  }

  #look(): void {
    this.#since = undefined;
    for (const [directory, { failure }] of this.#subscriptions) {
      if (failure === undefined) continue;
      this.#subscriptions.get(directory)?.close();
      this.#subscriptions.delete(directory);
    }
    this.#follow();
    const found = fingerprint(this.#path);
    if (found === undefined || found === this.#known) return;
    this.#known = found;
    this.#onChange();
  }
}

/**
 * The way to a file: which names are looked up in which directories (real paths), as far as it leads. `last` is the
 * directory in which it ends, with the file or with a name that is not there.
 */
function lookUp(path: string): { lookups: Map<string, Set<string>>; last: string } {
  const lookups = new Map<string, Set<string>>();
  const names = path.split("/").reverse();
  let directory = "/";
  let last = directory;
  let links = 0;
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      directory = dirname(directory);
      continue;
    }
    last = directory;
    const known = lookups.get(directory);
    if (known === undefined) lookups.set(directory, new Set([name]));
    else known.add(name);
    const entry = directory === "/" ? `/${name}` : `${directory}/${name}`;
    const target = linkTarget(entry);
    if (target === undefined) {
      directory = entry;
      if (!isDirectory(entry)) break;
    } else {
      if (++links > MAX_LINKS) break;
      if (target.startsWith("/")) directory = "/";
      names.push(...target.split("/").reverse());
    }
  }
  return { lookups, last };
}

function linkTarget(path: string): string | undefined {
  if (!statOrNone(() => lstatSync(path))?.isSymbolicLink()) return undefined;
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // replaced at this moment: that is an event of its directory
  }
}

function isDirectory(path: string): boolean {
  return statOrNone(() => lstatSync(path))?.isDirectory() ?? false;
}

/** Differs for what is another file or has been written to; undefined if there is none. */
function fingerprint(path: string): string | undefined {
  const stats = statOrNone(() => statSync(path));
  return stats && [stats.dev, stats.ino, stats.size, stats.mtimeMs, stats.ctimeMs].join(" ");
}

/** Nothing for what is not there or may not be looked at. */
function statOrNone(stat: () => Stats): Stats | undefined {
  try {
    return stat();
  } catch {
    return undefined;
  }
}
