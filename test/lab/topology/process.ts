/** A program running in a lab's namespace: its pid in the ledger, its lines at hand, its end awaited with a deadline. */
import process from "node:process";
import type { Subprocess } from "bun";
import { commandEnvironment } from "./commands.ts";
import { forgetProcess, recordProcess } from "./ledger.ts";

/** How long anything in a lab may take before it is called a failure, unless told otherwise; milliseconds. */
export const LAB_DEADLINE_MS = 20_000;

/** Lines remembered of a program whose lines are not kept. */
const TAIL = 100;

/** A condition did not come true in time. The message says which, and what was seen instead. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
}

export interface ProcessOptions {
  readonly environment?: Record<string, string>;
  readonly directory?: string;
  /** False keeps the last lines only: for programs that say very much. */
  readonly keepLines?: boolean;
  /** Keeps stdin open for `say`. */
  readonly talk?: boolean;
  /** Called for each line of stdout and stderr as it comes. */
  readonly onLine?: (line: string) => void;
}

interface LineWaiter {
  matches(line: string): boolean;
  found(line: string): void;
}

export class LabProcess {
  readonly lines: string[] = [];
  readonly exited: Promise<number>;
  #waiters = new Set<LineWaiter>();
  #child: Subprocess<"pipe" | "ignore", "pipe", "pipe">;
  #onLine: ((line: string) => void) | undefined;
  #exitCode: number | undefined;
  readonly #keepLines: boolean;

  constructor(command: readonly string[], options: ProcessOptions = {}) {
    this.#onLine = options.onLine;
    this.#keepLines = options.keepLines ?? true;
    this.#child = Bun.spawn([...command], {
      stdio: [options.talk === true ? "pipe" : "ignore", "pipe", "pipe"],
      env: commandEnvironment(options.environment),
      ...(options.directory === undefined ? {} : { cwd: options.directory }),
    });
    recordProcess(this.#child.pid);
    const read = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]);
    this.exited = this.#child.exited.then(async (code) => {
      forgetProcess(this.pid);
      await read;
      this.#exitCode = code;
      return code;
    });
  }

  /** The program's own pid: nsenter replaces itself by it. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Exit status, undefined while it runs. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** Waits for a line, among those already said too (from the index `since` on). @throws DeadlineError */
  line(matches: (line: string) => boolean, deadlineMs = LAB_DEADLINE_MS, since = 0): Promise<string> {
    for (let index = since; index < this.lines.length; index++) {
      const line = this.lines[index] ?? "";
      if (matches(line)) return Promise.resolve(line);
    }
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        reject(new DeadlineError(`${why}; last lines:\n${this.lines.slice(-8).join("\n")}`));
      };
      const waiter: LineWaiter = {
        matches,
        found: (line) => {
          this.#waiters.delete(waiter);
          clearTimeout(timer);
          resolve(line);
        },
      };
      const timer = setTimeout(() => fail(`no such line within ${deadlineMs} ms`), deadlineMs);
      this.#waiters.add(waiter);
      this.exited.then((code) => this.#waiters.has(waiter) && fail(`the process ended (${code}) without that line`));
    });
  }

  /** Ends the program: the signal first, SIGKILL when it does not obey in time. @returns its exit status */
  async stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL" = "SIGTERM", deadlineMs = 3000): Promise<number> {
    if (this.#exitCode !== undefined) return this.#exitCode;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), deadlineMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  /** Writes a line to the program's stdin; it was started with `talk`. */
  say(line: string): void {
    const stdin = this.#child.stdin;
    if (stdin === undefined) throw new Error("this process was started without a stdin to talk to");
    stdin.write(`${line}\n`);
    stdin.flush();
  }

  signal(signal: "SIGTERM" | "SIGINT" | "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    process.kill(this.pid, signal);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) this.#said(part);
    }
    if (rest !== "") this.#said(rest);
  }

  #said(line: string): void {
    if (!this.#keepLines && this.lines.length >= TAIL) this.lines.shift();
    this.lines.push(line);
    this.#onLine?.(line);
    for (const waiter of this.#waiters) if (waiter.matches(line)) waiter.found(line);
  }
}

/** Waits until `check` gives something other than undefined or false, asking every few milliseconds. @throws DeadlineError */
export async function eventually<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = LAB_DEADLINE_MS,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let last = "";
  while (true) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() > end) throw new DeadlineError(`${what}: not within ${deadlineMs} ms${last}`);
    await Bun.sleep(10);
  }
}
