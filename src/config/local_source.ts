/**
 * A file, or a folder of files, as a source of local state, read again whenever it changes.
 *
 * Files change in three ways: written in place, replaced by a rename, or, in a mounted ConfigMap, by a symbolic link of
 * the directory that is made to point elsewhere. All three show as events of a directory: that of the path, or those of
 * the files it finally leads to.
 */
import { type FSWatcher, watch } from "node:fs";
import { realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { parseLocalFiles } from "./local_child.ts";
import type {
  DocumentError,
  DocumentResult,
  DocumentWarning,
  LoadOptions,
  LocalDocument,
  LocalFile,
} from "./local_document.ts";
import { isLocalFile, readLocalFiles, type UnreadableFile } from "./local_files.ts";
import type { WaypointSnapshot } from "../waypoint/snapshot/mod.ts";

export interface LocalConsumer {
  /** All is good: this is the whole mesh now, and in waypoint mode the snapshot to serve with. */
  onDocument(
    document: LocalDocument,
    warnings: readonly DocumentWarning[],
    waypoint?: WaypointSnapshot,
  ): void;
  /** What is there cannot be used: what there was before stays. */
  onError(errors: readonly DocumentError[]): void;
}

export interface LocalSourceOptions extends LoadOptions {
  /** How the files are understood; default in a child process. */
  readonly parse?: (files: readonly LocalFile[], options: LoadOptions) => Promise<DocumentResult>;
  /** Quiet time after the last event before the files are read, in milliseconds. */
  readonly quietTime?: number;
}

/** Long enough for a writer that writes in several pieces. */
const QUIET_TIME = 100;

export class LocalSource {
  readonly #path: string;
  readonly #consumer: LocalConsumer;
  readonly #parse: (files: readonly LocalFile[]) => Promise<DocumentResult>;
  readonly #quietTime: number;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The files as they were understood last. */
  #files: readonly LocalFile[] | undefined;
  /** Why the files could not be read last, as text: the same is not told again. */
  #failure: string | undefined;
  /** The path is a folder: every file in it may mean us. */
  #folder = false;
  /** Names of the files that the path, or the files of the folder, finally lead to. */
  #realNames = new Set<string>();
  /** `reading` with `changed`: something happened meanwhile, so read once more. */
  #state: "idle" | "reading" | "closed" = "idle";
  #changed = false;
  /** The Gateway that serves. */
  #gateway: WaypointSnapshot["gateway"] | undefined;

  constructor(path: string, consumer: LocalConsumer, options: LocalSourceOptions = {}) {
    this.#path = path;
    this.#consumer = consumer;
    const { waypoint, parse = parseLocalFiles } = options;
    this.#parse = (files) => {
      // Who we are is settled by the first state that is good: certificates and listeners hang on it.
      const gateway = this.#gateway;
      return parse(files, { waypoint: waypoint && gateway ? { ...waypoint, gateway, running: true } : waypoint });
    };
    this.#quietTime = options.quietTime ?? QUIET_TIME;
  }

  /** Reads the files and begins to watch them; the consumer has been called when this resolves. */
  async start(): Promise<void> {
    await this.#follow([]);
    await this.#read();
  }

  close(): void {
    this.#state = "closed";
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /**
   * Watches the directories in which a change can show: that of the path, the folder if it is one, and those that links
   * among the files lead to.
   */
  async #follow(files: readonly LocalFile[]): Promise<void> {
    const directories = new Set([dirname(this.#path)]);
    const names = new Set<string>();
    for (const path of [this.#path, ...files.map((file) => file.path)]) {
      try {
        const real = await realpath(path);
        directories.add(dirname(real));
        names.add(basename(real));
      } catch {
        // It is not there now; its directory tells when it comes.
      }
    }
    if (this.#folder) directories.add(this.#path);
    this.#realNames = names;
    if (this.#state === "closed") return;
    for (const [directory, watcher] of this.#watchers) {
      if (directories.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of directories) {
      if (!this.#watchers.has(directory)) this.#watch(directory);
    }
  }

  #watch(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, (_, name) => {
        if (this.#concerns(directory, name)) this.#touched();
      });
      // A directory that goes away takes its watcher along; the next event finds the new one.
      watcher.on("error", () => {
        watcher.close();
        this.#watchers.delete(directory);
        this.#touched();
      });
      this.#watchers.set(directory, watcher);
    } catch (error) {
      this.#fail([{ path: this.#path, message: `cannot watch ${directory}: ${(error as Error).message}` }]);
    }
  }

  /** Whether an event can mean one of our files: others of a directory, logs say, may change all the time. */
  #concerns(directory: string, name: string | null): boolean {
    // A mounted ConfigMap is swapped by its `..data` link.
    if (name === null || name === basename(this.#path) || name.startsWith("..")) return true;
    return this.#realNames.has(name) || this.#folder && directory !== dirname(this.#path) && isLocalFile(name);
  }

  #touched(): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(), this.#quietTime);
  }

  async #read(): Promise<void> {
    if (this.#state !== "idle") {
      this.#changed = true;
      return;
    }
    this.#state = "reading";
    do {
      this.#changed = false;
      await this.#readOnce();
    } while (this.#changed && !this.#isClosed());
    if (!this.#isClosed()) this.#state = "idle";
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  async #readOnce(): Promise<void> {
    const read = await readLocalFiles(this.#path);
    if (this.#isClosed()) return;
    this.#folder = read.folder;
    // What happens from here on is seen; what happened before this is seen by reading again.
    const before = [...this.#watchers.keys()].join("\n");
    await this.#follow(read.ok ? read.files : []);
    if (this.#isClosed()) return;
    if ([...this.#watchers.keys()].join("\n") !== before) this.#changed = true;
    if (!read.ok) {
      this.#files = undefined;
      const failure = JSON.stringify(read.errors);
      if (failure !== this.#failure) this.#fail(read.errors);
      this.#failure = failure;
      return;
    }
    this.#failure = undefined;
    if (sameFiles(read.files, this.#files)) return;
    const result = await this.#parse(read.files);
    if (this.#isClosed()) return;
    this.#files = read.files;
    if (result.ok) this.#gateway ??= result.waypoint?.gateway;
    if (result.ok) this.#consumer.onDocument(result.document, result.warnings, result.waypoint);
    else this.#consumer.onError(result.errors);
  }

  #fail(errors: readonly UnreadableFile[]): void {
    if (!this.#isClosed()) this.#consumer.onError(errors);
  }
}

function sameFiles(files: readonly LocalFile[], before: readonly LocalFile[] | undefined): boolean {
  return before !== undefined && files.length === before.length &&
    files.every(({ path, text }, i) => path === before[i]?.path && text === before[i]?.text);
}
