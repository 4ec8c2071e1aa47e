/** Routes, requests and what else the tests of routing begin with. */
import type { RequestHead, ResponseHead } from "../../../src/http/message.ts";
import type { HeaderList } from "../../../src/http2/mod.ts";
import type { HeaderMatch, PathMatch, QueryMatch } from "../../../src/matching/mod.ts";
import type {
  ForwardAction,
  HeaderMutation,
  Route,
  RouteConfiguration,
  RouteMatch,
  VirtualHost,
  WeightedCluster,
} from "../../../src/waypoint/snapshot/mod.ts";
import { StreamInfo } from "../../../src/waypoint/stream_info.ts";

export const NO_CHANGE: HeaderMutation = { add: [], remove: [] };

export function request(path: string, fields: HeaderList = [], more: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "web.shop.svc.cluster.local",
    path,
    protocol: "HTTP/1.1",
    fields,
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
    ...more,
  };
}

export function response(status: number, fields: HeaderList = []): ResponseHead {
  return { status, fields, protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 0 };
}

export function cluster(name: string, more: Partial<WeightedCluster> = {}): WeightedCluster {
  return { cluster: name, weight: 1, requestHeaders: NO_CHANGE, responseHeaders: NO_CHANGE, ...more };
}

export function forward(more: Partial<ForwardAction> = {}): ForwardAction {
  return {
    kind: "forward",
    clusters: [cluster("web")],
    clusterNotFoundStatus: 503,
    timeoutMs: 0,
    maxGrpcTimeoutMs: 0,
    retry: undefined,
    rewrite: {},
    hostRewrite: undefined,
    appendForwardedHost: false,
    mirrors: [],
    hashPolicies: [],
    idleTimeoutMs: 0,
    maxStreamDurationMs: 0,
    ...more,
  };
}

export function prefix(value: string, caseSensitive = true): PathMatch {
  return { kind: "prefix", value, caseSensitive };
}

export function separated(value: string, caseSensitive = true): PathMatch {
  return { kind: "path-separated-prefix", value, caseSensitive };
}

export function exact(value: string, caseSensitive = true): PathMatch {
  return { kind: "exact", value, caseSensitive };
}

export function exactHeader(name: string, value: string, more: Partial<HeaderMatch> = {}): HeaderMatch {
  return { name, match: { kind: "exact", value }, invert: false, treatMissingAsEmpty: false, ...more };
}

export function exactQuery(name: string, value: string): QueryMatch {
  return { name, match: { kind: "exact", value } };
}

export function match(path: PathMatch, more: Partial<RouteMatch> = {}): RouteMatch {
  return { path, headers: [], query: [], metadata: [], ...more };
}

export function route(name: string, matched: RouteMatch, more: Partial<Route> = {}): Route {
  return {
    name,
    match: matched,
    action: forward(),
    requestHeaders: NO_CHANGE,
    responseHeaders: NO_CHANGE,
    fault: undefined,
    cors: undefined,
    decorator: "",
    source: "",
    ...more,
  };
}

export function virtualHost(routes: readonly Route[], more: Partial<VirtualHost> = {}): VirtualHost {
  return {
    name: "inbound|http|80",
    domains: ["*"],
    routes,
    requestHeaders: NO_CHANGE,
    responseHeaders: NO_CHANGE,
    ...more,
  };
}

export function configuration(
  virtualHosts: readonly VirtualHost[],
  more: Partial<RouteConfiguration> = {},
): RouteConfiguration {
  return {
    name: "inbound-vip|80|http|web",
    virtualHosts,
    requestHeaders: NO_CHANGE,
    responseHeaders: NO_CHANGE,
    ...more,
  };
}

export function streamInfo(head: RequestHead): StreamInfo {
  const info = new StreamInfo({
    remote: { ip: "10.0.0.7", port: 40_000 },
    local: { ip: "10.96.0.1", port: 80 },
    originalDestination: { ip: "10.96.0.1", port: 80 },
    authority: "10.96.0.1:80",
    peerPrincipal: "spiffe://cluster.local/ns/shop/sa/cart",
    sourceNamespace: "shop",
    localPrincipal: undefined,
    requestedServerName: undefined,
  });
  info.request = head;
  return info;
}
