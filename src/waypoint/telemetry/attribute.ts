/**
 * Values of metric dimensions. Istio writes them in CEL; what is evaluated here is its smallest part, exactly: a string
 * literal, or one of Envoy's attributes (Envoy docs "Attributes").
 */
import { joinedField } from "../../http/mod.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { formatAddress } from "../../net/address.ts";
import type { StreamInfo } from "../stream_info.ts";
import type { Compiled } from "./format.ts";
import { grpcStatusOf, isGrpcRequest } from "./grpc_status.ts";
import { octetsToText } from "./octets.ts";

/** The value as a label has it; undefined: there is none (an error in CEL). */
export type Attribute = (info: StreamInfo) => string | undefined;

function some(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function requestHeader(name: string): Attribute {
  return (info) => info.request && headerText(info.request.fields, name);
}

function headerText(fields: HeaderList, name: string): string | undefined {
  const value = joinedField(fields, name);
  return value === undefined ? undefined : octetsToText(value);
}

function withoutQuery(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

const ATTRIBUTES: ReadonlyMap<string, Attribute> = new Map<string, Attribute>([
  ["request.host", (info) => info.request && octetsToText(info.request.authority)],
  ["request.method", (info) => info.request?.method],
  ["request.path", (info) => info.request && octetsToText(info.request.path)],
  ["request.url_path", (info) => info.request && octetsToText(withoutQuery(info.request.path))],
  ["request.scheme", (info) => info.request?.scheme],
  ["request.protocol", (info) => info.request?.protocol],
  ["request.id", requestHeader("x-request-id")],
  ["request.useragent", requestHeader("user-agent")],
  ["request.referer", requestHeader("referer")],
  ["request.size", (info) => info.request && String(info.bytesReceived)],
  ["response.code", (info) => info.responseCode === 0 ? undefined : String(info.responseCode)],
  ["response.code_details", (info) => some(info.responseCodeDetails)],
  ["response.size", (info) => info.request && String(info.bytesSent)],
  ["response.grpc_status", (info) => {
    const status = isGrpcRequest(info.request) ? grpcStatusOf(info) : undefined;
    return status === undefined ? undefined : String(status);
  }],
  ["source.address", (info) => formatAddress(info.downstream.remote)],
  ["source.port", (info) => String(info.downstream.remote.port)],
  ["destination.address", (info) => formatAddress(info.downstream.local)],
  ["destination.port", (info) => String(info.downstream.local.port)],
  ["connection.requested_server_name", (info) => info.downstream.requestedServerName],
  ["connection.termination_details", (info) => some(info.connectionTerminationDetails)],
  ["upstream.address", (info) => some(info.upstreamAddress)],
  ["upstream.transport_failure_reason", (info) => some(info.upstreamFailure)],
  ["upstream.request_attempt_count", (info) => String(info.attempts)],
  ["xds.cluster_name", (info) => some(info.clusterName)],
  ["xds.route_name", (info) => some(info.routeName)],
]);

/** 'x' or "x" without escapes. */
const LITERAL = /^(?:'([^'\\\n]*)'|"([^"\\\n]*)")$/;
const HEADER = /^(request|response)\.headers\[(?:'([^'\\\n]+)'|"([^"\\\n]+)")\]$/;

/** Makes an expression ready, or says that it is not among those that are supported. */
export function compileAttribute(expression: string): Compiled<Attribute> {
  const text = expression.trim();
  const literal = LITERAL.exec(text);
  if (literal !== null) {
    const value = literal[1] ?? literal[2] ?? "";
    return { ok: true, format: () => value };
  }
  const header = HEADER.exec(text);
  if (header !== null) {
    const name = (header[2] ?? header[3] ?? "").toLowerCase();
    if (header[1] === "request") return { ok: true, format: requestHeader(name) };
    return { ok: true, format: (info) => info.response && headerText(info.response.fields, name) };
  }
  const attribute = ATTRIBUTES.get(text);
  if (attribute !== undefined) return { ok: true, format: attribute };
  return {
    ok: false,
    error: `CEL expression "${expression}" is not supported: only a string literal or an attribute is`,
  };
}
