/** Random small meshes in which flows meet everything: waypoints, gateways, names, policies, strangers. */
import {
  type GatewayAddress,
  MeshState,
  newService,
  newWorkload,
  type Service,
  serviceKey,
  type Workload,
} from "../../src/mesh/mod.ts";
import { anyPolicy, one, type Pick } from "../policy/random.ts";

const NAMESPACES = ["a", "ab"];
const ACCOUNTS = ["x", "y"];
export const PORTS = [1, 2, 3, 15008];

function gateway(pick: Pick): GatewayAddress | undefined {
  const hboneMtlsPort = 15008;
  switch (pick(8)) {
    case 0:
      return { destination: { kind: "address", network: "", ip: `10.1.0.${pick(5)}` }, hboneMtlsPort };
    case 1:
      return { destination: { kind: "address", network: "", ip: `10.0.0.${pick(8)}` }, hboneMtlsPort };
    case 2:
      return {
        destination: { kind: "hostname", namespace: one(pick, NAMESPACES), hostname: `s${pick(5)}` },
        hboneMtlsPort,
      };
    default:
      return undefined;
  }
}

function workload(pick: Pick, index: number, keys: readonly string[]): Workload {
  return newWorkload({
    uid: `Kubernetes//Pod/w${index}`,
    name: `w${index}`,
    namespace: one(pick, NAMESPACES),
    serviceAccount: one(pick, ACCOUNTS),
    trustDomain: ["td2", ""][pick(12)] ?? "td",
    addresses: pick(8) === 0 ? [] : [`10.0.0.${index}`, ...(pick(3) === 0 ? [`fd00::${index + 1}`] : [])],
    hostname: pick(6) === 0 ? `w${index}.example` : "",
    network: pick(6) === 0 ? "east" : "",
    protocol: pick(4) === 0 ? "TCP" : "HBONE",
    waypoint: gateway(pick),
    networkGateway: gateway(pick),
    applicationTunnel: pick(10) === 0 ? { protocol: "PROXY", port: 15088 } : undefined,
    authorizationPolicies: keys.filter(() => pick(4) === 0),
  });
}

function service(pick: Pick, index: number): Service {
  return newService({
    name: `s${index}`,
    namespace: one(pick, NAMESPACES),
    hostname: `s${index}`,
    vips: pick(6) === 0 ? [] : [{ network: "", ip: `10.1.0.${index}` }],
    ports: [1, one(pick, PORTS), ...(pick(2) === 0 ? [15008, 15008] : [2, 0])],
    waypoint: gateway(pick),
    subjectAltNames: pick(2) === 0 ? ["spiffe://td/ns/a/sa/x"] : [],
    loadBalancer: pick(8) === 0
      ? { mode: "Passthrough", routingPreferences: [], healthPolicy: "OnlyHealthy" }
      : undefined,
  });
}

export function anyMesh(pick: Pick): MeshState {
  const mesh = new MeshState();
  const policies = Array.from({ length: pick(6) }, (_, i) => anyPolicy(pick, `p${i}`));
  const services = Array.from({ length: 1 + pick(4) }, (_, i) => service(pick, i));
  const keys = policies.map(({ namespace, name }) => `${namespace}/${name}`);
  const workloads = Array.from({ length: 2 + pick(6) }, (_, i) => workload(pick, i, keys)).map((record) => ({
    workload: record,
    memberships: services.filter(() => pick(3) === 0).map((of) => ({ service: serviceKey(of), ports: [] })),
  }));
  mesh.apply({ policies, services, workloads });
  return mesh;
}
