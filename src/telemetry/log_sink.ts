import { Buffer } from "node:buffer";
import { constants, fstatSync, openSync, writeSync } from "node:fs";

/** Where formatted lines go. */
export interface LogSink {
  /** `lines` whole lines, each with its end. */
  write(text: string, lines: number): void;
  /** Returns when everything written so far is handed to the system. */
  flush(): void;
}

/** Lines that may wait for a slow reader before the process itself waits, as ztunnel's log queue. */
export const MAX_QUEUED_LINES = 10_000;
const RETRY_MS = 5;

/**
 * Writes to a file descriptor without losing a line. A pipe is written without blocking, through a descriptor of its own
 * (the O_NONBLOCK of a shared one would be everyone's); while its reader is slow, lines wait here, and when
 * MAX_QUEUED_LINES wait, write() blocks until all are gone. A reader that has gone away ends the output quietly.
 */
export class DescriptorSink implements LogSink {
  readonly #fd: number;
  readonly #fast: number;
  #rest: Buffer[] = [];
  #queuedLines = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #gone = false;

  constructor(fd: number) {
    this.#fd = fd;
    this.#fast = nonBlockingCopy(fd);
  }

  write(text: string, lines: number): void {
    if (this.#gone) return;
    const bytes = Buffer.from(text, "utf8");
    this.#rest.push(bytes);
    this.#queuedLines += lines;
    if (this.#queuedLines > MAX_QUEUED_LINES) return this.flush();
    this.#drain(this.#fast);
  }

  flush(): void {
    this.#drain(this.#fd);
  }

  #drain(fd: number): void {
    while (this.#rest.length > 0) {
      const head = this.#rest[0] as Buffer;
      let written: number;
      try {
        written = writeSync(fd, head);
      } catch (error) {
        const code = (error as { code?: string }).code;
        if (code === "EINTR") continue;
        if (code === "EAGAIN") return this.#later();
        this.#gone = true;
        this.#rest = [];
        return;
      }
      if (written === head.length) this.#rest.shift();
      else this.#rest[0] = head.subarray(written);
    }
    this.#queuedLines = 0;
  }

  #later(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#drain(this.#fast);
    }, RETRY_MS);
    this.#timer.unref();
  }
}

/** A second, non-blocking descriptor of a pipe; `fd` itself for everything else, or where it may not be opened again. */
function nonBlockingCopy(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return fd;
  }
}
