import type { ResponseFlag } from "../telemetry/mod.ts";

/** Why a connection could not be made or did not last: what the access log prints and what metrics count. */
export interface ConnectFailure {
  /** Text after `error=` (spec/ztunnel.md §10.4). */
  readonly text: string;
  readonly flag: ResponseFlag;
  /**
   * Nothing of the application has left and another endpoint may do better: TCP, TLS or HTTP/2 with the peer failed, or
   * it answered 503. Never for a refusal (401, 400 …), nor for what is wrong on this side.
   */
  readonly retryable: boolean;
}

export function connectFailure(text: string, flag: ResponseFlag = "CONNECT", retryable = false): ConnectFailure {
  return { text, flag, retryable };
}
