/**
 * A local file as a source of mesh state, read again whenever it changes.
 *
 * Files change in three ways: written in place, replaced by a rename, or, in a mounted ConfigMap, by a symbolic link of
 * the directory that is made to point elsewhere. All three show as events of a directory: that of the path, or that of
 * the file it finally leads to.
 */
import { type FSWatcher, watch } from "node:fs";
import { readFile, realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { parseLocalText } from "./local_child.ts";
import type { DocumentError, DocumentResult, DocumentWarning, LoadOptions, LocalDocument } from "./local_document.ts";
import type { WaypointSnapshot } from "../waypoint/snapshot/mod.ts";

export interface LocalConsumer {
  /** All is good: this is the whole mesh now, and in waypoint mode the snapshot to serve with. */
  onDocument(
    document: LocalDocument,
    warnings: readonly DocumentWarning[],
    waypoint?: WaypointSnapshot,
  ): void;
  /** The file cannot be used: what there was before stays. */
  onError(errors: readonly DocumentError[]): void;
}

export interface LocalSourceOptions extends LoadOptions {
  /** How the text is read; default in a child process. */
  readonly parse?: (text: string, path: string) => Promise<DocumentResult>;
  /** Quiet time after the last event before the file is read, in milliseconds. */
  readonly quietTime?: number;
}

/** Long enough for a writer that writes in several pieces. */
const QUIET_TIME = 100;

export class LocalSource {
  readonly #path: string;
  readonly #consumer: LocalConsumer;
  readonly #parse: (text: string, path: string) => Promise<DocumentResult>;
  readonly #quietTime: number;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #text: string | undefined;
  /** Name of the file that the path finally leads to. */
  #realName: string | undefined;
  /** `reading` with `changed`: something happened meanwhile, so read once more. */
  #state: "idle" | "reading" | "closed" = "idle";
  #changed = false;

  constructor(path: string, consumer: LocalConsumer, options: LocalSourceOptions = {}) {
    this.#path = path;
    this.#consumer = consumer;
    this.#parse = options.parse ?? ((text, path) => parseLocalText(text, path, { waypoint: options.waypoint }));
    this.#quietTime = options.quietTime ?? QUIET_TIME;
  }

  /** Reads the file and begins to watch it; the consumer has been called when this resolves. */
  async start(): Promise<void> {
    await this.#follow();
    await this.#read();
  }

  close(): void {
    this.#state = "closed";
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Watches the directories in which a change of the file can show. */
  async #follow(): Promise<void> {
    const directories = new Set([dirname(this.#path)]);
    try {
      const real = await realpath(this.#path);
      directories.add(dirname(real));
      this.#realName = basename(real);
    } catch {
      // The file is not there now; its directory tells when it comes.
    }
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
        if (this.#concerns(name)) this.#touched();
      });
      // A directory that goes away takes its watcher along; the next event finds the new one.
      watcher.on("error", () => {
        watcher.close();
        this.#watchers.delete(directory);
        this.#touched();
      });
      this.#watchers.set(directory, watcher);
    } catch (error) {
      this.#fail(`cannot watch ${directory}: ${(error as Error).message}`);
    }
  }

  /** Whether an event of this name can mean our file: other files of the directory, logs say, may change all the time. */
  #concerns(name: string | null): boolean {
    // A mounted ConfigMap is swapped by its `..data` link.
    return name === null || name === basename(this.#path) || name === this.#realName || name.startsWith("..");
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
      await this.#follow();
      await this.#readOnce();
    } while (this.#changed && !this.#isClosed());
    if (!this.#isClosed()) this.#state = "idle";
  }

  #isClosed(): boolean {
    return this.#state === "closed";
  }

  async #readOnce(): Promise<void> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      this.#text = undefined;
      this.#fail(`cannot read: ${(error as NodeJS.ErrnoException).code ?? error}`);
      return;
    }
    if (text === this.#text || this.#isClosed()) return;
    const result = await this.#parse(text, this.#path);
    if (this.#isClosed()) return;
    this.#text = text;
    if (result.ok) this.#consumer.onDocument(result.document, result.warnings, result.waypoint);
    else this.#consumer.onError(result.errors);
  }

  #fail(message: string): void {
    if (!this.#isClosed()) this.#consumer.onError([{ path: this.#path, line: 1, column: 1, message }]);
  }
}
