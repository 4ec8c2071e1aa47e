import { expect, test } from "bun:test";
import {
  type GatewayAddress,
  type MeshState,
  type OutboundDecision,
  renderReason,
  resolveOutbound,
  type RoutingSettings,
  type Workload,
} from "../../src/mesh/mod.ts";
import { address, infoOf, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const client = pod("client", "10.0.0.1");
const web = pod("web", "10.0.1.1");
const db = pod("db", "10.0.1.2", { protocol: "TCP" });
const passthrough = { mode: "Passthrough", routingPreferences: [], healthPolicy: "OnlyHealthy" } as const;

function resolve(
  state: MeshState,
  destination: string,
  given: { source?: Workload | undefined; downstream?: string; settings?: RoutingSettings; random?: () => number } = {},
): OutboundDecision {
  return resolveOutbound(
    state,
    {
      info: infoOf(client),
      source: "source" in given ? given.source : client,
      downstream: address(given.downstream ?? "10.0.0.1:40000"),
      destination: address(destination),
    },
    given.settings ?? SETTINGS,
    { random: given.random ?? (() => 0) },
  );
}

function error(decision: OutboundDecision): string {
  return decision.action === "refuse" ? decision.error : `not refused: ${decision.action}`;
}

test("a workload that speaks HBONE, by address", () => {
  const decision = resolve(mesh({ workloads: [client, web] }), "10.0.1.1:8080");
  expect(decision).toMatchObject({
    action: "hbone",
    dial: { ip: "10.0.1.1", port: 15008 },
    authority: "10.0.1.1:8080",
    expectedIdentities: ["spiffe://cluster.local/ns/shop/sa/web"],
    source: client,
    workload: web,
    service: undefined,
  });
});

test("a workload that speaks TCP, by address", () => {
  expect(resolve(mesh({ workloads: [client, db] }), "10.0.1.2:5432")).toMatchObject({
    action: "tcp",
    dial: { ip: "10.0.1.2", port: 5432 },
    workload: db,
    service: undefined,
  });
});

test("an address of IPv6 is bracketed in the authority", () => {
  const six = pod("six", "fd00::6");
  expect(resolve(mesh({ workloads: [six] }), "[fd00::6]:80")).toMatchObject({
    dial: { ip: "fd00::6", port: 15008 },
    authority: "[fd00::6]:80",
  });
});

test("an unknown address passes through", () => {
  expect(resolve(mesh({ workloads: [client] }), "1.1.1.1:443")).toMatchObject({
    action: "passthrough",
    dial: { ip: "1.1.1.1", port: 443 },
    source: client,
    workload: undefined,
    service: undefined,
  });
});

const cart = service("cart", "10.96.0.1");
const inCart = mesh({
  workloads: [client, web, db],
  services: [cart],
  members: [{ of: cart, workload: web }, { of: cart, workload: db, ports: [80, 3306] }],
});

test("a service: an endpoint at the service's target port", () => {
  expect(resolve(inCart, "10.96.0.1:80")).toMatchObject({
    action: "hbone",
    dial: { ip: "10.0.1.1", port: 15008 },
    authority: "10.0.1.1:8080",
    workload: web,
    service: { hostname: "cart.shop.svc.cluster.local", name: "cart", namespace: "shop" },
  });
});

test("a service: an endpoint at its own target port, over TCP", () => {
  expect(resolve(inCart, "10.96.0.1:80", { random: () => 0.9 })).toMatchObject({
    action: "tcp",
    dial: { ip: "10.0.1.2", port: 3306 },
    workload: db,
    service: { name: "cart" },
  });
});

test("a service whose endpoint has several addresses: same family, as the service allows", () => {
  const dual = pod("dual", ["fd00::9", "10.0.1.9"]);
  const choose = (ipFamilies: "Dual" | "IPv4" | "IPv6" | undefined, vip: string) => {
    const s = service("s", vip, { ipFamilies });
    const decision = resolve(
      mesh({ workloads: [dual], services: [s], members: [{ of: s, workload: dual }] }),
      vip.includes(":") ? `[${vip}]:80` : `${vip}:80`,
    );
    return "dial" in decision ? decision.dial.ip : error(decision);
  };
  expect(choose(undefined, "10.96.0.9")).toBe("10.0.1.9");
  expect(choose(undefined, "fd00:96::9")).toBe("fd00::9");
  expect(choose("IPv4", "fd00:96::9")).toBe("10.0.1.9");
  expect(choose("IPv6", "10.96.0.9")).toBe("fd00::9");
  expect(choose("Dual", "10.96.0.9")).toBe("10.0.1.9");
});

test("alternative names of the service are accepted too", () => {
  const s = service("s", "10.96.0.1", { subjectAltNames: ["spiffe://td/ns/x/sa/y"] });
  expect(resolve(mesh({ workloads: [web], services: [s], members: [{ of: s, workload: web }] }), "10.96.0.1:80"))
    .toMatchObject({ expectedIdentities: ["spiffe://td/ns/x/sa/y", "spiffe://cluster.local/ns/shop/sa/web"] });
});

test("a service without a usable endpoint is an error, not a passthrough", () => {
  const state = mesh({ services: [cart] });
  expect(error(resolve(state, "10.96.0.1:80"))).toBe("no healthy upstream: 10.96.0.1:80");
  expect(error(resolve(inCart, "10.96.0.1:81"))).toBe("no healthy upstream: 10.96.0.1:81");
});

test("a service that asks for no selection passes through", () => {
  const s = service("s", "10.96.0.1", { loadBalancer: passthrough });
  const state = mesh({ workloads: [web], services: [s], members: [{ of: s, workload: web }] });
  expect(resolve(state, "10.96.0.1:80")).toMatchObject({ action: "passthrough", service: undefined });
});

test("a service invisible to the caller's namespace is an unknown address", () => {
  const s = service("s", "10.96.0.1", { namespace: "bank", visibility: "Namespace" });
  const state = mesh({ workloads: [web], services: [s], members: [{ of: s, workload: web }] });
  expect(resolve(state, "10.96.0.1:80").action).toBe("passthrough");
});

test("an application tunnel of the endpoint stands in for a missing target port", () => {
  const tunnelled = pod("t", "10.0.1.3", { applicationTunnel: { protocol: "PROXY", port: 15088 } });
  const s = service("s", "10.96.0.1", { ports: [80, 0] });
  const withPort = mesh({
    workloads: [tunnelled],
    services: [s],
    members: [{ of: s, workload: tunnelled, ports: [80, 1] }],
  });
  expect(resolve(withPort, "10.96.0.1:80")).toMatchObject({ authority: "10.0.1.3:1" });
});

const gateway: GatewayAddress = {
  destination: { kind: "address", network: "n2", ip: "192.0.2.1" },
  hboneMtlsPort: 15008,
};
const unsupported: [name: string, state: MeshState, destination: string, error: string][] = [
  (() => {
    const s = service("s", "10.96.0.1");
    const remote = pod("r", "10.9.0.1", { network: "n2", networkGateway: gateway });
    return [
      "an endpoint of another network",
      mesh({ workloads: [remote], services: [s], members: [{ of: s, workload: remote }] }),
      "10.96.0.1:80",
      "unsupported feature: networkGateway n2/192.0.2.1 of workload Kubernetes//Pod/shop/r",
    ];
  })(),
  (() => {
    const s = service("s", "10.96.0.1");
    const remote = pod("r", "10.9.0.1", { network: "n2" });
    return [
      "an endpoint of another network without a gateway",
      mesh({ workloads: [remote], services: [s], members: [{ of: s, workload: remote }] }),
      "10.96.0.1:80",
      "no valid routing destination for workload: Workload{r with uid Kubernetes//Pod/shop/r (HBONE)}",
    ];
  })(),
  (() => {
    const s = service("s", "10.96.0.1");
    const external = pod("x", [], { hostname: "example.org", protocol: "TCP" });
    return [
      "an endpoint that has only a hostname",
      mesh({ workloads: [external], services: [s], members: [{ of: s, workload: external }] }),
      "10.96.0.1:80",
      "unsupported feature: hostname example.org of workload Kubernetes//Pod/shop/x",
    ];
  })(),
];
test.each(unsupported)("refused: %s", (_name, state, destination, text) => {
  expect(error(resolve(state, destination))).toBe(text);
});

test("our own ports on loopback are refused before anything else", () => {
  const state = mesh({ workloads: [client] });
  for (const destination of ["127.0.0.1:15001", "127.9.9.9:15006", "[::1]:15008"]) {
    expect(error(resolve(state, destination, { source: undefined }))).toBe("attempted recursive call to ourselves");
  }
  expect(resolve(state, "127.0.0.1:8080").action).toBe("passthrough");
  // Not on loopback: the other side rejects it.
  expect(resolve(state, "10.0.0.1:15001")).toMatchObject({ action: "hbone", authority: "10.0.0.1:15001" });
});

test("without its own record a pod gets nowhere", () => {
  expect(error(resolve(mesh({}), "1.1.1.1:80", { source: undefined }))).toBe(
    "failed to fetch information about local workload: client.shop (client)",
  );
});

test("networks: lookups are in our network, endpoints in the caller's", () => {
  const settings = { ...SETTINGS, network: "n1" };
  const source = { ...client, network: "n1" };
  const s = service("s", "", { vips: [{ network: "n1", ip: "10.96.0.1" }] });
  const near = pod("near", "10.0.1.1", { network: "n1" });
  const state = mesh({ workloads: [near], services: [s], members: [{ of: s, workload: near }] });
  expect(resolve(state, "10.96.0.1:80", { source, settings })).toMatchObject({ action: "hbone", workload: near });
  expect(resolve(state, "10.96.0.1:80", { source }).action).toBe("hbone");
  expect(resolve(state, "10.96.0.1:80").action).toBe("passthrough");
});

test("every decision tells its reasons", () => {
  const texts = (decision: OutboundDecision) => decision.reasons.map(renderReason);
  expect(texts(resolve(inCart, "10.96.0.1:80"))).toEqual([
    "the address is a VIP of service shop/cart.shop.svc.cluster.local",
    "endpoint shop/web chosen among 2",
    "workload shop/web speaks HBONE",
  ]);
  expect(texts(resolve(inCart, "10.0.1.2:5432"))).toEqual([
    "the address belongs to workload shop/db",
    "workload shop/db speaks TCP",
  ]);
  expect(texts(resolve(inCart, "1.1.1.1:443"))).toEqual([
    "1.1.1.1:443 is neither a service nor a workload of the mesh",
  ]);
  expect(texts(resolve(inCart, "10.96.0.1:81"))).toEqual([
    "the address is a VIP of service shop/cart.shop.svc.cluster.local",
    "service shop/cart.shop.svc.cluster.local has no usable endpoint for port 81",
  ]);
});
