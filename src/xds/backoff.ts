/** When to try again after a stream has ended (spec/ztunnel.md §3.2). */
import { type GrpcError, GrpcStatus } from "../grpc/mod.ts";
import type { XdsTermination } from "../telemetry/mod.ts";

/** ms */
const FIRST_MS = 10;
/** ms */
const LONGEST_MS = 15_000;
/**
 * A stream that has lived for so long, and given an answer, shows that the control plane is well: what went wrong before
 * it does not count any more. One that has not is a failure however it ended, so that a server that ends every stream at
 * once is not asked a hundred times a second. ms
 */
export const STABLE_MS = 10_000;

/** What of a wait depends on the end: none, the present back-off, or a longer one. */
type Wait = "none" | "same" | "longer";

/** How a stream ended. */
export interface StreamEnd {
  /** Undefined: by the server, with status OK. */
  readonly error: Pick<GrpcError, "kind" | "code" | "message"> | undefined;
  /** It lived for STABLE_MS and gave an answer. */
  readonly stable: boolean;
}

/** Codes by which connections end that nobody did anything wrong with. */
const PASSING: ReadonlySet<number> = new Set([
  GrpcStatus.unknown,
  GrpcStatus.cancelled,
  GrpcStatus.deadlineExceeded,
]);
/** With UNAVAILABLE: istiod closes connections when they are old, and goes away when it is rolled out. */
const PASSING_TEXT = /transport is closing|received prior goaway/;

/** The metric's name for an end. */
export function terminationOf(error: StreamEnd["error"]): XdsTermination {
  if (error === undefined) return "Complete";
  if (error.kind === "connect") return "ConnectionError";
  // A connection that was lost on the way has no status from the server; it is no other than one that was closed.
  const lost = error.kind === "protocol" && error.code === GrpcStatus.unavailable;
  const closed = error.code === GrpcStatus.unavailable && PASSING_TEXT.test(error.message);
  return lost || closed || PASSING.has(error.code) ? "Reconnect" : "Error";
}

const WAITS: Readonly<Record<XdsTermination, Wait>> = {
  ConnectionError: "longer",
  Reconnect: "same",
  Error: "longer",
  Complete: "none",
};

/** The waits between streams: 20 ms after the first failure, twice that after the next, up to 15 s. */
export class Backoff {
  #ms = FIRST_MS;

  /**
   * How long to wait after this end, ms.
   * @param random in [0, 1): up to half of the wait is left out, for a thousand nodes lose the same control plane at once
   */
  after({ error, stable }: StreamEnd, random: number): number {
    if (stable) this.#ms = FIRST_MS;
    const wait = stable ? WAITS[terminationOf(error)] : "longer";
    if (wait === "longer") {
      this.#ms = Math.min(LONGEST_MS, 2 * this.#ms);
      return this.#ms * (1 - random / 2);
    }
    const present = this.#ms;
    this.#ms = FIRST_MS;
    return wait === "none" ? 0 : present * (1 - random / 2);
  }
}
