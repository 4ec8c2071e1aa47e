import { expect, test } from "bun:test";
import {
  type InboundDecision,
  type InboundRequest,
  type MeshState,
  renderReason,
  resolveInbound,
  resolvePlaintext,
} from "../../src/mesh/mod.ts";
import { address, infoOf, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const web = pod("web", ["10.0.1.1", "fd00::1"]);
const client = pod("client", "10.0.0.1");
const cart = service("cart", "10.96.0.1", { ports: [80, 8080, 443, 0, 90, 9090] });
const other = service("other", "10.96.0.2", { ports: [80, 8080] });
const state = mesh({
  workloads: [web, client],
  services: [cart, other],
  members: [{ of: cart, workload: web, ports: [80, 8081] }, { of: other, workload: web }],
});

function resolve(given: Partial<InboundRequest>, of: MeshState = state): InboundDecision {
  return resolveInbound(of, {
    info: infoOf(web),
    local: web,
    authority: "10.0.1.1:8080",
    destination: address("10.0.1.1:15008"),
    peer: address("10.0.0.1:50000"),
    forwardedHost: undefined,
    forwardedNetwork: undefined,
    selfListener: false,
    ...given,
  }, SETTINGS);
}

function outcome(decision: InboundDecision): string {
  return decision.ok ? `${decision.dial.ip}:${decision.dial.port}` : `${decision.status} ${decision.error}`;
}

const host = cart.hostname;
const requests: [authority: string, outcome: string][] = [
  ["10.0.1.1:8080", "10.0.1.1:8080"],
  ["10.0.1.1", "400 no valid authority pseudo header: 10.0.1.1"],
  ["10.0.1.1:", "400 no valid authority pseudo header: 10.0.1.1:"],
  ["10.0.1.1:65536", "400 no valid authority pseudo header: 10.0.1.1:65536"],
  ["", "400 no valid authority pseudo header: "],
  [":80", "503 no service or workload for hostname: "],
  ["user@10.0.1.1:80", "503 no service or workload for hostname: user@10.0.1.1"],
  ["nowhere:80", "503 no service or workload for hostname: nowhere"],
  ["10.0.1.2:8080", "400 ip mismatch: 10.0.1.1 != 10.0.1.2"],
  ["[fd00::1]:8080", "400 ip mismatch: 10.0.1.1 != fd00::1"],
  ["10.96.0.1:80", "400 ip mismatch: 10.0.1.1 != 10.96.0.1"],
  ["10.0.1.1:15008", "503 attempted recursive call to ourselves"],
  ["10.0.1.1:15006", "503 attempted recursive call to ourselves"],
  ["10.0.1.1:15001", "503 attempted recursive call to ourselves"],
  [`${host}:80`, "10.0.1.1:8081"],
  [`${host}:90`, "10.0.1.1:9090"],
  [`${host}:443`, `503 requested service ${host}:443 found, but cannot resolve port`],
  [`${host}:1`, `503 requested service ${host}:1 found, but cannot resolve port`],
];
test.each(requests)("CONNECT %s → %s", (authority, expected) => {
  expect(outcome(resolve({ authority }))).toBe(expected);
});

test("without a record there is no delivery, whatever is asked for", () => {
  expect(outcome(resolve({ local: undefined }))).toBe(
    "503 failed to fetch information about local workload: web.shop (web)",
  );
  expect(outcome(resolve({ local: undefined, authority: "x" }))).toBe("400 no valid authority pseudo header: x");
});

test("a delivery names caller, source address and what policies see", () => {
  expect(resolve({})).toMatchObject({
    ok: true,
    dial: { ip: "10.0.1.1", port: 8080 },
    sourceIp: "10.0.0.1",
    policyDestination: { ip: "10.0.1.1", port: 8080 },
    workload: web,
    source: client,
  });
  expect(resolve({ selfListener: true })).toMatchObject({ sourceIp: undefined });
  expect(resolve({ peer: address("10.0.1.1:5") })).toMatchObject({ sourceIp: undefined });
  expect(resolve({ peer: address("10.0.0.77:5") })).toMatchObject({ sourceIp: "10.0.0.77", source: undefined });
});

test("the caller behind a gateway of another network is not looked up", () => {
  expect(resolve({ forwardedNetwork: "elsewhere" })).toMatchObject({ source: undefined });
  expect(resolve({ forwardedNetwork: "" })).toMatchObject({ source: client });
});

test("the service: the one the client named, else the first with that target port", () => {
  const named = (given: Partial<InboundRequest>) => {
    const decision = resolve(given);
    return decision.ok ? decision.service?.name : decision.error;
  };
  expect(named({})).toBe("cart");
  expect(named({ forwardedHost: other.hostname })).toBe("other");
  expect(named({ forwardedHost: "unknown" })).toBe("cart");
  expect(named({ authority: "10.0.1.1:8081" })).toBe("cart");
  expect(named({ authority: "10.0.1.1:9999" })).toBeUndefined();
  expect(named({ authority: "10.0.1.1:9999", forwardedHost: other.hostname })).toBe("other");
});

test("a waypoint answers for the services and workloads that name it", () => {
  const hostname = "web-waypoint.shop.svc.cluster.local";
  const byName = { destination: { kind: "hostname", namespace: "shop", hostname }, hboneMtlsPort: 15008 } as const;
  const byAddress = {
    destination: { kind: "address", network: "", ip: "10.0.1.1" },
    hboneMtlsPort: 15008,
  } as const;
  const waypoint = service("web-waypoint", "10.96.0.9");
  const asked = [
    service("named", "10.96.1.1", { waypoint: byName }),
    service("addressed", "10.96.1.2", { waypoint: byAddress }),
    service("elsewhere", "10.96.1.3", {
      waypoint: { destination: { kind: "address", network: "", ip: "10.0.0.1" }, hboneMtlsPort: 15008 },
    }),
  ];
  const of = mesh({
    workloads: [web, client, pod("behind", "10.0.1.7", { waypoint: byName })],
    services: [waypoint, ...asked],
    members: [{ of: waypoint, workload: web }],
  });
  expect(outcome(resolve({ authority: "10.96.1.1:80" }, of))).toBe("10.0.1.1:80");
  expect(outcome(resolve({ authority: "10.96.1.2:80" }, of))).toBe("10.0.1.1:80");
  expect(outcome(resolve({ authority: "10.0.1.7:80" }, of))).toBe("10.0.1.1:80");
  expect(outcome(resolve({ authority: "10.96.1.3:80" }, of))).toBe("400 ip mismatch: 10.0.1.1 != 10.96.1.3");
});

test("plaintext: to the original destination, unless that is ours", () => {
  const plaintext = (destination: string, local: typeof web | undefined = web) =>
    resolvePlaintext(
      state,
      { info: infoOf(web), local, peer: address("10.0.0.1:5"), destination: address(destination) },
      SETTINGS,
    );
  expect(plaintext("10.0.1.1:8080")).toMatchObject({
    ok: true,
    dial: { ip: "10.0.1.1", port: 8080 },
    policyDestination: { ip: "10.0.1.1", port: 8080 },
    sourceIp: "10.0.0.1",
    workload: web,
    source: client,
    service: { name: "cart" },
  });
  expect(outcome(plaintext("10.0.1.1:15006"))).toBe("503 attempted recursive call to ourselves");
  expect(outcome(resolvePlaintext(
    state,
    { info: infoOf(web), local: undefined, peer: address("10.0.0.1:5"), destination: address("10.0.1.1:80") },
    SETTINGS,
  ))).toBe("503 failed to fetch information about local workload: web.shop (web)");
});

test("refusals tell their reasons", () => {
  expect(resolve({ authority: "10.0.1.2:80" }).reasons.map(renderReason)).toEqual([
    "the request asks for 10.0.1.2:80",
    "the request asks for 10.0.1.2, but 10.0.1.1 was dialled",
  ]);
});
