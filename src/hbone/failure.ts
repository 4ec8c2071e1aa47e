/** `response_flags` of metrics and what it says of the cause (spec/ztunnel.md §10.1). */
export type ResponseFlag =
  | "-"
  | "DENY"
  | "CONNECT"
  | "TLS_FAILURE"
  | "H2_HANDSHAKE_FAILURE"
  | "NETWORK_POLICY"
  | "IDENTITY_ERROR"
  | "CERT_REVOKED";

/** Why a connection could not be made or did not last: what the access log prints and what metrics count. */
export interface ConnectFailure {
  /** Text after `error=` (spec/ztunnel.md §10.4). */
  readonly text: string;
  readonly flag: ResponseFlag;
}

export function connectFailure(text: string, flag: ResponseFlag = "CONNECT"): ConnectFailure {
  return { text, flag };
}
