import { expect, test } from "bun:test";
import { formatAddress } from "../../src/net/address.ts";
import {
  type GatewayAddress,
  type InboundDecision,
  type InboundRequest,
  type MeshState,
  renderReason,
  resolveInbound,
  resolvePlaintext,
  type RoutingSettings,
  type Service,
  type Workload,
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

function resolve(
  given: Partial<InboundRequest>,
  of: MeshState = state,
  settings: RoutingSettings = SETTINGS,
): InboundDecision {
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
  }, settings);
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

type Tunnel = NonNullable<Workload["applicationTunnel"]>;
const tunnels: [name: string, tunnel: Tunnel, authority: string, localhost: boolean, delivered: string][] = [
  [
    "NONE",
    { protocol: "NONE", port: undefined },
    "10.0.1.1:8080",
    true,
    "10.0.1.1:8080 from 10.0.0.1 seen 10.0.1.1:8080",
  ],
  [
    "NONE, port",
    { protocol: "NONE", port: 15088 },
    "10.0.1.1:8080",
    true,
    "10.0.1.1:15088 from 10.0.0.1 seen 10.0.1.1:15088",
  ],
  [
    "NONE, port, VIP",
    { protocol: "NONE", port: 15088 },
    "10.96.7.7:80",
    true,
    "10.0.1.1:15088 from 10.0.0.1 seen 10.0.1.1:15088",
  ],
  [
    "NONE, hostname",
    { protocol: "NONE", port: 15088 },
    `${host}:80`,
    true,
    "10.0.1.1:15088 from 10.0.0.1 seen 10.0.1.1:15088",
  ],
  [
    "PROXY",
    { protocol: "PROXY", port: undefined },
    "10.0.1.1:8080",
    true,
    "127.0.0.1:8080 seen 10.0.1.1:8080 PROXY 10.0.1.1:8080",
  ],
  [
    "PROXY, port",
    { protocol: "PROXY", port: 15088 },
    "10.0.1.1:8080",
    true,
    "127.0.0.1:15088 seen 10.0.1.1:15088 PROXY 10.0.1.1:8080",
  ],
  [
    "PROXY, port, VIP",
    { protocol: "PROXY", port: 15088 },
    "10.96.7.7:80",
    true,
    "127.0.0.1:15088 seen 10.0.1.1:15088 PROXY 10.96.7.7:80",
  ],
  [
    "PROXY, IPv6 asked",
    { protocol: "PROXY", port: 15088 },
    "[fd00:96::7]:80",
    true,
    "127.0.0.1:15088 seen 10.0.1.1:15088 PROXY [fd00:96::7]:80",
  ],
  [
    "PROXY, hostname",
    { protocol: "PROXY", port: 15088 },
    `${host}:80`,
    true,
    "127.0.0.1:15088 seen 10.0.1.1:15088 PROXY 10.96.0.1:80",
  ],
  [
    "PROXY, hostname, no port",
    { protocol: "PROXY", port: undefined },
    `${host}:80`,
    true,
    "127.0.0.1:8081 seen 10.0.1.1:8081 PROXY 10.96.0.1:80",
  ],
  [
    "PROXY, not on loopback",
    { protocol: "PROXY", port: 15088 },
    "10.96.7.7:80",
    false,
    "10.0.1.1:15088 from 10.0.0.1 seen 10.0.1.1:15088 PROXY 10.96.7.7:80",
  ],
  [
    "PROXY, own port asked",
    { protocol: "PROXY", port: 15088 },
    "10.96.7.7:15008",
    true,
    "503 attempted recursive call to ourselves",
  ],
  [
    "PROXY, unknown name",
    { protocol: "PROXY", port: 15088 },
    "nowhere:80",
    true,
    "503 no service or workload for hostname: nowhere",
  ],
  [
    "PROXY, unknown port",
    { protocol: "PROXY", port: 15088 },
    `${host}:81`,
    true,
    `503 requested service ${host}:81 found, but cannot resolve port`,
  ],
];
test.each(tunnels)("§6.5: application tunnel: %s", (_name, tunnel, authority, localhostAppTunnel, delivered) => {
  const local = { ...web, applicationTunnel: tunnel };
  expect(delivery(resolve({ local, authority }, state, { ...SETTINGS, localhostAppTunnel }))).toBe(delivered);
});

/** Where a connection is delivered, from which address, what policies see, which header goes first. */
function delivery(decision: InboundDecision): string {
  if (!decision.ok) return outcome(decision);
  const { dial, sourceIp, policyDestination, proxyDestination } = decision;
  return [
    formatAddress(dial),
    ...(sourceIp === undefined ? [] : ["from", sourceIp]),
    "seen",
    formatAddress(policyDestination),
    ...(proxyDestination === undefined ? [] : ["PROXY", formatAddress(proxyDestination)]),
  ].join(" ");
}

const PROXY = { protocol: "PROXY", port: 15088 } as const;

test("§6.5: a PROXY tunnel is on the loopback of the family that was dialled", () => {
  const local = { ...web, applicationTunnel: PROXY };
  const destination = address("[fd00::1]:15008");
  expect(delivery(resolve({ local, destination, authority: "10.96.7.7:80" })))
    .toBe("[::1]:15088 seen [fd00::1]:15088 PROXY 10.96.7.7:80");
});

const vips: [vips: string[], named: string][] = [
  [["n2/10.9.0.1", "/fd00:96::1", "/10.96.0.9", "/10.96.0.10"], "10.96.0.9:80"],
  [["n2/10.9.0.1", "n2/fd00:99::1", "/fd00:96::1"], "[fd00:96::1]:80"],
  [["n2/fd00:99::1", "n2/10.9.0.1"], "[fd00:99::1]:80"],
  [["n2/10.9.0.1"], "10.9.0.1:80"],
];
test.each(vips)("§6.5: of %p a header names %s", (addresses, expected) => {
  const local = { ...web, applicationTunnel: PROXY };
  const s = service("s", "", {
    vips: addresses.map((text) => ({ network: text.split("/")[0]!, ip: text.split("/")[1]! })),
  });
  const decision = resolve({ local, authority: `${s.hostname}:80` }, mesh({ workloads: [local], services: [s] }));
  expect(delivery(decision)).toBe(`127.0.0.1:15088 seen 10.0.1.1:15088 PROXY ${expected}`);
});

test("§6.5: a header cannot name a service without an address; without a header that is no matter", () => {
  const headless = service("headless", "");
  const of = mesh({ workloads: [web], services: [headless], members: [{ of: headless, workload: web }] });
  const authority = `${headless.hostname}:80`;
  const ask = (applicationTunnel: Workload["applicationTunnel"]) =>
    resolve({ local: { ...web, applicationTunnel }, authority }, of);
  expect(outcome(ask(PROXY))).toBe(`503 requested service ${headless.hostname} found, but has no IP addresses`);
  expect(ask(PROXY).reasons.map(renderReason).at(-1)).toBe(
    `service shop/${headless.hostname} has no address that a PROXY header could name`,
  );
  expect(outcome(ask(undefined))).toBe("10.0.1.1:8080");
  expect(outcome(ask({ protocol: "NONE", port: 15088 }))).toBe("10.0.1.1:15088");
});

test("§6.5: the override may be a port that nobody could ask for; policies see the final port", () => {
  const local = { ...web, applicationTunnel: { protocol: "PROXY", port: 15008 } } as const;
  expect(delivery(resolve({ local }))).toBe("127.0.0.1:15008 seen 10.0.1.1:15008 PROXY 10.0.1.1:8080");
});

test("§6.7: the service of an overridden port is the one the client named", () => {
  const local = { ...web, applicationTunnel: PROXY };
  expect(resolve({ local })).toMatchObject({ ok: true, service: undefined });
  expect(resolve({ local, forwardedHost: other.hostname })).toMatchObject({ service: { name: "other" } });
});

test("§6.3: a name is that of the best service for the pod's namespace, and of one that it may see", () => {
  const hostname = "db.example";
  const elsewhere = service("db", "", { namespace: "bank", hostname, ports: [80, 1111], canonical: true });
  const own = service("db", "", { namespace: "shop", hostname, ports: [80, 2222] });
  const authority = `${hostname}:80`;
  expect(outcome(resolve({ authority }, mesh({ workloads: [web], services: [elsewhere, own] })))).toBe("10.0.1.1:2222");
  expect(outcome(resolve({ authority }, mesh({ workloads: [web], services: [elsewhere] })))).toBe("10.0.1.1:1111");
  const hidden = { ...elsewhere, visibility: "Namespace" } as const;
  expect(outcome(resolve({ authority }, mesh({ workloads: [web], services: [hidden] })))).toBe(
    `503 no service or workload for hostname: ${hostname}`,
  );
  expect(outcome(resolve({ authority: "DB.example:80" }, mesh({ workloads: [web], services: [own] })))).toBe(
    "503 no service or workload for hostname: DB.example",
  );
});

test("§6.3: named target ports are those of the pod; an own port of 0 is none", () => {
  const named = service("named", "", { ports: [80, 0, 81, 0, 82, 8282] });
  const of = mesh({
    workloads: [web],
    services: [named],
    members: [{ of: named, workload: web, ports: [80, 9000, 81, 0, 82, 0] }],
  });
  const ask = (port: number) => outcome(resolve({ authority: `${named.hostname}:${port}` }, of));
  expect(ask(80)).toBe("10.0.1.1:9000");
  expect(ask(81)).toBe(`503 requested service ${named.hostname}:81 found, but cannot resolve port`);
  expect(ask(82)).toBe("10.0.1.1:8282");
});

test("§6.3: what a name leads to may not be one of our own ports", () => {
  const own = service("own", "", { ports: [80, 15001] });
  const authority = `${own.hostname}:80`;
  expect(outcome(resolve({ authority }, mesh({ workloads: [web], services: [own] })))).toBe(
    "503 attempted recursive call to ourselves",
  );
});

const absurd: [authority: string, status: 400 | 503][] = [
  ["", 400],
  [":", 400],
  ["::", 400],
  ["[", 400],
  ["[]:80", 400],
  ["[::1", 400],
  ["[fd00::1]80", 400],
  ["fd00::1:80", 400],
  ["10.0.1.1:-1", 400],
  ["10.0.1.1:+80", 400],
  ["10.0.1.1:8e1", 400],
  ["10.0.1.1: 80", 400],
  ["10.0.1.1:080080", 400],
  ["host name:80", 400],
  ["host/path:80", 400],
  ["host\u0000:80", 400],
  ["host\r\nx: y:80", 400],
  ["http://10.0.1.1:80", 400],
  ["10.0.1:80", 503],
  ["010.0.1.1:80", 503],
  ["user@10.0.1.1:80", 503],
  ["user:pw@10.0.1.1:80", 503],
  ["%31%30.0.1.1:80", 503],
  [`${"a".repeat(1 << 20)}:80`, 503],
  ["a".repeat(1 << 20), 400],
];
test("absurd authorities get 400 or 503, and never a connection", () => {
  for (const [authority, status] of absurd) {
    const decision = resolve({ authority });
    const shown = authority.slice(0, 40);
    expect(`${shown} ${decision.ok ? "delivered" : decision.status}`).toBe(`${shown} ${status}`);
  }
});

test("reasons tell what an application tunnel does", () => {
  const local = { ...web, applicationTunnel: PROXY };
  expect(resolve({ local, authority: `${host}:80`, forwardedNetwork: "n2" }).reasons.map(renderReason)).toEqual([
    `the request asks for ${host}:80`,
    `the name is that of service shop/${host}`,
    `port 8081 of shop/${host}`,
    "workload shop/web takes its traffic through an application tunnel (PROXY)",
    "the application tunnel of workload shop/web is at port 15088",
    "a PROXY header names 10.96.0.1:80",
    "the application is dialled at 127.0.0.1:15088, from there",
    'the caller is in network "n2", so its record is not looked up',
  ]);
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

test("§6.4: a waypoint answers for services that are private to another namespace", () => {
  const byAddress = {
    destination: { kind: "address", network: "", ip: "10.0.1.1" },
    hboneMtlsPort: 15008,
  } as const;
  const hidden = service("hidden", "10.96.1.1", { namespace: "bank", visibility: "Namespace", waypoint: byAddress });
  const of = mesh({ workloads: [web], services: [hidden] });
  expect(outcome(resolve({ authority: "10.96.1.1:80" }, of))).toBe("10.0.1.1:80");
});

/** The matrix of the original's find_inbound_upstream and build_inbound_request (spec/ztunnel.md §12.3). */
const CLIENT = "127.0.0.2:40000";
const matrix: [
  name: string,
  local: Partial<Workload>,
  target: Partial<Service & Workload>,
  authority: string,
  expected: string,
][] = [
  ["direct", {}, {}, "127.0.0.1:80", "127.0.0.1:80 from 127.0.0.2 seen 127.0.0.1:80"],
  ["somebody else's address", {}, {}, "127.0.0.3:80", "400 ip mismatch: 127.0.0.1 != 127.0.0.3"],
  ["a service, not its waypoint", {}, {}, "127.10.0.1:80", "400 ip mismatch: 127.0.0.1 != 127.10.0.1"],
  [
    "waypoint of the service, by address",
    {},
    { waypoint: way("127.0.0.1") },
    "127.10.0.1:80",
    "127.0.0.1:80 from 127.0.0.2 seen 127.0.0.1:80",
  ],
  [
    "waypoint of the service, by VIP",
    {},
    { waypoint: way("127.10.0.9") },
    "127.10.0.1:80",
    "127.0.0.1:80 from 127.0.0.2 seen 127.0.0.1:80",
  ],
  [
    "waypoint of the service, by hostname",
    {},
    { waypoint: way("waypoint.shop.svc.cluster.local") },
    "127.10.0.1:80",
    "127.0.0.1:80 from 127.0.0.2 seen 127.0.0.1:80",
  ],
  [
    "not the waypoint of the service",
    {},
    { waypoint: way("127.0.0.3") },
    "127.10.0.1:80",
    "400 ip mismatch: 127.0.0.1 != 127.10.0.1",
  ],
  [
    "its waypoint is unknown",
    {},
    { waypoint: way("gone.example") },
    "127.10.0.1:80",
    "400 ip mismatch: 127.0.0.1 != 127.10.0.1",
  ],
  [
    "waypoint of the workload",
    {},
    { waypoint: way("127.10.0.9") },
    "127.0.0.3:80",
    "127.0.0.1:80 from 127.0.0.2 seen 127.0.0.1:80",
  ],
  [
    "sandwich, plain",
    { applicationTunnel: { protocol: "NONE", port: 15088 } },
    { waypoint: way("127.10.0.9") },
    "127.10.0.1:80",
    "127.0.0.1:15088 from 127.0.0.2 seen 127.0.0.1:15088",
  ],
  [
    "sandwich, PROXY",
    { applicationTunnel: PROXY },
    { waypoint: way("127.10.0.9") },
    "127.10.0.1:80",
    "127.0.0.1:15088 seen 127.0.0.1:15088 PROXY 127.10.0.1:80",
  ],
  [
    "sandwich, PROXY, workload",
    { applicationTunnel: PROXY },
    { waypoint: way("127.10.0.9") },
    "127.0.0.3:80",
    "127.0.0.1:15088 seen 127.0.0.1:15088 PROXY 127.0.0.3:80",
  ],
  [
    "sandwich, PROXY, hostname",
    { applicationTunnel: PROXY },
    {},
    "target.shop.svc.cluster.local:80",
    "127.0.0.1:15088 seen 127.0.0.1:15088 PROXY 127.10.0.1:80",
  ],
  [
    "sandwich that is no waypoint: its application judges",
    { applicationTunnel: PROXY },
    {},
    "127.10.0.1:80",
    "127.0.0.1:15088 seen 127.0.0.1:15088 PROXY 127.10.0.1:80",
  ],
];
test.each(matrix)("build_inbound_request: %s", (_name, given, target, authority, expected) => {
  const local = pod("waypoint", "127.0.0.1", given);
  const asked = service("target", "127.10.0.1", { waypoint: target.waypoint });
  const waypoint = service("waypoint", "127.10.0.9", { ports: [15008, 15008] });
  const behind = pod("behind", "127.0.0.3", { waypoint: target.waypoint });
  const of = mesh({
    workloads: [local, behind],
    services: [asked, waypoint],
    members: [{ of: asked, workload: behind }, { of: waypoint, workload: local }],
  });
  const destination = address("127.0.0.1:15008");
  const request = { info: infoOf(local), local, destination, peer: address(CLIENT), authority };
  expect(delivery(resolve(request, of))).toBe(expected);
});

/** A reference by address or by hostname. */
function way(to: string): GatewayAddress {
  return {
    destination: /^[0-9.]+$/.test(to)
      ? { kind: "address", network: "", ip: to }
      : { kind: "hostname", namespace: "shop", hostname: to },
    hboneMtlsPort: 15008,
  };
}

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
