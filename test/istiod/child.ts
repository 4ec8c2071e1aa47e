/** The program's process: commands out, answers and events in. */
import { findProgram, LabProcess } from "../lab/topology/mod.ts";
import { programBundle } from "./bundle.ts";
import type { Answers, Command, ProgramLine, ProgramOptions, SeenEvent } from "./protocol.ts";

/** Until it listens, milliseconds: a busy machine, a large saved mesh. */
const START_MS = 60_000;
/** For an answer: generating a large mesh is the longest. */
const ANSWER_MS = 120_000;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Child {
  readonly port: number;
  readonly #process: LabProcess;
  readonly #waiting: Map<number, Waiting>;
  #sent = 0;

  private constructor(process: LabProcess, waiting: Map<number, Waiting>, port: number) {
    this.#process = process;
    this.#waiting = waiting;
    this.port = port;
  }

  /** @throws Error with what it said */
  static async start(
    options: ProgramOptions,
    wrap: (command: readonly string[]) => readonly string[],
    onEvent: (event: SeenEvent) => void,
  ): Promise<Child> {
    const node = findProgram("node");
    if (node === undefined) throw new Error("there is no node");
    const waiting = new Map<number, Waiting>();
    const started = Promise.withResolvers<number>();
    const said: string[] = [];
    const onLine = (text: string): void => {
      if (!text.startsWith("{")) return void said.push(text);
      const line = JSON.parse(text) as ProgramLine;
      if ("event" in line) onEvent(line.event);
      else if ("ready" in line) started.resolve(line.ready.port);
      else if ("fatal" in line) started.reject(new Error(`istiod for tests: ${line.fatal}`));
      else {
        const waiter = waiting.get(line.answer);
        waiting.delete(line.answer);
        if ("error" in line) waiter?.reject(new Error(`istiod for tests: ${line.error}`));
        else waiter?.resolve(line.value);
      }
    };
    const command = wrap([node, await programBundle(), JSON.stringify(options)]);
    const process = new LabProcess(command, { talk: true, keepLines: false, onLine });
    const timer = setTimeout(() => started.reject(new Error(`it did not start within ${START_MS} ms`)), START_MS);
    process.exited.then((code) => {
      const error = new Error(`the istiod for tests has ended (${code}): ${said.slice(-20).join("\n")}`);
      started.reject(error);
      for (const waiter of waiting.values()) waiter.reject(error);
      waiting.clear();
    });
    try {
      return new Child(process, waiting, await started.promise);
    } catch (error) {
      await process.stop("SIGKILL");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** @throws Error if the command cannot be done, or the process has ended */
  ask<C extends Command>(command: C): Promise<Answers[C["verb"]]> {
    if (this.#process.exitCode !== undefined) return Promise.reject(new Error("the istiod for tests does not run"));
    const id = ++this.#sent;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      reject(new Error(`the istiod for tests has not answered '${command.verb}' within ${ANSWER_MS} ms`));
    }, ANSWER_MS);
    this.#waiting.set(id, { resolve, reject });
    this.#process.say(JSON.stringify({ id, command }));
    return (promise as Promise<Answers[C["verb"]]>).finally(() => clearTimeout(timer));
  }

  async kill(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }
}
