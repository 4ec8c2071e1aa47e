import type { HeaderList } from "../http2/mod.ts";
import type { TlsPolicy } from "../tls/mod.ts";
import type { GrpcError } from "./status.ts";

/** A server, as `https://host:port` names it. */
export interface GrpcTarget {
  /** A DNS name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Timers, so that tests need not wait. */
export interface GrpcClock {
  /** ms, from any beginning; never goes back */
  now(): number;
  /** Calls once after `delay` ms; keeps no process alive. */
  setTimer(delay: number, callback: () => void): unknown;
  clearTimer(timer: unknown): void;
}

export interface GrpcChannelOptions {
  readonly target: GrpcTarget;
  /**
   * PEM of the trusted roots, read anew at each connect; undefined: the system's store. What it throws fails the connect:
   * its text should name the file.
   */
  readonly roots: () => string | undefined | Promise<string | undefined>;
  /** Names of which the server's certificate must have one. The first is sent as SNI unless it is an IP address. */
  readonly serverNames: readonly [string, ...string[]];
  readonly tlsPolicy: TlsPolicy;
  /**
   * Extra fields of each call, in lower case: `authorization`, `clusterid`. Asked anew for each call; what it throws fails
   * that call as a `connect` error of code UNAUTHENTICATED.
   */
  readonly metadata: () => HeaderList | Promise<HeaderList>;
  readonly clock?: GrpcClock;
  /** Addresses of the target's name, in the order in which they are tried; the system's resolver when left out. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

export interface UnaryOptions {
  /** From the call to its whole answer, connecting included; ms. */
  readonly timeoutMs: number;
  /** Largest answer that is taken, bytes; 4 MiB when left out, as everywhere in gRPC. */
  readonly maxMessage?: number;
}

export interface StreamOptions {
  /** Largest message that is taken, bytes; 200 MiB when left out (spec/ztunnel.md §3.2). */
  readonly maxMessage?: number;
}

/**
 * Who listens to a stream. Nothing is called before `GrpcChannel.stream` has returned, nor from within `send` or
 * `cancel`. Exactly one onEnd comes, and nothing after it.
 */
export interface GrpcStreamHandler {
  /** The request has been written to a verified connection. What was sent before was kept and goes out now. */
  onOpen?(): void;
  /** The server has taken the stream: its response headers are here, before any message. */
  onAccepted?(): void;
  /** One whole message; the bytes are the handler's own. Not called while the stream is paused. */
  onMessage(message: Uint8Array): void;
  /**
   * The end: undefined when the server ended with status OK. Whole messages that came before a status are delivered first;
   * a lost connection is told at once, also to a paused stream.
   */
  onEnd(error: GrpcError | undefined): void;
}

/** The client's side of a bidirectional stream. Calls after its end do nothing. */
export interface GrpcStream {
  /** Sends one message; it must not change afterwards. Before onOpen it waits. */
  send(message: Uint8Array): void;
  /** No onMessage until resume(); the server can send one window (2 MiB) more, which is kept. */
  pause(): void;
  resume(): void;
  /** Whether more has come while it is paused, of which resume() will tell. */
  readonly holds: boolean;
  /** Ends the call: RST_STREAM(CANCEL) to the server, then onEnd with CANCELLED in a microtask. */
  cancel(): void;
}
