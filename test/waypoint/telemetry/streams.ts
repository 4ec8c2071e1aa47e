import type { RequestHead, ResponseHead } from "../../../src/http/mod.ts";
import type { ClusterEndpoint } from "../../../src/waypoint/snapshot/mod.ts";
import { type DownstreamInfo, StreamInfo } from "../../../src/waypoint/stream_info.ts";

export const CLIENT_ID = "spiffe://cluster.local/ns/shop/sa/cart";
export const WAYPOINT_ID = "spiffe://cluster.local/ns/bank/sa/waypoint";
export const SERVICE = { host: "ledger.bank.svc.cluster.local", name: "ledger", namespace: "bank" };

export const DOWNSTREAM: DownstreamInfo = {
  remote: { ip: "10.0.0.1", port: 4242 },
  local: { ip: "10.96.0.12", port: 80 },
  originalDestination: { ip: "10.96.0.12", port: 80 },
  authority: "10.96.0.12:80",
  peerPrincipal: CLIENT_ID,
  localPrincipal: WAYPOINT_ID,
  sourceNamespace: "shop",
  requestedServerName: undefined,
};

export const ENDPOINT: ClusterEndpoint = {
  kind: "hbone",
  address: "10.0.0.2:8080",
  additionalAddresses: [],
  tunnel: undefined,
  innerAuthority: undefined,
  expectedIdentities: [],
  weight: 1,
  health: "healthy",
  workload: undefined,
};

export function requestHead(changes: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "ledger.bank",
    path: "/accounts?limit=3",
    protocol: "HTTP/1.1",
    fields: [["user-agent", "curl/8"], ["x-request-id", "id-1"], ["x-forwarded-for", "10.0.0.1"]],
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 100,
    ...changes,
  };
}

export function responseHead(changes: Partial<ResponseHead> = {}): ResponseHead {
  return {
    status: 200,
    fields: [["content-type", "text/plain"], ["x-envoy-upstream-service-time", "7"]],
    protocol: "HTTP/1.1",
    upgrade: undefined,
    wireBytes: 80,
    ...changes,
  };
}

/** 2026-11-21T08:34:22.045Z */
export const START = Date.UTC(2026, 10, 21, 8, 34, 22, 45) + 0.678;

/** A request that went well, 12.9 ms long, with what `changes` says instead. */
export function stream(changes: Partial<StreamInfo> = {}, downstream: Partial<DownstreamInfo> = {}): StreamInfo {
  const info = new StreamInfo({ ...DOWNSTREAM, ...downstream });
  const at = info.startedAt;
  Object.assign(info, {
    startTime: START,
    endedAt: at + 12.9,
    requestReceivedAt: at + 1.5,
    upstreamSentAt: at + 2,
    responseFirstByteAt: at + 9.2,
    responseReceivedAt: at + 11,
    request: requestHead(),
    response: responseHead(),
    responseCode: 200,
    responseCodeDetails: "via_upstream",
    bytesReceived: 11,
    bytesSent: 22,
    routeName: "default",
    clusterName: "inbound-vip|80|http|ledger.bank.svc.cluster.local",
    service: SERVICE,
    endpoint: ENDPOINT,
    upstreamAddress: "10.0.0.2:8080",
    attempts: 1,
    ...changes,
  });
  return info;
}
