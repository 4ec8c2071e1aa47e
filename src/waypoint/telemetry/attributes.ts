/**
 * Envoy's attributes over the facts of a stream (Envoy docs "Attributes"; what is absent and what is empty as Envoy 1.40
 * has it). Maps — headers, trailers, metadata, filter state — are made where CEL is evaluated.
 */
import { joinedField, pseudoField, type RequestHead } from "../../http/message.ts";
import { formatAddress } from "../../net/address.ts";
import type { Flag, StreamInfo } from "../stream_info.ts";
import { type AttributeValue, instantOf, maybeText, spanOf } from "./attribute_value.ts";
import { grpcStatusOf } from "./grpc_status.ts";
import { octetsToText } from "./octets.ts";

/** undefined: the stream has no such value, which is an error in CEL. */
export type Attribute = (info: StreamInfo) => AttributeValue | undefined;

function some(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function int(value: number): bigint {
  return BigInt(Math.trunc(value));
}

/** The value of a request's field as octets, pseudo-fields included; several are joined by a comma. */
export function requestField(head: RequestHead, name: string): string | undefined {
  return pseudoField(head, name) ?? joinedField(head.fields, name);
}

/** The same of its response. */
export function responseField(info: StreamInfo, name: string): string | undefined {
  if (name === ":status") return info.responseCode === 0 ? undefined : String(info.responseCode);
  return info.response && joinedField(info.response.fields, name);
}

export function requestHeader(name: string): (info: StreamInfo) => string | undefined {
  return ({ request }) => request && maybeText(requestField(request, name));
}

export function responseHeader(name: string): (info: StreamInfo) => string | undefined {
  return (info) => maybeText(responseField(info, name));
}

function urlPath(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

function queryOf(path: string): string {
  const start = path.indexOf("?");
  if (start < 0) return "";
  const fragment = path.indexOf("#", start);
  return path.slice(start + 1, fragment < 0 ? path.length : fragment);
}

/** What the client said the body has, else what came of it. */
function requestSize(info: StreamInfo): bigint | undefined {
  const length = info.request && joinedField(info.request.fields, "content-length");
  if (length === undefined) return int(info.bytesReceived);
  return /^\d{1,18}$/.test(length) ? BigInt(length) : undefined;
}

/** Bits of StreamInfo::legacyResponseFlags. */
const FLAG_BITS: Readonly<Record<Flag, number>> = {
  UH: 0x2,
  UT: 0x4,
  LR: 0x8,
  UR: 0x10,
  UF: 0x20,
  UC: 0x40,
  UO: 0x80,
  NR: 0x100,
  DI: 0x200,
  FI: 0x400,
  RL: 0x800,
  UAEX: 0x1000,
  DC: 0x4000,
  URX: 0x8000,
  SI: 0x1_0000,
  IH: 0x2_0000,
  DPE: 0x4_0000,
  UMSDR: 0x8_0000,
  DT: 0x40_0000,
  UPE: 0x80_0000,
  NC: 0x100_0000,
  OM: 0x200_0000,
};

function upstreamFailure(info: StreamInfo): string | undefined {
  const tried = info.upstreamFailure !== "" || info.upstreamAddress !== "" || info.attempts > 0;
  return tried ? info.upstreamFailure : undefined;
}

function upstreamPort(info: StreamInfo): bigint | undefined {
  const port = /:(\d{1,5})$/.exec(info.upstreamAddress)?.[1];
  return port === undefined ? undefined : BigInt(port);
}

type Members = Readonly<Record<string, Attribute>>;

/** By root, then member. */
export const ATTRIBUTES = {
  request: {
    host: (info) => info.request && octetsToText(info.request.authority),
    method: (info) => info.request?.method,
    path: (info) => info.request && octetsToText(info.request.path),
    url_path: (info) => info.request && octetsToText(urlPath(info.request.path)),
    query: (info) => info.request && octetsToText(queryOf(info.request.path)),
    scheme: (info) => info.request?.scheme,
    protocol: (info) => info.request?.protocol,
    id: requestHeader("x-request-id"),
    useragent: requestHeader("user-agent"),
    referer: requestHeader("referer"),
    size: requestSize,
    headers_bytes: (info) => int(info.request?.wireBytes ?? 0),
    total_size: (info) => int(info.bytesReceived + (info.request?.wireBytes ?? 0)),
    time: (info) => instantOf(info.startTime),
    duration: (info) => info.endedAt === 0 ? undefined : spanOf(Math.max(0, info.endedAt - info.startedAt)),
  },
  response: {
    code: (info) => info.responseCode === 0 ? undefined : int(info.responseCode),
    code_details: (info) => some(info.responseCodeDetails),
    flags: (info) => int(info.flags.reduce((bits, flag) => bits | FLAG_BITS[flag], 0)),
    size: (info) => int(info.bytesSent),
    headers_bytes: (info) => int(info.response?.wireBytes ?? 0),
    total_size: (info) => int(info.bytesSent + (info.response?.wireBytes ?? 0)),
    // Also of what is not gRPC: then it is what the HTTP status means.
    grpc_status: (info) => {
      const status = grpcStatusOf(info);
      return status === undefined ? undefined : int(status);
    },
    backend_latency: ({ upstreamSentAt, responseReceivedAt }) =>
      upstreamSentAt === 0 || responseReceivedAt === 0
        ? undefined
        : spanOf(Math.max(0, responseReceivedAt - upstreamSentAt)),
  },
  connection: {
    // The connection inside the tunnel has no TLS of its own there; here these are the tunnel's.
    mtls: (info) => info.downstream.peerPrincipal !== undefined,
    uri_san_peer_certificate: (info) => info.downstream.peerPrincipal,
    uri_san_local_certificate: (info) => info.downstream.localPrincipal,
    requested_server_name: (info) => info.downstream.requestedServerName ?? "",
    termination_details: (info) => some(info.connectionTerminationDetails),
  },
  source: {
    address: (info) => formatAddress(info.downstream.remote),
    port: (info) => int(info.downstream.remote.port),
  },
  destination: {
    address: (info) => formatAddress(info.downstream.local),
    port: (info) => int(info.downstream.local.port),
  },
  upstream: {
    address: (info) => some(info.upstreamAddress),
    port: upstreamPort,
    local_address: (info) => some(info.upstreamLocalAddress),
    transport_failure_reason: upstreamFailure,
    request_attempt_count: (info) => int(info.attempts),
  },
  xds: {
    cluster_name: (info) => some(info.clusterName),
    route_name: (info) => some(info.routeName),
  },
} as const satisfies Readonly<Record<string, Members>>;

const BY_NAME: ReadonlyMap<string, Attribute> = new Map(
  Object.entries(ATTRIBUTES).flatMap(([root, members]) =>
    Object.entries(members).map(([member, attribute]): [string, Attribute] => [`${root}.${member}`, attribute])
  ),
);

/** @param name e.g. `request.host` */
export function attributeNamed(name: string): Attribute | undefined {
  return BY_NAME.get(name);
}
