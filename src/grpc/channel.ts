import type { HeaderList } from "../http2/mod.ts";
import { Call } from "./call.ts";
import { type GrpcConnection, KEEPALIVE_MS } from "./connection.ts";
import { authorityOf, Dial } from "./dial.ts";
import { requestHeaders } from "./request.ts";
import { GrpcError, GrpcStatus } from "./status.ts";
import type {
  GrpcChannelOptions,
  GrpcClock,
  GrpcStream,
  GrpcStreamHandler,
  StreamOptions,
  UnaryOptions,
} from "./types.ts";
import { UnaryCall } from "./unary.ts";

/** Largest message of a stream: the original's for ADS (spec/ztunnel.md §3.2); bytes. */
const STREAM_MESSAGE = 200 << 20;
/** Connections that a call tries when they go away just as it comes. */
const MAX_TRIES = 3;
/** Beyond this, PINGs could be left out as well; ms. */
const LONGEST_KEEPALIVE_MS = 60 * 60_000;

const SYSTEM_CLOCK: GrpcClock = {
  now: () => performance.now(),
  setTimer: (delay, callback) => setTimeout(callback, delay).unref(),
  clearTimer: (timer) => clearTimeout(timer as Timer | undefined),
};

/** A connection, or the making of it. */
interface Link {
  readonly dial: Dial;
  readonly connection: Promise<GrpcConnection>;
  /** Once it is made. */
  made?: GrpcConnection;
}

/**
 * Calls to one server over one connection, which is made when a call needs it and kept until it goes away. A connect that
 * failed fails the calls that waited for it, and the next call tries again: when to do so is the caller's business.
 */
export class GrpcChannel {
  readonly #options: GrpcChannelOptions;
  readonly #clock: GrpcClock;
  readonly #authority: string;
  /** What new calls use. */
  #link: Link | undefined = undefined;
  /** All that have not ended, the retired ones too. */
  readonly #links = new Set<Link>();
  readonly #calls = new Set<Call>();
  /** Of new connections: doubled for each that its server closed because of PINGs (gRPC A8). */
  #keepaliveMs = KEEPALIVE_MS;
  #closed = false;

  constructor(options: GrpcChannelOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#authority = authorityOf(options.target);
  }

  /** Calls a unary method: one message there, one back. Rejects with GrpcError. */
  unary(path: string, message: Uint8Array, options: UnaryOptions): Promise<Uint8Array> {
    const unary = new UnaryCall(path, message, options, this.#clock, (call) => this.#begin(call));
    return unary.answer;
  }

  /** Begins a bidirectional stream. */
  stream(path: string, handler: GrpcStreamHandler, options: StreamOptions = {}): GrpcStream {
    const user = {
      opened: () => handler.onOpen?.(),
      accepted: () => handler.onAccepted?.(),
      message: (bytes: Uint8Array) => handler.onMessage(bytes),
      ended: (error: GrpcError | undefined) => handler.onEnd(error),
    };
    const call = new Call(path, user, { maxMessage: options.maxMessage ?? STREAM_MESSAGE, unary: false });
    this.#begin(call);
    return call;
  }

  /** Calls from now on get a new connection (the roots have changed); running ones go on. */
  renew(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.made?.retire();
  }

  /** Ends every call and the connection; later calls fail. */
  close(): void {
    this.#closed = true;
    this.#link = undefined;
    for (const call of this.#calls) call.fail(closedError(), "later");
    for (const link of this.#links) {
      link.dial.abandon();
      link.made?.close("the channel was closed");
    }
  }

  #begin(call: Call): void {
    if (this.#closed) {
      call.fail(closedError(), "later");
      return;
    }
    this.#calls.add(call);
    call.whenEnded = () => this.#calls.delete(call);
    this.#start(call).catch((error: unknown) => call.fail(asGrpcError(error)));
  }

  /** Gives the call its stream. Rejects with GrpcError. */
  async #start(call: Call): Promise<void> {
    const headers = await this.#headers(call.path);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (call.over) return;
      const link = this.#link ??= this.#dial();
      const connection = await link.connection;
      if (call.over || connection.open(call, headers)) return;
      if (this.#link === link) this.#link = undefined;
    }
    call.refused(`${this.#authority} went away as soon as it was there, ${MAX_TRIES} times`);
  }

  async #headers(path: string): Promise<HeaderList> {
    try {
      return requestHeaders(this.#authority, path, await this.#options.metadata());
    } catch (error) {
      const text = `the call has not been sent: ${(error as Error).message}`;
      throw new GrpcError("connect", GrpcStatus.unauthenticated, text);
    }
  }

  #dial(): Link {
    const forget = () => {
      this.#links.delete(link);
      if (this.#link === link) this.#link = undefined;
    };
    const keepaliveMs = this.#keepaliveMs;
    const dial = new Dial(this.#options, this.#clock, {
      keepaliveMs,
      onTooManyPings: () => {
        // Several that were open at once complain of the same interval.
        this.#keepaliveMs = Math.max(this.#keepaliveMs, Math.min(LONGEST_KEEPALIVE_MS, 2 * keepaliveMs));
      },
      onRetired: () => {
        if (this.#link === link) this.#link = undefined;
      },
      onClosed: forget,
    });
    const connection = dial.run();
    const link: Link = { dial, connection };
    this.#links.add(link);
    connection.then(
      (made) => {
        link.made = made;
        // Renewed meanwhile: it serves those who have waited for it, who come first.
        if (this.#link !== link) setImmediate(() => made.retire());
      },
      forget,
    );
    return link;
  }
}

function closedError(): GrpcError {
  return new GrpcError("protocol", GrpcStatus.cancelled, "the channel was closed");
}

function asGrpcError(error: unknown): GrpcError {
  if (error instanceof GrpcError) return error;
  return new GrpcError("connect", GrpcStatus.internal, (error as Error).message);
}
