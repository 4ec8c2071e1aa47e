/**
 * The world of the Gateway API's mesh conformance tests: echo-v1 and echo-v2 in gateway-conformance-mesh, the services
 * echo, echo-v1 and echo-v2 behind one waypoint of that namespace, and another echo-v1 in the consumer's namespace. As
 * there, the client is the pod echo-v1.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import type { MeshPlan } from "../lab/fixture.ts";
import type { KubernetesObject, MeshService } from "../lab/mesh/mod.ts";
import { waypointGateway } from "../lab/mesh/mod.ts";
import type { Lab } from "../lab/topology/mod.ts";

export const NAMESPACE = "gateway-conformance-mesh";
export const CONSUMER_NAMESPACE = "gateway-conformance-mesh-consumer";
export const GRPC_PORT = 7070;
export const HTTP_PORTS = [80, 8080];

const PORTS = { 80: 80, 8080: 8080, 443: 443, 9090: 9090, [GRPC_PORT]: GRPC_PORT };
const PROTOCOLS = { 80: "HTTP", 8080: "HTTP", 443: "HTTPS", 9090: "TCP", [GRPC_PORT]: "GRPC" };
export const VIPS: Readonly<Record<string, string>> = {
  "echo": "10.96.7.1",
  "echo-v1": "10.96.7.2",
  "echo-v2": "10.96.7.3",
};

export const conformanceMesh: MeshPlan = {
  pods: [
    { name: "echo-v1", node: 0, captured: true },
    { name: "echo-v2", node: 1, captured: true },
    { name: "waypoint", node: 1, captured: false },
    { name: "consumer", node: 0, captured: true },
  ],
  meshed: ["echo-v1", "echo-v2", "consumer"],
  waypoints: [{ pod: "waypoint", namespace: NAMESPACE, serviceAccount: "waypoint" }],
  configuration: (lab) => ({
    workloads: [
      ...["v1", "v2"].map((version) => ({
        pod: lab.pod(`echo-${version}`),
        hbone: true,
        namespace: NAMESPACE,
        version,
        services: { [`echo.${NAMESPACE}`]: PORTS, [`echo-${version}.${NAMESPACE}`]: PORTS },
      })),
      { pod: lab.pod("waypoint"), hbone: true, namespace: NAMESPACE },
      { pod: lab.pod("consumer"), name: "echo-v1", hbone: true, namespace: CONSUMER_NAMESPACE },
    ],
    services: Object.keys(VIPS).map((name) => service(lab, name)),
    objects: [waypointGateway("waypoint", NAMESPACE, "service")],
  }),
};

function service(lab: Lab, name: string): MeshService {
  return {
    name,
    namespace: NAMESPACE,
    vip: VIPS[name] ?? "",
    ports: PORTS,
    appProtocols: PROTOCOLS,
    waypoint: lab.pod("waypoint"),
  };
}

/** The objects of a file of routes/. */
export function routes(file: string): KubernetesObject[] {
  const text = readFileSync(join(import.meta.dir, "routes", file), "utf8");
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS() as KubernetesObject;
  });
}
