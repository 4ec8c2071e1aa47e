/** Status codes of gRPC (the protocol's doc/statuscodes.md). */
export const GrpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** The registered names of the codes, by code. */
export const STATUS_NAMES: readonly string[] = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/** The registered name of a code (`UNAVAILABLE`), or `STATUS_42` where it has none. */
export function statusName(code: number): string {
  return STATUS_NAMES[code] ?? `STATUS_${code}`;
}

/**
 * What ended a call.
 *
 * - `connect`: the call never reached the server's application: name lookup, TCP, TLS, HTTP/2, metadata that could not be
 *   had, a stream that the server declared unprocessed.
 * - `status`: the server told a status other than OK, by grpc-status or by an HTTP status.
 * - `protocol`: broken messages, a reset stream, a lost connection, and what this side ended: its deadline
 *   (DEADLINE_EXCEEDED), a cancelled call or a closed channel (CANCELLED).
 */
export type GrpcErrorKind = "connect" | "status" | "protocol";

/** Why a call failed; `message` is a whole sentence for a log, with the code's name before what a server said. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly kind: GrpcErrorKind;
  /** One of GrpcStatus, or a number beyond them that the server told. */
  readonly code: number;

  constructor(kind: GrpcErrorKind, code: number, message: string) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}
