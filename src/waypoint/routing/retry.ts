/** Whether a try is to be repeated, and when (Envoy's RetryState; spec/waypoint.md §7, default retries). */
import { fieldOf, type RequestHead, type ResponseHead } from "../../http/message.ts";
import type { Reset } from "../../http/exchange.ts";
import { compileHeaderMatch, type HeadPredicate } from "../../matching/mod.ts";
import type { RetryPolicy } from "../snapshot/mod.ts";

/**
 * Tries that a request gets which never left this process, even where its route allows no retry: to send it to another
 * host repeats nothing. As many as Istio's default for connect-failure.
 */
const UNSENT_RETRIES = 2;
const BACK_OFF_BASE = 25; // ms, as Envoy's
const BACK_OFF_MAX = 250; // ms, as Envoy's

/** gRPC status codes that have a condition of their own. */
const GRPC_CONDITIONS: Readonly<Record<string, string>> = {
  "1": "cancelled",
  "4": "deadline-exceeded",
  "8": "resource-exhausted",
  "13": "internal",
  "14": "unavailable",
};

interface CompiledPolicy {
  readonly on: ReadonlySet<string>;
  readonly statusCodes: ReadonlySet<number>;
  /** Of which a request must match one; empty: any request. */
  readonly requests: readonly HeadPredicate[];
}

const compiled = new WeakMap<RetryPolicy, CompiledPolicy>();
const NEVER: CompiledPolicy = { on: new Set(), statusCodes: new Set(), requests: [] };

/**
 * Done when routes are compiled, so that a bad expression is found there.
 * @throws MatchError
 */
export function compileRetry(policy: RetryPolicy): CompiledPolicy {
  let found = compiled.get(policy);
  if (found === undefined) {
    found = {
      on: new Set(policy.on),
      statusCodes: new Set(policy.statusCodes),
      requests: policy.requestHeaders.map(compileHeaderMatch),
    };
    compiled.set(policy, found);
  }
  return found;
}

/** The retries of one request. Ask one of `wants…` after a try, then `take`, then wait for `backOffMs`. */
export class RetryState {
  readonly #on: ReadonlySet<string>;
  readonly #statusCodes: ReadonlySet<number>;
  readonly #maxMs: number;
  #nextMs: number;
  #remaining: number;
  #unsentRemaining: number;
  #unsent = false;
  /** A retry was taken because the policy asks for it. */
  retried = false;
  /** What was asked last is of the policy, not only of what was never sent. */
  asked = false;

  /** @param policy undefined: only what was never sent is sent again */
  constructor(policy: RetryPolicy | undefined, head: RequestHead) {
    const { on, statusCodes, requests } = policy === undefined ? NEVER : compileRetry(policy);
    const applies = requests.length === 0 || requests.some((matches) => matches(head));
    this.#on = applies ? on : NEVER.on;
    this.#statusCodes = statusCodes;
    this.#nextMs = Math.max(1, policy?.backOffBaseMs ?? BACK_OFF_BASE);
    this.#maxMs = Math.max(this.#nextMs, policy?.backOffMaxMs ?? BACK_OFF_MAX);
    this.#remaining = policy?.count ?? 0;
    this.#unsentRemaining = Math.max(0, UNSENT_RETRIES - this.#remaining);
  }

  /** The response is one of those that the policy repeats. For gRPC the status counts only in the headers. */
  wantsResponse(head: ResponseHead): boolean {
    this.#unsent = false;
    this.asked = this.#policyWantsResponse(head);
    return this.asked;
  }

  #policyWantsResponse(head: ResponseHead): boolean {
    const on = this.#on;
    if (on.size === 0) return false;
    const { status, fields } = head;
    if (fieldOf(fields, "x-envoy-ratelimited") !== undefined) return on.has("envoy-ratelimited");
    if (status >= 500 && status <= 599 && on.has("5xx")) return true;
    if (status >= 502 && status <= 504 && on.has("gateway-error")) return true;
    if (status === 409 && on.has("retriable-4xx")) return true;
    if (this.#statusCodes.has(status) && on.has("retriable-status-codes")) return true;
    const condition = GRPC_CONDITIONS[fieldOf(fields, "grpc-status") ?? ""];
    return condition !== undefined && on.has(condition);
  }

  /** The try ended without a response. */
  wantsReset(reset: Reset): boolean {
    this.#unsent = reset.unsent;
    this.asked = this.#policyWants(reset);
    return this.asked || reset.unsent;
  }

  #policyWants({ reason }: Reset): boolean {
    const on = this.#on;
    if (on.has("reset") || on.has("5xx") || on.has("gateway-error")) return true;
    if (reason === "remote-refused-stream") return on.has("refused-stream");
    return reason === "connection-failure" && on.has("connect-failure");
  }

  /** The time for one try is over: a 5xx that was not waited for. */
  wantsTimeout(): boolean {
    this.#unsent = false;
    const on = this.#on;
    this.asked = on.has("reset") || on.has("5xx") || on.has("gateway-error");
    return this.asked;
  }

  /** Uses up one retry; false: there is none left (flag URX). */
  take(): boolean {
    if (this.#remaining > 0) {
      this.#remaining--;
      this.retried ||= this.asked;
      return true;
    }
    if (!this.#unsent || this.#unsentRemaining === 0) return false;
    this.#unsentRemaining--;
    return true;
  }

  /** How long to wait before the next try: anything below an interval that doubles each time (full jitter). */
  backOffMs(random: () => number): number {
    const interval = this.#nextMs;
    this.#nextMs = Math.min(interval * 2, this.#maxMs);
    return Math.floor(random() * interval);
  }
}
