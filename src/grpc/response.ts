/** What headers and trailers of a response say of its status (gRPC over HTTP/2, "Responses"). Without I/O. */
import { Buffer } from "node:buffer";
import { ErrorCode, errorName, type HeaderList } from "../http2/mod.ts";
import { grpcStatusOfHttp, isGrpcContentType } from "./http_mapping.ts";
import { GrpcError, GrpcStatus, statusName } from "./status.ts";

/** What is to be made of a section: the messages go on, or the call is over. */
export type Verdict =
  | { readonly kind: "goes-on"; readonly encoding: string }
  /** 1xx: the headers are yet to come. */
  | { readonly kind: "informational" }
  | { readonly kind: "ended"; readonly error: GrpcError | undefined };

const INFORMATIONAL: Verdict = { kind: "informational" };
const MAX_SHOWN = 200; // characters of a foreign value in an error

/** Judges the headers of a response; with `endStream` they are all there is (trailers-only). */
export function judgeHeaders(headers: HeaderList, endStream: boolean): Verdict {
  const status = Number(fieldOf(headers, ":status"));
  if (status >= 100 && status < 200) return INFORMATIONAL;
  const told = fieldOf(headers, "grpc-status");
  if (told !== undefined && (endStream || status !== 200)) return { kind: "ended", error: errorOf(headers, told) };
  const contentType = fieldOf(headers, "content-type");
  if (status !== 200) {
    const text = `HTTP status ${status} instead of a gRPC answer${ofType(contentType)}`;
    return ended("status", grpcStatusOfHttp(status), `${statusName(grpcStatusOfHttp(status))}: ${text}`);
  }
  if (!isGrpcContentType(contentType?.split(";", 1)[0]?.trim())) {
    return ended("protocol", GrpcStatus.unknown, `the answer is not gRPC${ofType(contentType)}`);
  }
  if (endStream) return ended("protocol", GrpcStatus.unknown, "the answer ended without a grpc-status");
  return { kind: "goes-on", encoding: shown(fieldOf(headers, "grpc-encoding") ?? "identity") };
}

/** Judges the trailers: undefined where all is well. */
export function judgeTrailers(trailers: HeaderList): GrpcError | undefined {
  const told = fieldOf(trailers, "grpc-status");
  if (told !== undefined) return errorOf(trailers, told);
  return new GrpcError("protocol", GrpcStatus.unknown, "the answer ended without a grpc-status");
}

/** A stream that was reset, as gRPC maps the codes of HTTP/2. */
export function resetError(code: number, remote: boolean): GrpcError {
  const who = remote ? "the server reset the stream" : "the stream broke HTTP/2";
  return new GrpcError("protocol", statusOfReset(code), `${who}: ${errorName(code)}`);
}

function statusOfReset(code: number): number {
  switch (code) {
    case ErrorCode.REFUSED_STREAM:
    case ErrorCode.CONNECT_ERROR:
      return GrpcStatus.unavailable;
    case ErrorCode.CANCEL:
      return GrpcStatus.cancelled;
    case ErrorCode.ENHANCE_YOUR_CALM:
      return GrpcStatus.resourceExhausted;
    case ErrorCode.INADEQUATE_SECURITY:
      return GrpcStatus.permissionDenied;
    default:
      return GrpcStatus.internal;
  }
}

/**
 * Text of a grpc-message: percent-encoded UTF-8. What is not encoded properly is left as it is (the specification's rule).
 * Control characters become spaces: a server's words must not begin a line of our log.
 */
export function decodeMessage(value: string): string {
  if (!value.includes("%")) return printable(value);
  const octets = Buffer.from(value, "latin1");
  let size = 0;
  for (let at = 0; at < octets.length; at++) {
    const octet = octets[at]!;
    const high = octet === PERCENT ? hexDigit(octets[at + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(octets[at + 2]);
    if (low < 0) octets[size++] = octet;
    else {
      octets[size++] = high * 16 + low;
      at += 2;
    }
  }
  return printable(octets.toString("utf8", 0, size));
}

const PERCENT = 0x25;

function hexDigit(code = 0): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function errorOf(fields: HeaderList, told: string): GrpcError | undefined {
  if (told === "0") return undefined;
  if (!/^[1-9][0-9]{0,8}$/.test(told)) {
    return new GrpcError("protocol", GrpcStatus.unknown, `grpc-status is no number: ${JSON.stringify(shown(told))}`);
  }
  const code = Number(told);
  const message = decodeMessage(fieldOf(fields, "grpc-message") ?? "");
  return new GrpcError("status", code, message === "" ? statusName(code) : `${statusName(code)}: ${message}`);
}

function ended(kind: GrpcError["kind"], code: number, text: string): Verdict {
  return { kind: "ended", error: new GrpcError(kind, code, text) };
}

function ofType(contentType: string | undefined): string {
  return contentType === undefined ? " (no content-type)" : ` (content-type ${shown(contentType)})`;
}

function fieldOf(fields: HeaderList, name: string): string | undefined {
  for (const [known, value] of fields) if (known === name) return value;
  return undefined;
}

/** A foreign text made fit for one line. */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what it is about
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, " ");
}

function shown(text: string): string {
  return printable(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);
}
