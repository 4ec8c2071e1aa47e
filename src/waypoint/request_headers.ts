/** What happens to a request's header section before anything decides about it: Envoy's mutateRequestHeaders. */
import { removeField, setField } from "../http/mod.ts";
import type { RequestHead } from "../http/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { canonicalIp } from "../net/address.ts";
import type { HttpOptions } from "./snapshot/mod.ts";
import { joinRequestFields } from "./inline_fields.ts";
import { isValidReferer } from "./referer.ts";
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
  "x-envoy-upstream-stream-duration-ms",
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
  /** No route is to be found: X-Forwarded-Proto was sent, and is empty. */
  readonly routeless: boolean;
}

/** Takes out what a client may not say, adds what backends expect: x-request-id, x-forwarded-proto, XFCC where asked. */
export function prepareRequest(head: RequestHead, options: HttpOptions, downstream: DownstreamInfo): RequestMarks {
  joinRequestFields(head.fields);
  let requestId: string | undefined;
  let forwardedProto: string | undefined;
  let internal = false;
  let badReferer = false;
  let contentType: string | undefined;
  let forwardedFor: string | undefined;
  for (const [name, value] of head.fields) {
    if (name.charCodeAt(0) === 0x78 /* x */) {
      if (name === "x-request-id") requestId = value;
      else if (name === "x-forwarded-proto") forwardedProto = value;
      else if (name === "x-forwarded-for") forwardedFor = value;
      else if (INTERNAL_FIELDS.has(name)) internal = true;
    } else if (name === "content-type") contentType = value;
    else if (name === "referer" && !isValidReferer(value)) badReferer = true;
  }
  if (badReferer) removeField(head.fields, "referer");
  if (internal) head.fields = head.fields.filter(([name]) => !INTERNAL_FIELDS.has(name));
  // Nothing is encrypted inside a tunnel, whatever the request's target says.
  if (forwardedProto === undefined) head.fields.push(["x-forwarded-proto", "http"]);
  else if (head.protocol !== "HTTP/2" && (forwardedProto === "https" || forwardedProto === "http")) {
    head.scheme = forwardedProto; // a request of HTTP/1 does not say it by itself
  }
  if ((requestId === undefined || requestId === "") && options.generateRequestId) {
    setField(head.fields, "x-request-id", crypto.randomUUID());
  }
  if (options.forwardClientIdentity && downstream.peerPrincipal !== undefined) {
    const { localPrincipal, peerPrincipal } = downstream;
    head.fields.push(["x-forwarded-client-cert", `By=${localPrincipal ?? ""};URI=${peerPrincipal}`]);
  }
  const remoteIp = forwardedFor === undefined ? undefined : lastAddress(forwardedFor);
  return { remoteIp: remoteIp ?? downstream.remote.ip, contentType, routeless: forwardedProto === "" };
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
