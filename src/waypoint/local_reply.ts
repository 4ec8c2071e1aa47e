/** Answers that the waypoint gives itself, as Envoy's sendLocalReply writes them (spec/waypoint.md §6.1). */
import { grpcStatusOfHttp } from "../grpc/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import type { RequestHead, ResponseHead } from "../http/mod.ts";

export interface LocalReply {
  readonly status: number;
  readonly body: string;
  /** RESPONSE_CODE_DETAILS */
  readonly details: string;
  /** Beyond those of every local reply. */
  readonly fields?: HeaderList | undefined;
  /** Instead of the mapping from the HTTP status. */
  readonly grpcStatus?: number | undefined;
}

const encoder = new TextEncoder();

/** Head and body of the reply, in the form that the request's protocol expects. */
export function localReply(reply: LocalReply, request: RequestHead, grpc: boolean): [ResponseHead, Uint8Array] {
  const { protocol } = request;
  const extra = reply.fields ?? [];
  if (grpc) {
    const status = reply.grpcStatus ?? grpcStatusOfHttp(reply.status);
    const fields: HeaderList = [["content-type", "application/grpc"], ["grpc-status", String(status)]];
    if (reply.body !== "") fields.push(["grpc-message", percentEncoded(reply.body)]);
    fields.push(...extra);
    return [{ status: 200, fields, protocol, upgrade: undefined, wireBytes: 0 }, EMPTY];
  }
  const body = encoder.encode(reply.body);
  const fields: HeaderList = [];
  if (body.length > 0) fields.push(["content-length", String(body.length)], ["content-type", "text/plain"]);
  fields.push(...extra);
  const sent = request.method === "HEAD" ? EMPTY : body;
  return [{ status: reply.status, fields, protocol, upgrade: undefined, wireBytes: 0 }, sent];
}

/** grpc-message (gRPC over HTTP/2): printable ASCII except the percent sign stays. */
function percentEncoded(text: string): string {
  let encoded = "";
  for (const byte of encoder.encode(text)) {
    encoded += byte < 0x20 || byte > 0x7e || byte === 0x25
      ? `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
      : String.fromCharCode(byte);
  }
  return encoded;
}

const EMPTY = new Uint8Array(0);
