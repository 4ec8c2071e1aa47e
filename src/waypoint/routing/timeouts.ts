/** How long a request may take (envoy.config.route.v3.RouteAction.timeout, max_grpc_timeout; gRPC over HTTP/2). */
import { fieldOf, type RequestHead } from "../../http/message.ts";
import type { ForwardAction } from "../snapshot/mod.ts";

/** ms; 0: no limit. */
export interface RequestTimeouts {
  /** The request with all its tries. */
  readonly totalMs: number;
  readonly perTryMs: number;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** `grpc-timeout`: up to eight digits and a unit. In ms, rounded up; undefined: it is malformed. */
export function parseGrpcTimeout(text: string): number | undefined {
  const digits = text.length - 1;
  if (digits < 1 || digits > 8) return undefined;
  let value = 0;
  for (let i = 0; i < digits; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return undefined;
    value = value * 10 + digit;
  }
  const unit = UNIT_MS[text[digits]!];
  return unit === undefined ? undefined : unit >= 1 ? value * unit : Math.ceil(value / Math.round(1 / unit));
}

/** The value of `grpc-timeout` for a time in ms. */
export function formatGrpcTimeout(ms: number): string {
  if (ms < 1e8) return `${Math.ceil(ms)}m`;
  return ms < 1e11 ? `${Math.ceil(ms / 1000)}S` : "99999999S";
}

/** A gRPC call's own deadline replaces the route's timeout where the route says so, up to its cap. */
export function requestTimeouts(action: ForwardAction, head: RequestHead, grpc: boolean): RequestTimeouts {
  let totalMs = action.timeoutMs;
  const cap = action.maxGrpcTimeoutMs;
  if (grpc && cap !== undefined) {
    totalMs = parseGrpcTimeout(fieldOf(head.fields, "grpc-timeout") ?? "") ?? 0;
    if (cap > 0 && (totalMs === 0 || totalMs > cap)) totalMs = cap;
  }
  const perTryMs = action.retry?.perTryTimeoutMs ?? 0;
  return { totalMs, perTryMs: totalMs > 0 && perTryMs >= totalMs ? 0 : perTryMs };
}

/** What the upstream is told in `x-envoy-expected-rq-timeout-ms`; 0: nothing. */
export function expectedTimeout({ totalMs, perTryMs }: RequestTimeouts): number {
  return perTryMs > 0 ? perTryMs : totalMs;
}
