/** The calling application in a pod: HTTP/2, gRPC and WebSocket by Node's own clients, told what to do over its stdin. */
import { DeadlineError, LAB_DEADLINE_MS, type LabPod, type LabProcess } from "../topology/mod.ts";
import { peerProcess } from "./echo_application.ts";

export interface Http2Order {
  /** `http://ip:port`; requests of one origin share a connection. */
  readonly origin: string;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  /** A body of so many bytes instead. */
  readonly size?: number;
  readonly trailers?: Readonly<Record<string, string>>;
}

export interface Http2Answer {
  readonly headers: Readonly<Record<string, string | number>>;
  readonly interim: readonly number[];
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Code of the RST_STREAM that ended it. */
  readonly reset?: number;
}

export interface GrpcOrder {
  readonly target: string;
  readonly method: "Echo" | "EchoTwo" | "Collect" | "Spread" | "Chat";
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
  /** Cancels after so many responses. */
  readonly cancelAfter?: number;
}

export interface GrpcAnswer {
  readonly code: number;
  readonly details: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly responses: readonly Readonly<Record<string, unknown>>[];
}

export interface WebSocketOrder {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocols?: readonly string[];
  readonly messages: readonly string[];
}

export interface WebSocketAnswer {
  readonly status: number;
  readonly received: readonly string[];
  readonly code?: number;
  readonly protocol?: string;
}

interface Pending {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

export class PodCaller {
  readonly #process: LabProcess;
  readonly #pending: Map<number, Pending>;
  #orders = 0;

  private constructor(process: LabProcess, pending: Map<number, Pending>) {
    this.#process = process;
    this.#pending = pending;
  }

  /** @throws DeadlineError when it does not come up */
  static async start(pod: LabPod): Promise<PodCaller> {
    const pending = new Map<number, Pending>();
    const process = peerProcess(pod, "caller.mjs", [], true, (line) => {
      if (!line.startsWith("{")) return;
      const { id, error, ...answer } = JSON.parse(line) as { id: number; error?: string };
      const waiting = pending.get(id);
      pending.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(error));
    });
    await process.line((line) => line === "ready", 20_000);
    return new PodCaller(process, pending);
  }

  http2(order: Http2Order, deadlineMs = LAB_DEADLINE_MS): Promise<Http2Answer> {
    return this.#ask("http2", order, deadlineMs) as Promise<Http2Answer>;
  }

  grpc(order: GrpcOrder, deadlineMs = LAB_DEADLINE_MS): Promise<GrpcAnswer> {
    return this.#ask("call", order, deadlineMs) as Promise<GrpcAnswer>;
  }

  websocket(order: WebSocketOrder, deadlineMs = LAB_DEADLINE_MS): Promise<WebSocketAnswer> {
    return this.#ask("websocket", order, deadlineMs) as Promise<WebSocketAnswer>;
  }

  stop(): Promise<number> {
    return this.#process.stop("SIGKILL");
  }

  #ask(operation: string, order: unknown, deadlineMs: number): Promise<unknown> {
    const id = this.#orders++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        const said = this.#process.lines.filter((line) => !line.startsWith("{")).slice(-3).join("\n");
        reject(new DeadlineError(`${operation} ${JSON.stringify(order)}: not within ${deadlineMs} ms\n${said}`));
      }, deadlineMs);
      const settle = <T>(then: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        then(value);
      };
      this.#pending.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#process.say(JSON.stringify({ id, operation, order }));
    });
  }
}
