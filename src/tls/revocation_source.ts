import type { LogScope } from "../telemetry/mod.ts";
import { MAX_REVOCATION_FILE, readRevocationFile } from "./revocation_file.ts";
import { type RevocationList, RevocationListError } from "./revocation_list.ts";
import { inSlices } from "./slices.ts";

/** The file of lists (CRL_PATH): reads it when told to, and says in the log what is wrong with it. */
export class RevocationSource {
  readonly path: string;
  /** When the lists that were read last were read; ms since the epoch. */
  loaded: number | undefined = undefined;
  /** Why the file as it is now cannot be used. */
  error: string | undefined = undefined;
  readonly #log: LogScope;
  /** In the lists that were read last. */
  #entries = 0;
  /** Of the content that was read last. */
  #digest: number | bigint | undefined = undefined;

  constructor(path: string, log: LogScope) {
    this.path = path;
    this.#log = log;
  }

  /**
   * @returns the lists, or undefined if they are those of the last time, or if there are none that can be used: then those
   * of the last time stay in force
   */
  async read(): Promise<readonly RevocationList[] | undefined> {
    let lists: readonly RevocationList[];
    try {
      const bytes = await readFile(this.path);
      const digest = Bun.hash(bytes);
      if (digest === this.#digest && this.error === undefined) return undefined;
      lists = await inSlices(readRevocationFile(bytes));
      this.#digest = digest;
    } catch (error) {
      if (!(error instanceof RevocationListError) && !isSystemError(error)) throw error;
      this.#failed(error);
      return undefined;
    }
    this.error = undefined;
    this.loaded = Date.now();
    const entries = lists.reduce((sum, { serials }) => sum + serials.size, 0);
    const fields = [["path", this.path], ["lists", lists.length], ["entries", entries]] as const;
    // What is meant by it cannot be told from a file that was cut short, so it counts, and shows.
    if (lists.length === 0 && this.#entries > 0) {
      this.#log.warn(
        "the file of certificate revocation lists has none any more: all that was revoked is let in",
        fields,
      );
    } else this.#log.info("certificate revocation lists in force", fields);
    this.#entries = entries;
    return lists;
  }

  #failed(error: Error): void {
    const missing = isSystemError(error) && error.code === "ENOENT";
    this.error = missing ? "the file is not there" : error.message;
    const fields = [["path", this.path], ["error", this.error]] as const;
    if (this.loaded !== undefined) {
      this.#log.warn("certificate revocation lists cannot be read, those in force stay", fields);
    } else if (missing) {
      this.#log.info("certificate revocation lists are not there yet, nothing is revoked until then", fields);
    } else {
      this.#log.warn("certificate revocation lists cannot be read, nothing is revoked until they can", fields);
    }
  }
}

/** Rejects with a system's error or a RevocationListError. */
async function readFile(path: string): Promise<Uint8Array> {
  const file = Bun.file(path);
  const status = await file.stat();
  // A pipe would be waited for.
  if (!status.isFile()) throw new RevocationListError("it is not a file");
  if (status.size > MAX_REVOCATION_FILE) {
    throw new RevocationListError(`the file has ${status.size} octets; at most ${MAX_REVOCATION_FILE} are read`);
  }
  return await file.bytes();
}

function isSystemError(error: unknown): error is Error & { code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
