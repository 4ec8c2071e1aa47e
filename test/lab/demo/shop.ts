/**
 * The demo's service behind a waypoint: two versions of a shop, and what the waypoint does for them. A canary, a header
 * that chooses the new version, a retry that hides failures, who may do what, and gRPC.
 */
import {
  hostnameOf,
  type KubernetesObject,
  LAB_NAMESPACE,
  type MeshService,
  type MeshWorkload,
  waypointGateway,
} from "../mesh/mod.ts";
import { EchoApplication, type EchoedRequest, PodCaller } from "../peers/mod.ts";
import { eventually, type Lab, type LabPod, type PodPlan } from "../topology/mod.ts";
import { type Field, Http1Client, jsonOf } from "../traffic/mod.ts";

export const SHOP_VIP = "10.96.0.20";
export const SHOP_PORT = 80;
const GRPC_PORT = 7070;
const TARGET_PORT = 8080;
/** Share of the new version, percent. */
export const CANARY_PERCENT = 10;
const VERSIONS = ["shop-v1", "shop-v2"] as const;
const PORTS = { [SHOP_PORT]: TARGET_PORT, [GRPC_PORT]: GRPC_PORT };
const PROTOCOLS = { [SHOP_PORT]: "HTTP", [GRPC_PORT]: "GRPC" };

export const SHOP_PODS: readonly PodPlan[] = [
  { name: "admin", node: 0, captured: true },
  { name: "shop-v1", node: 1, captured: true },
  { name: "shop-v2", node: 1, captured: true },
  { name: "waypoint", node: 1, captured: false },
];
/** Those of them that a ztunnel takes care of. */
export const SHOP_MESHED: readonly string[] = ["admin", ...VERSIONS];

export function shopWorkloads(lab: Lab): MeshWorkload[] {
  return [
    { pod: lab.pod("admin"), hbone: true },
    ...VERSIONS.map((name) => ({
      pod: lab.pod(name),
      hbone: true,
      version: name.slice(5),
      services: { shop: PORTS, [name]: PORTS },
    })),
    { pod: lab.pod("waypoint"), hbone: true },
  ];
}

export function shopServices(lab: Lab): MeshService[] {
  const waypoint = lab.pod("waypoint");
  return ["shop", ...VERSIONS].map((name, index) => ({
    name,
    vip: SHOP_VIP.replace(/\d+$/, `${20 + index}`),
    ports: PORTS,
    appProtocols: PROTOCOLS,
    waypoint,
  }));
}

export function shopObjects(): KubernetesObject[] {
  const metadata = { name: "shop", namespace: LAB_NAMESPACE };
  const v1 = { name: "shop-v1", port: SHOP_PORT };
  const v2 = { name: "shop-v2", port: SHOP_PORT };
  const account = (name: string) => ({
    source: { principals: [`cluster.local/ns/${LAB_NAMESPACE}/sa/${name}`] },
  });
  return [
    waypointGateway(),
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata,
      spec: {
        parentRefs: [{ group: "", kind: "Service", name: "shop", port: SHOP_PORT }],
        rules: [
          { matches: [{ headers: [{ name: "x-beta", value: "yes" }] }], backendRefs: [v2] },
          {
            matches: [{ path: { type: "PathPrefix", value: "/flaky" } }],
            retry: { codes: [503], attempts: 3, backoff: "5ms" },
            backendRefs: [v1],
          },
          { backendRefs: [{ ...v1, weight: 100 - CANARY_PERCENT }, { ...v2, weight: CANARY_PERCENT }] },
        ],
      },
    },
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata,
      spec: {
        targetRefs: [{ group: "", kind: "Service", name: "shop" }],
        action: "ALLOW",
        rules: [
          { from: [account("client")], to: [{ operation: { methods: ["GET", "POST"] } }] },
          { from: [account("admin")], to: [{ operation: { methods: ["GET", "DELETE"] } }] },
        ],
      },
    },
    {
      apiVersion: "telemetry.istio.io/v1",
      kind: "Telemetry",
      metadata,
      spec: { accessLogging: [{ providers: [{ name: "envoy" }] }] },
    },
  ];
}

/** One request and what came of it. */
export interface ShopAnswer {
  readonly status: number;
  readonly body: string;
  /** The pod that answered; empty where it was the waypoint itself. */
  readonly pod: string;
  readonly ms: number;
}

export class Shop {
  readonly #client: LabPod;
  readonly #applications: readonly EchoApplication[];
  readonly #caller: PodCaller;

  private constructor(client: LabPod, applications: readonly EchoApplication[], caller: PodCaller) {
    this.#client = client;
    this.#applications = applications;
    this.#caller = caller;
  }

  static async start(lab: Lab): Promise<Shop> {
    const plan = { http: [TARGET_PORT], grpc: [GRPC_PORT] };
    const [caller, ...applications] = await Promise.all([
      PodCaller.start(lab.pod("client")),
      ...VERSIONS.map((name) => EchoApplication.start(lab.pod(name), plan)),
    ]);
    return new Shop(lab.pod("client"), applications, caller);
  }

  async close(): Promise<void> {
    await Promise.all([this.#caller, ...this.#applications].map((application) => application.stop()));
  }

  /** Statuses with which the applications answered requests that have this in their path: waits for so many. */
  statusesOf(mark: string, count: number): Promise<string[]> {
    return eventually(`${count} requests with ${mark}`, () => {
      const lines = this.#applications.flatMap(({ requests }) => requests).filter((line) => line.includes(mark));
      return lines.length >= count && lines.map((line) => line.slice(line.lastIndexOf(" ") + 1));
    });
  }

  connect(from: LabPod = this.#client): Promise<Http1Client> {
    return Http1Client.open(from.namespace, { ip: SHOP_VIP, port: SHOP_PORT });
  }

  /** One request, on a connection of its own unless one is given. */
  async ask(
    request: { method?: string; path?: string; fields?: readonly Field[]; from?: LabPod; on?: Http1Client } = {},
  ): Promise<ShopAnswer> {
    const { from, on, ...rest } = request;
    const start = performance.now();
    const connection = on ?? await this.connect(from);
    try {
      const answer = await connection.exchange({ host: hostnameOf("shop"), ...rest });
      const pod = answer.status === 200 ? jsonOf<EchoedRequest>(answer).pod : "";
      return { status: answer.status, body: answer.body.toString(), pod, ms: performance.now() - start };
    } finally {
      if (on === undefined) connection.close();
    }
  }

  /** A request that the application refuses the first time. @returns the mark in its path too */
  async askFlaky(): Promise<ShopAnswer & { mark: string }> {
    const mark = crypto.randomUUID();
    return { ...await this.ask({ path: `/flaky?fail=${mark}:1` }), mark };
  }

  /** One gRPC call; the status is that of gRPC, 0 for OK. */
  async call(): Promise<ShopAnswer> {
    const start = performance.now();
    const target = `${SHOP_VIP}:${GRPC_PORT}`;
    const answer = await this.#caller.grpc({ target, method: "Echo", messages: [{ text: "hello" }] });
    const pod = `${answer.responses[0]?.["pod"] ?? ""}`;
    return { status: answer.code, body: answer.details, pod, ms: performance.now() - start };
  }
}
