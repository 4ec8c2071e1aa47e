import type { ResponseFlag } from "../telemetry/mod.ts";

/** Why a connection could not be made or did not last: what the access log prints and what metrics count. */
export interface ConnectFailure {
  /** Text after `error=` (spec/ztunnel.md §10.4). */
  readonly text: string;
  readonly flag: ResponseFlag;
}

export function connectFailure(text: string, flag: ResponseFlag = "CONNECT"): ConnectFailure {
  return { text, flag };
}
