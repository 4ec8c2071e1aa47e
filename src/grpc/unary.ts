import { Call, type CallUser } from "./call.ts";
import { GrpcError, GrpcStatus } from "./status.ts";
import type { GrpcClock, UnaryOptions } from "./types.ts";

/** Largest answer where the caller names none: gRPC's own default; bytes. */
const DEFAULT_MESSAGE = 4 << 20;

/** One message there and one back, within a time. A call that the server declares unprocessed is made once more. */
export class UnaryCall implements CallUser {
  readonly answer: Promise<Uint8Array>;
  readonly #path: string;
  readonly #message: Uint8Array;
  readonly #options: UnaryOptions;
  readonly #clock: GrpcClock;
  readonly #begin: (call: Call) => void;
  readonly #timer: unknown;
  #settle: { resolve: (answer: Uint8Array) => void; reject: (error: GrpcError) => void } | undefined;
  #call: Call;
  #received: Uint8Array | undefined = undefined;
  #repeated = false;

  /** @param begin gives a call its stream, or fails it; not before it returns */
  constructor(
    path: string,
    message: Uint8Array,
    options: UnaryOptions,
    clock: GrpcClock,
    begin: (call: Call) => void,
  ) {
    this.#path = path;
    this.#message = message;
    this.#options = options;
    this.#clock = clock;
    this.#begin = begin;
    this.answer = new Promise((resolve, reject) => this.#settle = { resolve, reject });
    this.#timer = clock.setTimer(options.timeoutMs, () => this.#expired());
    this.#call = this.#start();
  }

  opened(): void {}
  accepted(): void {}

  message(bytes: Uint8Array): void {
    if (this.#received === undefined) this.#received = bytes;
    else this.#call.fail(new GrpcError("protocol", GrpcStatus.internal, "more than one message came as the answer"));
  }

  ended(error: GrpcError | undefined): void {
    if (this.#call.unprocessed && !this.#repeated) {
      this.#repeated = true;
      this.#call = this.#start();
      return;
    }
    this.#clock.clearTimer(this.#timer);
    const settle = this.#settle;
    this.#settle = undefined;
    if (error !== undefined) settle?.reject(error);
    else if (this.#received !== undefined) settle?.resolve(this.#received);
    else settle?.reject(new GrpcError("protocol", GrpcStatus.internal, "status OK came without an answer"));
  }

  #start(): Call {
    const call = new Call(this.#path, this, {
      maxMessage: this.#options.maxMessage ?? DEFAULT_MESSAGE,
      unary: true,
    });
    call.send(this.#message);
    this.#begin(call);
    return call;
  }

  #expired(): void {
    const { timeoutMs } = this.#options;
    const [kind, what] = this.#call.state === "waiting"
      ? ["connect", "connection"] as const
      : ["protocol", "answer"] as const;
    this.#call.expire(new GrpcError(kind, GrpcStatus.deadlineExceeded, `no ${what} within ${timeoutMs} ms`));
  }
}
