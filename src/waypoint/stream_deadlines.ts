/** Limits on how long an exchange may last, where a chain or route sets some (Envoy: request_timeout, max_stream_duration, stream_idle_timeout). */
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { HttpOptions } from "./snapshot/mod.ts";
import type { Flag } from "./stream_info.ts";

/** Which limit was reached. */
export type Deadline = "request" | "duration" | "idle";

/** What a client is told when a limit was reached, as Envoy says it. */
export const DEADLINE_REPLIES: Readonly<Record<Deadline, { body: string; details: string; flag: Flag | undefined }>> = {
  request: { body: "request timeout", details: "request_overall_timeout", flag: undefined },
  duration: { body: "downstream duration timeout", details: "max_duration_timeout", flag: "UMSDR" },
  idle: { body: "stream timeout", details: "stream_idle_timeout", flag: "SI" },
};

/** ms; 0: none. */
export interface DeadlineLimits {
  /** From the start to the request's last byte. */
  readonly requestMs: number;
  /** Of the whole. */
  readonly durationMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
}

export interface DeadlineOwner {
  readonly requestEnded: boolean;
  /** Grows with every byte in either direction. */
  readonly progress: number;
  deadlineReached(deadline: Deadline): void;
}

/** The limits of a chain with those of a route before them; undefined: none. */
export function deadlineLimits(
  options: HttpOptions,
  route: { readonly idleTimeoutMs: number; readonly maxStreamDurationMs: number } | undefined,
): DeadlineLimits | undefined {
  const requestMs = options.requestTimeoutMs;
  const durationMs = route?.maxStreamDurationMs || options.maxStreamDurationMs;
  const idleMs = route?.idleTimeoutMs || options.streamIdleTimeoutMs;
  return requestMs + durationMs + idleMs === 0 ? undefined : { requestMs, durationMs, idleMs };
}

/** Looks at the clock with the shared ticker: good to half a second. */
export class StreamDeadlines implements Ticking {
  readonly #limits: DeadlineLimits;
  readonly #owner: DeadlineOwner;
  readonly #startedAt = performance.now();
  #progress = 0;
  #progressAt = this.#startedAt;

  constructor(limits: DeadlineLimits, owner: DeadlineOwner) {
    this.#limits = limits;
    this.#owner = owner;
    startTicking(this);
  }

  stop(): void {
    stopTicking(this);
  }

  tick(now: number): void {
    const { requestMs, durationMs, idleMs } = this.#limits;
    const owner = this.#owner;
    if (owner.progress !== this.#progress) {
      this.#progress = owner.progress;
      this.#progressAt = now;
    }
    const elapsed = now - this.#startedAt;
    if (durationMs > 0 && elapsed >= durationMs) owner.deadlineReached("duration");
    else if (requestMs > 0 && elapsed >= requestMs && !owner.requestEnded) owner.deadlineReached("request");
    else if (idleMs > 0 && now - this.#progressAt >= idleMs) owner.deadlineReached("idle");
  }
}
