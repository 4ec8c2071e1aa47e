import { type DocumentError, formatDocumentError } from "../../../src/config/mod.ts";
import { parseLocalState } from "../../../src/config/local_parse.ts";
import type { WaypointOptions } from "../../../src/waypoint/local/mod.ts";
import type {
  Cluster,
  ForwardAction,
  HttpChain,
  Route,
  TcpChain,
  WaypointSnapshot,
} from "../../../src/waypoint/snapshot/mod.ts";

export const OPTIONS: WaypointOptions = {
  gateway: undefined,
  clusterDomain: "cluster.local",
  trustDomains: ["cluster.local"],
  network: "",
  rootNamespace: "istio-system",
  accessLog: undefined,
};

/** A waypoint `wp` of namespace `shop` for `web` and `api` (80 HTTP, 90 undeclared, 70 GRPC, 60 TCP); `far` is not served. */
export const MESH = `
workloads:
- {name: web-1, workloadIps: [10.0.0.1], protocol: HBONE, canonicalRevision: v1, namespace: shop, serviceAccount: web,
  trustDomain: cluster.local, canonicalName: web, clusterId: c1, workloadName: web,
  services: &web {shop/web.shop.svc.cluster.local: {80: 8080, 90: 9090, 70: 7070, 60: 6060}}}
- {name: web-2, workloadIps: [10.0.0.2], protocol: TCP, canonicalRevision: v2, namespace: shop, serviceAccount: web,
  trustDomain: cluster.local, canonicalName: web, clusterId: c1, workloadName: web, services: *web}
- {name: api-1, namespace: shop, serviceAccount: api, trustDomain: cluster.local, workloadIps: [10.0.0.3],
  protocol: HBONE, services: {shop/api.shop.svc.cluster.local: {80: 8080}}}
- {name: wp-x, namespace: shop, serviceAccount: wp, trustDomain: cluster.local, workloadIps: [10.0.0.9],
  protocol: HBONE, services: {shop/wp.shop.svc.cluster.local: {15008: 15008}, other/far.other.svc.cluster.local: {80: 8080}}}
services:
- {name: wp, namespace: shop, hostname: wp.shop.svc.cluster.local, vips: [/10.96.0.9], ports: {15008: 15008}}
- {name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: [/10.96.0.1, "/fd00::1"],
  ports: {80: 8080, 90: 9090, 70: 7070, 60: 6060}, appProtocols: {80: HTTP, 70: GRPC, 60: TCP},
  waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}
- {name: api, namespace: shop, hostname: api.shop.svc.cluster.local, vips: [/10.96.0.2], ports: {80: 8080},
  appProtocols: {80: HTTP}, waypoint: {destination: shop/wp.shop.svc.cluster.local, hboneMtlsPort: 15008}}
- {name: far, namespace: other, hostname: far.other.svc.cluster.local, vips: [/10.96.0.3], ports: {80: 8080}}
`;

export const GATEWAY = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

function join(objects: readonly string[]): string {
  return objects.join("\n---\n");
}

/** Mesh, Gateway and these objects compiled. */
export function compileAll(objects: readonly string[], options: Partial<WaypointOptions> = {}) {
  return parseLocalState([{ path: "a.yaml", text: join([MESH, GATEWAY]) }, ...asFile(objects)], {
    waypoint: { ...OPTIONS, ...options },
  });
}

function asFile(objects: readonly string[]) {
  return objects.length === 0 ? [] : [{ path: "b.yaml", text: join(objects) }];
}

export function compile(objects: readonly string[], options: Partial<WaypointOptions> = {}): WaypointSnapshot {
  const result = compileAll(objects, options);
  if (!result.ok) throw new Error(result.errors.map(show).join("\n"));
  if (result.waypoint === undefined) throw new Error("no snapshot");
  return result.waypoint;
}

export function show(error: DocumentError): string {
  return formatDocumentError(error);
}

export function errors(objects: readonly string[], options: Partial<WaypointOptions> = {}): string[] {
  const result = compileAll(objects, options);
  return result.ok ? [] : result.errors.map(show);
}

export function warnings(objects: readonly string[], options: Partial<WaypointOptions> = {}): string[] {
  const result = compileAll(objects, options);
  if (!result.ok) throw new Error(result.errors.map(show).join("\n"));
  return result.warnings.map(show);
}

/** `web`, 80 → the name of its chain and cluster. */
export function nameOf(service: string, port: number, use: "http" | "tcp" = "http"): string {
  return `inbound-vip|${port}|${use}|${service}.shop.svc.cluster.local`;
}

export function httpChain(snapshot: WaypointSnapshot, name: string): HttpChain {
  const chain = snapshot.chains[name];
  if (chain?.kind !== "http") throw new Error(`no HTTP chain ${name}: ${Object.keys(snapshot.chains)}`);
  return chain;
}

export function tcpChain(snapshot: WaypointSnapshot, name: string): TcpChain {
  const chain = snapshot.chains[name];
  if (chain?.kind !== "tcp") throw new Error(`no TCP chain ${name}: ${Object.keys(snapshot.chains)}`);
  return chain;
}

export function cluster(snapshot: WaypointSnapshot, name: string): Cluster {
  const found = snapshot.clusters[name];
  if (found === undefined) throw new Error(`no cluster ${name}: ${Object.keys(snapshot.clusters)}`);
  return found;
}

/** Routes of a service port. */
export function routesOf(objects: readonly string[], service = "web", port = 80): readonly Route[] {
  return httpChain(compile(objects), nameOf(service, port)).routes.virtualHosts[0]!.routes;
}

export function forward(route: Route | undefined): ForwardAction {
  if (route?.action.kind !== "forward") throw new Error(`no forwarding route: ${JSON.stringify(route)}`);
  return route.action;
}

interface RouteGiven {
  readonly name?: string;
  readonly namespace?: string;
  readonly kind?: "HTTPRoute" | "GRPCRoute" | "TCPRoute";
  readonly parent?: string;
  readonly created?: string;
}

/** A route of service `web` with these rules (YAML flow). */
export function route(rules: string, given: RouteGiven = {}): string {
  const { name = "r", namespace = "shop", kind = "HTTPRoute", created } = given;
  const parent = given.parent ?? '{group: "", kind: Service, name: web, namespace: shop}';
  const version = kind === "TCPRoute" ? "v1alpha2" : "v1";
  return `
apiVersion: gateway.networking.k8s.io/${version}
kind: ${kind}
metadata: {name: ${name}, namespace: ${namespace}${created === undefined ? "" : `, creationTimestamp: "${created}"`}}
spec: {parentRefs: [${parent}], rules: ${rules}}
`;
}

/** An object of this kind in namespace `shop`. */
export function object(apiVersion: string, kind: string, spec: string, metadata = "name: o, namespace: shop"): string {
  return `
apiVersion: ${apiVersion}
kind: ${kind}
metadata: {${metadata}}
spec: ${spec}
`;
}
