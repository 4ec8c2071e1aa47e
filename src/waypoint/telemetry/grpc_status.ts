/** gRPC in a request's facts: whether it is gRPC, and how it ended. */
import { grpcStatusOfHttp, isGrpcContentType } from "../../grpc/http_mapping.ts";
import { fieldOf, type RequestHead } from "../../http/message.ts";
import type { StreamInfo } from "../stream_info.ts";

/** Names of the codes 0 to 16 as Envoy logs them. */
export const CAMEL_NAMES: readonly string[] = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** `application/grpc` or `application/grpc+…`; not gRPC-Web. */
export function isGrpcRequest(head: RequestHead | undefined): boolean {
  return head !== undefined && isGrpcContentType(fieldOf(head.fields, "content-type"));
}

/**
 * The status of a gRPC request: of the trailers, else of the head, else what its HTTP status means. undefined when
 * nothing was answered; -1 when the answer holds no number.
 */
export function grpcStatusOf(info: StreamInfo): number | undefined {
  const text = (info.responseTrailers && fieldOf(info.responseTrailers, "grpc-status")) ??
    (info.response && fieldOf(info.response.fields, "grpc-status"));
  if (text === undefined) return info.responseCode === 0 ? undefined : grpcStatusOfHttp(info.responseCode);
  if (text.length === 0 || text.length > 9) return -1;
  let status = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status;
}
