import { expect, test } from "bun:test";
import {
  type AddressLookup,
  type MeshState,
  type OutboundDecision,
  renderReason,
  resolveOutbound,
  type RoutingSettings,
  type Service,
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
  given: {
    source?: Workload | undefined;
    downstream?: string;
    settings?: RoutingSettings;
    random?: () => number;
    avoid?: (workload: Workload) => boolean;
  } = {},
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
    { random: given.random ?? (() => 0), avoid: given.avoid },
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

/** The lookup's decision, or a failure of the test. */
function looked(decision: OutboundDecision): AddressLookup {
  if (decision.action !== "lookup") throw new Error(`no lookup but ${decision.action}`);
  return decision;
}

const external = (given: Partial<Workload> = {}) =>
  pod("x", [], { hostname: "example.org", protocol: "TCP", ...given });
function behindName(given: Partial<Workload> = {}, of: Partial<Service> = {}): MeshState {
  const vips = [{ network: "", ip: "10.96.0.1" }, { network: "", ip: "fd00:96::1" }];
  const s = service("s", "", { vips, ...of });
  const workload = external(given);
  return mesh({ workloads: [workload], services: [s], members: [{ of: s, workload }] });
}

test("§4.5: an endpoint that has only a hostname is looked up, then reached as if it had the address", () => {
  const lookup = looked(resolve(behindName(), "10.96.0.1:80"));
  expect(lookup).toMatchObject({ hostname: "example.org", prefer: "IPv4", source: client, workload: { name: "x" } });
  expect(lookup.proceed("203.0.113.1")).toMatchObject({
    action: "tcp",
    dial: { ip: "203.0.113.1", port: 8080 },
    workload: { name: "x" },
    service: { name: "s" },
  });
  expect(lookup.proceed("2001:db8::1")).toMatchObject({ dial: { ip: "2001:db8::1", port: 8080 } });
  expect(looked(resolve(behindName({ protocol: "HBONE" }), "10.96.0.1:80")).proceed("2001:db8::1")).toMatchObject({
    action: "hbone",
    dial: { ip: "2001:db8::1", port: 15008 },
    authority: "[2001:db8::1]:8080",
    expectedIdentities: ["spiffe://cluster.local/ns/shop/sa/x"],
  });
});

test("§4.5: an address of the family that was asked for is preferred", () => {
  expect(looked(resolve(behindName(), "[fd00:96::1]:80")).prefer).toBe("IPv6");
});

test("§4.5: asked twice, a lookup answers twice; its own reasons stay as they are", () => {
  const lookup = looked(resolve(behindName(), "10.96.0.1:80"));
  const own = lookup.reasons.map(renderReason);
  expect(own.at(-1)).toBe("workload shop/x has no address, only the hostname example.org, which is resolved");
  const once = lookup.proceed("203.0.113.1");
  expect(lookup.proceed("203.0.113.1")).toEqual(once);
  expect(once.reasons.map(renderReason)).toEqual([
    ...own,
    "the hostname of workload shop/x resolved to 203.0.113.1",
    "workload shop/x speaks only plain TCP: nothing there ends a tunnel",
  ]);
  expect(lookup.reasons.map(renderReason)).toEqual(own);
});

test("§4.5: an address that the service does not allow is no address", () => {
  const fails = error(
    resolve(behindName({ addresses: ["10.0.1.7"], hostname: "" }, { ipFamilies: "IPv6" }), "10.96.0.1:80"),
  );
  expect(fails).toBe("no valid routing destination for workload: Workload{x with uid Kubernetes//Pod/shop/x (TCP)}");
  // With a hostname there may be others.
  const lookup = resolve(behindName({ addresses: ["10.0.1.7"] }, { ipFamilies: "IPv6" }), "10.96.0.1:80");
  expect(looked(lookup).hostname).toBe("example.org");
});

test("a name that leads to our own listeners is no way around the loop check", () => {
  const lookup = looked(resolve(behindName({}, { ports: [80, 15001] }), "10.96.0.1:80"));
  for (const ip of ["127.0.0.1", "::1", "10.0.0.1"]) {
    const decision = lookup.proceed(ip);
    expect(error(decision)).toBe("attempted recursive call to ourselves");
    expect(decision.reasons.map(renderReason).at(-1)).toBe(
      `${ip.includes(":") ? `[${ip}]` : ip}:15001 is one of the proxy's own ports`,
    );
  }
  expect(lookup.proceed("10.0.0.2").action).toBe("tcp");
});

test("plain TCP to our own listeners at the pod's address would come back without end", () => {
  // The record does not know all addresses of the pod, but the connection comes from the one that it goes to.
  const of = mesh({ workloads: [client] });
  expect(error(resolve(of, "[fd00::1]:15001", { downstream: "[fd00::1]:40000" })))
    .toBe("attempted recursive call to ourselves");
  expect(resolve(of, "[fd00::1]:8080", { downstream: "[fd00::1]:40000" }).action).toBe("passthrough");
  expect(resolve(of, "[fd00::2]:15001", { downstream: "[fd00::1]:40000" }).action).toBe("passthrough");
  const plain = { ...client, protocol: "TCP" } as const;
  expect(error(resolve(mesh({ workloads: [plain] }), "10.0.0.1:15001", { source: plain })))
    .toBe("attempted recursive call to ourselves");
});

test("endpoints that failed lately are passed over as long as there is another one", () => {
  const avoid = (workload: Workload) => workload.uid === web.uid;
  for (const point of [0, 0.4, 0.6, 0.99]) {
    const decision = resolve(inCart, "10.96.0.1:80", { random: () => point, avoid });
    expect(decision).toMatchObject({ action: "tcp", workload: db });
  }
  const texts = resolve(inCart, "10.96.0.1:80", { random: () => 0, avoid }).reasons.map(renderReason);
  expect(texts).toContain(
    "endpoints of service shop/cart.shop.svc.cluster.local passed over, as connects to them failed lately: shop/web",
  );
  // All of them: then one is taken nevertheless, and the other told.
  const all = resolve(inCart, "10.96.0.1:80", { random: () => 0, avoid: () => true });
  expect(all.action).not.toBe("refuse");
  // Whom somebody addresses by itself has no stand-in.
  expect(resolve(inCart, "10.0.1.1:8080", { avoid: () => true })).toMatchObject({ action: "hbone", workload: web });
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
    "workload shop/db speaks only plain TCP: nothing there ends a tunnel",
  ]);
  expect(texts(resolve(inCart, "1.1.1.1:443"))).toEqual([
    "1.1.1.1:443 is neither a service nor a workload of the mesh",
    "plain TCP to 1.1.1.1:443, as it was asked for",
  ]);
  expect(texts(resolve(inCart, "10.96.0.1:81"))).toEqual([
    "the address is a VIP of service shop/cart.shop.svc.cluster.local",
    "service shop/cart.shop.svc.cluster.local has no port 81, only 80",
  ]);
  const bare = service("bare", "10.96.0.9", { ports: [] });
  const idle = service("idle", "10.96.0.8", { ports: [80, 8080, 443, 8443] });
  const lacking = mesh({ workloads: [client], services: [bare, idle] });
  expect(texts(resolve(lacking, "10.96.0.9:80"))[1])
    .toBe("service shop/bare.shop.svc.cluster.local has no port 80 nor any other");
  expect(texts(resolve(lacking, "10.96.0.8:81"))[1])
    .toBe("service shop/idle.shop.svc.cluster.local has no port 81, only 80, 443");
  expect(texts(resolve(lacking, "10.96.0.8:443"))[1])
    .toBe("service shop/idle.shop.svc.cluster.local has no usable endpoint for port 443");
});
