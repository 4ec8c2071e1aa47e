import type { ReceiverReport } from "./receiver.ts";

/** The module of the thread, from the project's root: what an executable made by `bun build --compile` calls it. */
const MODULE = "./src/ztunnel/zds/receiver.ts";

/** In such an executable import.meta.url is the executable's, whichever module asks. */
function entry(): string | URL {
  const compiled = import.meta.url.startsWith("file:///$bunfs/");
  return compiled ? MODULE : new URL("./receiver.ts", import.meta.url);
}

export interface ReceiverThreadHandler {
  report(report: ReceiverReport): void;
  /** The thread itself broke; nothing will be reported any more. */
  broken(message: string): void;
}

/** The thread that runs receiver.ts, for one connection after the other. */
export class ReceiverThread {
  readonly #worker: Worker;

  constructor(handler: ReceiverThreadHandler) {
    this.#worker = new Worker(entry(), { name: "zds", smol: true });
    this.#worker.onmessage = (event: MessageEvent<ReceiverReport>) => handler.report(event.data);
    this.#worker.onerror = (event: ErrorEvent) => handler.broken(event.message);
  }

  /** Reports what comes on this connected socket until its end. Not before the end of the one before. */
  receive(fd: number): void {
    this.#worker.postMessage(fd);
  }

  /** To be called between connections: a thread that waits in the kernel cannot be ended. */
  terminate(): void {
    this.#worker.terminate();
  }
}
