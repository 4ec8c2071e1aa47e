import type { LogSink } from "./log_sink.ts";

/** Lines gather this long, so that a busy process writes many of them at once. */
const FLUSH_MS = 10;
/** …and at most so many of them. */
const FLUSH_LINES = 256;

/** Lines of all who write to one output, in the order of their coming: they gather for up to 10 ms and leave in one write. */
export class GatheredSink implements LogSink {
  readonly #sink: LogSink;
  #text = "";
  #lines = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sink: LogSink) {
    this.#sink = sink;
  }

  write(text: string, lines: number): void {
    this.#text += text;
    this.#lines += lines;
    if (this.#lines >= FLUSH_LINES) this.#hand();
    else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#hand();
      }, FLUSH_MS);
      this.#timer.unref();
    }
  }

  /** Returns when every line is with the system; blocks on a slow reader. */
  flush(): void {
    this.#hand();
    this.#sink.flush();
  }

  #hand(): void {
    if (this.#lines === 0) return;
    const [text, lines] = [this.#text, this.#lines];
    this.#text = "";
    this.#lines = 0;
    this.#sink.write(text, lines);
  }
}
