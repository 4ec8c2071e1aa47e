/**
 * The world of the waypoint's suites. Node a has the clients, node b the servers and the waypoint:
 *
 *     client, other ── ztunnel a ══ waypoint ══ ztunnel b ── v1, v2
 *
 * One service, `web`, has a port of each kind; `v1` and `v2` are one pod each; `empty` has no endpoint, `half` has one that
 * does not listen beside one that does; `direct` is a pod behind the waypoint by its own address.
 */
import type { Mesh, MeshPlan } from "../fixture.ts";
import { hostnameOf, type KubernetesObject, LAB_NAMESPACE, type RequestRecord, waypointGateway } from "../mesh/mod.ts";
import type { EchoApplication, PodCaller } from "../peers/mod.ts";
import { http1, type Http1Answer, Http1Client, type Http1Request } from "../traffic/mod.ts";

export const VIP = "10.96.8.1";
export const V1_VIP = "10.96.8.2";
export const V2_VIP = "10.96.8.3";
export const EMPTY_VIP = "10.96.8.4";
export const HALF_VIP = "10.96.8.5";
/** Ports of the service `web`. */
export const HTTP = 80;
/** Undeclared, in front of the same application. */
export const SNIFFED = 81;
export const TCP = 82;
/** Undeclared, in front of an application that speaks first. */
export const GREETING = 83;
export const GRPC = 84;
/** Declared TCP, in front of the application that speaks first. */
export const TCP_GREETING = 85;
/** Undeclared, in front of gRPC. */
export const SNIFFED_GRPC = 86;
/** Declared HTTP, in front of an application by our own hand. */
export const RAW = 87;
/** Ports of the pods. */
export const HTTP_TARGET = 8080;
export const TCP_TARGET = 9000;
export const GREETING_TARGET = 9001;
export const GRPC_TARGET = 7070;
export const RAW_TARGET = 8090;
/** Nothing listens here. */
export const DEAD_TARGET = 9999;
/** How long the waypoint waits for a silent client of an undeclared port; short, so that tests need not wait 5 s. */
export const DETECTION_MS = 1_000;

const WEB_PORTS = {
  [HTTP]: HTTP_TARGET,
  [SNIFFED]: HTTP_TARGET,
  [TCP]: TCP_TARGET,
  [GREETING]: GREETING_TARGET,
  [GRPC]: GRPC_TARGET,
  [TCP_GREETING]: GREETING_TARGET,
  [SNIFFED_GRPC]: GRPC_TARGET,
  [RAW]: RAW_TARGET,
};
const VERSION_PORTS = { [HTTP]: HTTP_TARGET, [GRPC]: GRPC_TARGET };
const VERSION_PROTOCOLS = { [HTTP]: "HTTP", [GRPC]: "GRPC" };

/** Access log lines of every request, on standard output. */
export const ACCESS_LOG: KubernetesObject = {
  apiVersion: "telemetry.istio.io/v1",
  kind: "Telemetry",
  metadata: { name: "log-all", namespace: LAB_NAMESPACE },
  spec: { accessLogging: [{ providers: [{ name: "envoy" }] }] },
};

export const waypointMesh: MeshPlan = {
  pods: [
    { name: "client", node: 0, captured: true },
    { name: "other", node: 0, captured: true },
    { name: "outsider", node: 0, captured: false },
    { name: "v1", node: 1, captured: true },
    { name: "v2", node: 1, captured: true },
    { name: "direct", node: 1, captured: true },
    { name: "bystander", node: 1, captured: true },
    { name: "waypoint", node: 1, captured: false },
  ],
  meshed: ["client", "other", "v1", "v2", "direct", "bystander"],
  waypoints: [{ pod: "waypoint", environment: { AMBIENT_DETECTION_TIMEOUT: `${DETECTION_MS}ms` } }],
  configuration: (lab) => {
    const waypoint = lab.pod("waypoint");
    const version = (name: string, half: number) => ({
      pod: lab.pod(name),
      hbone: true,
      version: name,
      services: { web: WEB_PORTS, [name]: VERSION_PORTS, half: { [HTTP]: half } },
    });
    return {
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("other"), hbone: true },
        version("v1", HTTP_TARGET),
        version("v2", DEAD_TARGET),
        { pod: lab.pod("direct"), hbone: true, waypoint },
        { pod: lab.pod("bystander"), hbone: true },
        { pod: waypoint, hbone: true },
      ],
      services: [
        {
          name: "web",
          vip: VIP,
          ports: WEB_PORTS,
          appProtocols: { [HTTP]: "HTTP", [TCP]: "TCP", [GRPC]: "GRPC", [TCP_GREETING]: "TCP", [RAW]: "HTTP" },
          waypoint,
        },
        { name: "v1", vip: V1_VIP, ports: VERSION_PORTS, appProtocols: VERSION_PROTOCOLS, waypoint },
        { name: "v2", vip: V2_VIP, ports: VERSION_PORTS, appProtocols: VERSION_PROTOCOLS, waypoint },
        { name: "empty", vip: EMPTY_VIP, ports: VERSION_PORTS, appProtocols: VERSION_PROTOCOLS, waypoint },
        { name: "half", vip: HALF_VIP, ports: { [HTTP]: HTTP_TARGET }, appProtocols: { [HTTP]: "HTTP" }, waypoint },
      ],
      objects: [waypointGateway(), ACCESS_LOG],
    };
  },
};

export interface Applications {
  readonly v1: EchoApplication;
  readonly v2: EchoApplication;
  readonly direct: EchoApplication;
  readonly caller: PodCaller;
}

export async function startApplications(mesh: Mesh): Promise<Applications> {
  const plan = { http: [HTTP_TARGET], grpc: [GRPC_TARGET] };
  const [v1, v2, direct, caller] = await Promise.all([
    mesh.echo("v1", plan),
    mesh.echo("v2", plan),
    mesh.echo("direct", plan),
    mesh.caller("client"),
  ]);
  return { v1, v2, direct, caller };
}

/** One request from a client pod to a service's address, on a connection of its own. */
export function ask(mesh: Mesh, request: Http1Request & { vip?: string; port?: number; from?: string } = {}) {
  const { vip = VIP, port = HTTP, from = "client", ...rest } = request;
  return http1(mesh.lab.pod(from).namespace, { ip: vip, port }, { host: hostnameOf("web"), ...rest });
}

export function open(mesh: Mesh, port = HTTP, vip = VIP, from = "client"): Promise<Http1Client> {
  return Http1Client.open(mesh.lab.pod(from).namespace, { ip: vip, port });
}

/** One request, and what the access log says of it. */
export async function logged(
  mesh: Mesh,
  request: Http1Request & { vip?: string; port?: number; from?: string },
): Promise<{ answer: Http1Answer; record: RequestRecord }> {
  const id = crypto.randomUUID();
  const since = mesh.waypoint().process.lines.length;
  const answer = await ask(mesh, { ...request, fields: [...request.fields ?? [], ["x-request-id", id]] });
  const record = await mesh.waypoint().record(({ requestId }) => requestId === id, since);
  return { answer, record };
}

/** An HTTPRoute of a service of the lab. */
export function httpRoute(name: string, service: string, rules: readonly Record<string, unknown>[]): KubernetesObject {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name, namespace: LAB_NAMESPACE },
    spec: { parentRefs: [{ group: "", kind: "Service", name: service }], rules },
  };
}

/** An AuthorizationPolicy at a service of the lab. */
export function authorization(
  name: string,
  action: "ALLOW" | "DENY" | "AUDIT",
  rules: readonly Record<string, unknown>[],
  target: Record<string, unknown> = { kind: "Service", group: "", name: "web" },
): KubernetesObject {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name, namespace: LAB_NAMESPACE },
    spec: { targetRefs: [target], action, rules },
  };
}

export const principal = (account: string) => `cluster.local/ns/${LAB_NAMESPACE}/sa/${account}`;
