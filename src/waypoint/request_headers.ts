/** What happens to a request's header section before anything decides about it: Envoy's mutateRequestHeaders. */
import { setField } from "../http/mod.ts";
import type { RequestHead } from "../http/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { canonicalIp } from "../net/address.ts";
import type { HttpOptions } from "./snapshot/mod.ts";
import type { DownstreamInfo } from "./stream_info.ts";

/**
 * Fields with which a client inside the mesh could steer Envoy's router. They do not count from elsewhere, and what is
 * inside is not configured on a waypoint: they are always taken out.
 */
const INTERNAL_FIELDS: ReadonlySet<string> = new Set([
  "x-envoy-retry-on",
  "x-envoy-retry-grpc-on",
  "x-envoy-max-retries",
  "x-envoy-retriable-status-codes",
  "x-envoy-retriable-header-names",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-force-trace",
  "x-envoy-ip-tags",
  "x-envoy-original-url",
  "x-envoy-internal",
  "x-forwarded-client-cert",
]);

/** What was seen on the way. */
export interface RequestMarks {
  /** Address of the client as X-Forwarded-For's last entry says it, else that of the connection. */
  readonly remoteIp: string;
  readonly contentType: string | undefined;
}

/** Takes out what a client may not say, adds what backends expect: x-request-id, x-forwarded-proto, XFCC where asked. */
export function prepareRequest(head: RequestHead, options: HttpOptions, downstream: DownstreamInfo): RequestMarks {
  let requestId = false;
  let forwardedProto = false;
  let internal = false;
  let contentType: string | undefined;
  let forwardedFor: string | undefined;
  for (const [name, value] of head.fields) {
    if (name.charCodeAt(0) === 0x78 /* x */) {
      if (name === "x-request-id") requestId = true;
      else if (name === "x-forwarded-proto") forwardedProto = true;
      else if (name === "x-forwarded-for") forwardedFor = value;
      else if (INTERNAL_FIELDS.has(name)) internal = true;
    } else if (name === "content-type") contentType = value;
  }
  if (internal) head.fields = head.fields.filter(([name]) => !INTERNAL_FIELDS.has(name));
  if (!forwardedProto) head.fields.push(["x-forwarded-proto", head.scheme]);
  if (!requestId && options.generateRequestId) head.fields.push(["x-request-id", crypto.randomUUID()]);
  if (options.forwardClientIdentity && downstream.peerPrincipal !== undefined) {
    const { localPrincipal, peerPrincipal } = downstream;
    head.fields.push(["x-forwarded-client-cert", `By=${localPrincipal ?? ""};URI=${peerPrincipal}`]);
  }
  const remoteIp = forwardedFor === undefined ? undefined : lastAddress(forwardedFor);
  return { remoteIp: remoteIp ?? downstream.remote.ip, contentType };
}

/** The last entry of an X-Forwarded-For value, if it is an address. */
function lastAddress(value: string): string | undefined {
  const text = value.slice(value.lastIndexOf(",") + 1).trim();
  return canonicalIp(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text);
}

/** A copy of a request for its mirror: marked as internal, with ourselves in its way. */
export function mirroredHead(head: RequestHead, shadowHost: boolean, ownIp: string): RequestHead {
  const fields: HeaderList = head.fields.map((field) => [...field] as [string, string]);
  const copy: RequestHead = { ...head, fields };
  setField(fields, "x-envoy-internal", "true");
  const before = fields.filter(([name]) => name === "x-forwarded-for").map(([, value]) => value);
  setField(fields, "x-forwarded-for", [...before, ownIp].join(","));
  if (shadowHost) {
    const colon = /:[0-9]+$/.exec(head.authority)?.index ?? head.authority.length;
    copy.authority = `${head.authority.slice(0, colon)}-shadow${head.authority.slice(colon)}`;
  }
  return copy;
}
