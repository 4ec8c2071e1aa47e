/** Other networks, through their gateways in two tunnels: spec/ztunnel.md §4.6, §5 steps 4, 6 and 7. */
import { expect, test } from "bun:test";
import {
  type GatewayAddress,
  type MeshState,
  newWorkload,
  type OutboundDecision,
  renderReason,
  resolveOutbound,
  type Service,
  type Workload,
} from "../../src/mesh/mod.ts";
import { address, infoOf, type Membership, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const client = pod("client", "10.0.0.1");
const local = pod("web-local", "10.0.1.1", { serviceAccount: "web" });
const eastwest = pod("eastwest", "192.0.2.1", { network: "n2", namespace: "istio-gateways" });
const GATEWAY_HOST = "eastwest.istio-gateways.svc.cluster.local";
const gatewayService = service("eastwest", "", {
  namespace: "istio-gateways",
  vips: [{ network: "n2", ip: "192.0.2.100" }],
  ports: [15008, 15009],
});
const NAMED = "spiffe://remote.td/ns/shop/sa/web";
const passthrough = { mode: "Passthrough", routingPreferences: [], healthPolicy: "OnlyHealthy" } as const;

function reference(destination: GatewayAddress["destination"], hboneMtlsPort = 15008): GatewayAddress {
  return { destination, hboneMtlsPort };
}
const byAddress = reference({ kind: "address", network: "n2", ip: "192.0.2.1" });
const byVip = reference({ kind: "address", network: "n2", ip: "192.0.2.100" });
const byHostname = reference({ kind: "hostname", namespace: "istio-gateways", hostname: GATEWAY_HOST });

/** A service whose one endpoint is in network n2, known there only by its gateway. */
function state(given: {
  service?: Partial<Service>;
  remote?: Partial<Workload>;
  gateway?: GatewayAddress | undefined;
  gatewayService?: Partial<Service>;
  gateways?: Workload[];
  others?: { workloads?: Workload[]; services?: Service[]; members?: Membership[] };
}): MeshState {
  const web = service("web", "10.96.0.1", { subjectAltNames: [NAMED], ...given.service });
  const remote = pod("web-remote", [], {
    serviceAccount: "web",
    network: "n2",
    networkGateway: "gateway" in given ? given.gateway : byAddress,
    ...given.remote,
  });
  const way = { ...gatewayService, ...given.gatewayService };
  const gateways = given.gateways ?? [eastwest];
  const { workloads = [], services = [], members = [] } = given.others ?? {};
  return mesh({
    workloads: [client, remote, ...gateways, ...workloads],
    services: [web, way, ...services],
    members: [
      { of: web, workload: remote },
      ...gateways.map((workload) => ({ of: way, workload })),
      ...members,
    ],
  });
}

function resolve(
  of: MeshState,
  destination = "10.96.0.1:80",
  given: { source?: Workload; random?: () => number; avoid?: (workload: Workload) => boolean } = {},
): OutboundDecision {
  const source = given.source ?? client;
  return resolveOutbound(
    of,
    {
      info: infoOf(source),
      source,
      downstream: address(`${source.addresses[0]}:40000`),
      destination: address(destination),
    },
    SETTINGS,
    { random: given.random ?? (() => 0), avoid: given.avoid },
  );
}

function outcome(decision: OutboundDecision): string {
  switch (decision.action) {
    case "refuse":
      return decision.error;
    case "lookup":
      return `lookup ${decision.hostname} ${decision.prefer}`;
    case "hbone": {
      const inner = decision.inner === undefined ? "" : ` inside CONNECT ${decision.inner.authority}`;
      return `hbone ${decision.dial.ip}:${decision.dial.port} CONNECT ${decision.authority}${inner}`;
    }
    default:
      return `${decision.action} ${decision.dial.ip}:${decision.dial.port}`;
  }
}

const NAME = "web.shop.svc.cluster.local";
const TWICE = `CONNECT ${NAME}:80 inside CONNECT ${NAME}:80`;

test("build_request_double_hbone: both tunnels ask for the service by name", () => {
  const decision = resolve(state({}));
  expect(decision).toMatchObject({
    action: "hbone",
    dial: { ip: "192.0.2.1", port: 15008 },
    authority: `${NAME}:80`,
    // The outer tunnel ends at the gateway.
    expectedIdentities: ["spiffe://cluster.local/ns/istio-gateways/sa/eastwest"],
    hop: { name: "eastwest" },
    // Telemetry speaks of whom the gateway leads to.
    workload: { name: "web-remote" },
    service: { hostname: NAME, name: "web", namespace: "shop" },
    // Whom the gateway picks is not known here: the endpoint's own identity does not count.
    inner: { authority: `${NAME}:80`, expectedIdentities: [NAMED] },
  });
  expect(decision.reasons.map(renderReason)).toEqual([
    `the address is a VIP of service shop/${NAME}`,
    "endpoint shop/web-remote chosen among 1",
    'workload shop/web-remote is in network "n2"',
    "workload shop/web-remote is reached through network gateway n2/192.0.2.1",
    "n2/192.0.2.1 is workload istio-gateways/eastwest",
    `behind the gateway the peer must be one that service shop/${NAME} names: ${NAMED}`,
  ]);
});

const forms: [name: string, gateway: GatewayAddress, outcome: string][] = [
  ["by address of a workload", byAddress, `hbone 192.0.2.1:15008 ${TWICE}`],
  ["by VIP: the port is mapped", byVip, `hbone 192.0.2.1:15009 ${TWICE}`],
  ["by hostname of a service: the port is mapped", byHostname, `hbone 192.0.2.1:15009 ${TWICE}`],
  [
    "by hostname of a workload",
    reference({ kind: "hostname", namespace: "edge", hostname: "gw.example" }, 16000),
    `hbone 198.51.100.1:16000 ${TWICE}`,
  ],
  [
    "that has only a hostname: resolved",
    reference({ kind: "hostname", namespace: "edge", hostname: "lb.example" }),
    "lookup lb.example IPv4",
  ],
  [
    "at an address of which nothing is known",
    reference({ kind: "address", network: "n2", ip: "192.0.2.9" }),
    "unknown network gateway: n2/192.0.2.9",
  ],
  [
    "in a network of which nothing is known",
    reference({ kind: "address", network: "n3", ip: "192.0.2.1" }),
    "unknown network gateway: n3/192.0.2.1",
  ],
  [
    "of a name that nobody has",
    reference({ kind: "hostname", namespace: "shop", hostname: GATEWAY_HOST }),
    `unknown network gateway: shop/${GATEWAY_HOST}`,
  ],
  [
    "whose service does not list the port (mode Standard)",
    reference(byVip.destination, 15010),
    "unknown network gateway: n2/192.0.2.100 has no workload that serves port 15010",
  ],
];
test.each(forms)("build_request_double_hbone: a gateway %s", (_name, gateway, expected) => {
  const others = {
    workloads: [
      pod("gw", "198.51.100.1", { namespace: "edge", network: "n2", hostname: "gw.example" }),
      pod("lb", [], { namespace: "edge", network: "n2", hostname: "lb.example" }),
    ],
  };
  expect(outcome(resolve(state({ gateway, others })))).toBe(expected);
});

test("§4.6: a Passthrough service is no gateway, in either form", () => {
  for (const gateway of [byVip, byHostname]) {
    expect(outcome(resolve(state({ gateway, gatewayService: { loadBalancer: passthrough } })))).toBe(
      `unknown network gateway: ${gateway === byVip ? "n2/192.0.2.100" : `istio-gateways/${GATEWAY_HOST}`}`,
    );
  }
});

test("a gateway's service without instances is told", () => {
  const decision = resolve(state({ gateway: byHostname, gateways: [] }));
  expect(outcome(decision)).toBe(
    `unknown network gateway: istio-gateways/${GATEWAY_HOST} has no workload that serves port 15008`,
  );
  expect(decision.reasons.map(renderReason).at(-1)).toBe(
    `network gateway istio-gateways/${GATEWAY_HOST} has no workload that serves its port`,
  );
});

test("alternative names of the gateway's service count for the outer tunnel only", () => {
  const other = "spiffe://td/ns/x/sa/gateway";
  expect(resolve(state({ gateway: byHostname, gatewayService: { subjectAltNames: [other] } }))).toMatchObject({
    expectedIdentities: [other, "spiffe://cluster.local/ns/istio-gateways/sa/eastwest"],
    inner: { expectedIdentities: [NAMED] },
  });
});

test("§5 step 7: only SPIFFE ids of the service vouch inside; without any nobody is trusted", () => {
  const inner = (subjectAltNames: string[]) => {
    const decision = resolve(state({ service: { subjectAltNames } }));
    return {
      identities: decision.action === "hbone" ? decision.inner?.expectedIdentities : outcome(decision),
      why: decision.reasons.map(renderReason).at(-1),
    };
  };
  expect(inner([NAMED, "web.example.org", "spiffe://td/other/path", "spiffe://td/ns/a/sa/b"])).toEqual({
    identities: [NAMED, "spiffe://td/ns/a/sa/b"],
    why: `behind the gateway the peer must be one that service shop/${NAME} names: ${NAMED}, spiffe://td/ns/a/sa/b`,
  });
  for (const names of [[], ["web.example.org"]]) {
    expect(inner(names)).toEqual({
      identities: [],
      why: `shop/${NAME} names no SPIFFE id, so nobody behind the gateway can be trusted`,
    });
  }
});

test("the inner identities are the same array for the same service", () => {
  const of = state({});
  const inner = () => {
    const decision = resolve(of);
    return decision.action === "hbone" ? decision.inner?.expectedIdentities : undefined;
  };
  expect(inner()).toBeDefined();
  expect(inner()).toBe(inner()!);
});

test("an endpoint of another network without a gateway has no route", () => {
  const text = (uid: string, name: string) =>
    `no valid routing destination for workload: Workload{${name} with uid ${uid} (HBONE)}`;
  const remote = { addresses: ["10.9.0.1"] };
  const decision = resolve(state({ gateway: undefined, remote }));
  expect(outcome(decision)).toBe(text("Kubernetes//Pod/shop/web-remote", "web-remote"));
  expect(decision.reasons.map(renderReason).at(-1)).toBe("workload shop/web-remote has no network gateway");
  // Neither address nor gateway: no endpoint at all (§4.4).
  expect(outcome(resolve(state({ gateway: undefined })))).toBe("no healthy upstream: 10.96.0.1:80");
});

test("§5 step 7: a gateway has to have an address itself", () => {
  const gateways = [pod("eastwest", [], { network: "n2", hostname: "", namespace: "istio-gateways" })];
  // The filter of endpoints knows already that nothing leads there.
  expect(outcome(resolve(state({ gateway: byHostname, gateways })))).toBe(
    `unknown network gateway: istio-gateways/${GATEWAY_HOST} has no workload that serves port 15008`,
  );
  // One that is itself behind a gateway is no gateway.
  const hidden = pod("eastwest", [], { network: "n2", namespace: "istio-gateways", networkGateway: byAddress });
  const decision = resolve(state({ gateway: byHostname, gateways: [hidden] }));
  expect(outcome(decision)).toBe(
    "no valid routing destination for workload: " +
      "Workload{eastwest with uid Kubernetes//Pod/istio-gateways/eastwest (HBONE)}",
  );
  expect(decision.reasons.map(renderReason).at(-1)).toBe(
    "no address to reach workload istio-gateways/eastwest: it has none",
  );
});

test("an endpoint of another network needs no address of its own, and none is looked up", () => {
  const remote = { addresses: ["10.9.0.1"] };
  expect(outcome(resolve(state({ remote })))).toBe(`hbone 192.0.2.1:15008 ${TWICE}`);
  expect(outcome(resolve(state({ remote: { hostname: "web.example.org" } })))).toBe(`hbone 192.0.2.1:15008 ${TWICE}`);
});

test("§5 step 7: whatever the remote workload speaks, it is reached in two tunnels", () => {
  expect(outcome(resolve(state({ remote: { protocol: "TCP" } })))).toBe(`hbone 192.0.2.1:15008 ${TWICE}`);
});

test("§5 step 6: without a service there is no way into another network", () => {
  // Our own records say another network than we are configured for: the second lookup is in theirs.
  const far = pod("far", "10.7.0.1", { network: "n1" });
  const stray = { ...client, network: "n1" };
  const of = mesh({ workloads: [far], services: [] });
  expect(outcome(resolve(of, "10.7.0.1:80", { source: stray }))).toBe("hbone 10.7.0.1:15008 CONNECT 10.7.0.1:80");
  // An address that is a workload's in our network and a VIP in the same one: no service was addressed.
  const shared = service("shared", "10.7.0.9");
  const remote = pod("remote", [], { network: "n2", networkGateway: byAddress });
  const both = mesh({
    workloads: [pod("both", "10.7.0.9"), remote, eastwest],
    services: [shared],
    members: [{ of: shared, workload: remote }],
  });
  const decision = resolve(both, "10.7.0.9:80");
  expect(outcome(decision)).toBe("no service for target address: 10.7.0.9:80");
  expect(decision.reasons.map(renderReason).at(-1)).toBe(
    "10.7.0.9:80 is no service's address, and only services are reached in other networks",
  );
});

test("build_request_failover_to_remote: healthy local endpoints first, then the other network", () => {
  const loadBalancer = {
    mode: "Failover",
    routingPreferences: ["Network", "Region", "Zone"],
    healthPolicy: "OnlyHealthy",
  } as const;
  const web = service("web", "10.96.0.1");
  const of = (status: Workload["status"]) =>
    state({
      service: { loadBalancer },
      others: { workloads: [{ ...local, status }], members: [{ of: web, workload: { ...local, status } }] },
    });
  for (const random of [() => 0, () => 0.99]) {
    expect(outcome(resolve(of("Healthy"), "10.96.0.1:80", { random }))).toBe(
      "hbone 10.0.1.1:15008 CONNECT 10.0.1.1:8080",
    );
    expect(outcome(resolve(of("Unhealthy"), "10.96.0.1:80", { random }))).toBe(`hbone 192.0.2.1:15008 ${TWICE}`);
  }
});

test("without preferences local and remote endpoints share the connections", () => {
  const web = service("web", "10.96.0.1");
  const of = state({ others: { workloads: [local], members: [{ of: web, workload: local }] } });
  const outcomes = new Set([0, 0.99].map((point) => outcome(resolve(of, "10.96.0.1:80", { random: () => point }))));
  expect(outcomes).toEqual(
    new Set([`hbone 192.0.2.1:15008 ${TWICE}`, "hbone 10.0.1.1:15008 CONNECT 10.0.1.1:8080"]),
  );
});

test("a Passthrough service has no endpoints to choose from, remote ones neither", () => {
  expect(outcome(resolve(state({ service: { loadBalancer: passthrough } })))).toBe("passthrough 10.96.0.1:80");
});

const remoteWaypoint = pod("remote-waypoint", [], {
  serviceAccount: "waypoint",
  network: "n2",
  networkGateway: byAddress,
});
const waypointNames = ["spiffe://remote.td/ns/shop/sa/waypoint"];
const waypointService = service("waypoint", "10.96.0.2", { ports: [15008, 15008], subjectAltNames: waypointNames });
const waypointHost = reference({ kind: "hostname", namespace: "shop", hostname: waypointService.hostname });

test("§5 step 4: a service's waypoint in another network is behind the gateway there", () => {
  const of = (subjectAltNames: readonly string[]) => {
    const waypoint = { ...waypointService, subjectAltNames };
    return state({
      service: { waypoint: waypointHost },
      others: {
        workloads: [remoteWaypoint],
        services: [waypoint],
        members: [{ of: waypoint, workload: remoteWaypoint }],
      },
    });
  };
  // The service asked for stays the one addressed, and the waypoint's names are those that count.
  expect(resolve(of(waypointNames))).toMatchObject({
    action: "hbone",
    dial: { ip: "192.0.2.1", port: 15008 },
    authority: `${NAME}:80`,
    expectedIdentities: ["spiffe://cluster.local/ns/istio-gateways/sa/eastwest"],
    workload: { name: "remote-waypoint" },
    hop: { name: "eastwest" },
    service: { name: "web" },
    inner: { authority: `${NAME}:80`, expectedIdentities: waypointNames },
  });
  expect(resolve(of([]))).toMatchObject({ inner: { expectedIdentities: [] } });
});

test("§5 step 4: a remote waypoint that is a workload vouches for nobody inside", () => {
  const alone = { ...remoteWaypoint, hostname: "waypoint.example" };
  const waypoint = reference({ kind: "hostname", namespace: "shop", hostname: "waypoint.example" });
  const decision = resolve(state({ service: { waypoint }, others: { workloads: [alone] } }));
  expect(decision).toMatchObject({ dial: { ip: "192.0.2.1" }, inner: { expectedIdentities: [] } });
  expect(decision.reasons.map(renderReason).at(-1)).toBe(
    "shop/remote-waypoint names no SPIFFE id, so nobody behind the gateway can be trusted",
  );
});

test("§5 step 4: a remote waypoint without a gateway is not gone around", () => {
  const stranded = { ...remoteWaypoint, networkGateway: undefined, addresses: ["10.9.0.2"] };
  const others = {
    workloads: [stranded],
    services: [waypointService],
    members: [{ of: waypointService, workload: stranded }],
  };
  expect(outcome(resolve(state({ service: { waypoint: waypointHost }, others })))).toBe(
    "no valid routing destination for workload: " +
      "Workload{remote-waypoint with uid Kubernetes//Pod/shop/remote-waypoint (HBONE)}",
  );
});

test("§5 step 8: a workload's waypoint in another network is dialled where it is", () => {
  const there = { ...remoteWaypoint, addresses: ["10.9.0.2"] };
  const waypoint = reference({ kind: "address", network: "n2", ip: "10.9.0.2" });
  const behind = pod("behind", "10.0.1.9", { waypoint });
  const of = mesh({ workloads: [client, behind, there, eastwest] });
  expect(outcome(resolve(of, "10.0.1.9:80"))).toBe("hbone 10.9.0.2:15008 CONNECT 10.0.1.9:80");
});

test("the gateway given by address decides the family, the one by hostname goes by the connection", () => {
  const dual = { ...eastwest, addresses: ["192.0.2.1", "2001:db8::1"] };
  const of = (gateway: GatewayAddress) =>
    state({
      gateway,
      gateways: [dual],
      service: { vips: [{ network: "", ip: "10.96.0.1" }, { network: "", ip: "fd00:96::1" }] },
    });
  expect(outcome(resolve(of(byAddress), "[fd00:96::1]:80"))).toBe(`hbone 192.0.2.1:15008 ${TWICE}`);
  expect(outcome(resolve(of(byHostname), "[fd00:96::1]:80"))).toBe(`hbone 2001:db8::1:15009 ${TWICE}`);
  expect(outcome(resolve(of(byHostname), "10.96.0.1:80"))).toBe(`hbone 192.0.2.1:15009 ${TWICE}`);
});

test("a gateway's hostname, once resolved, takes the whole route", () => {
  const lb = newWorkload({ uid: "lb", name: "lb", namespace: "edge", hostname: "lb.example", network: "n2" });
  const gateway = reference({ kind: "hostname", namespace: "edge", hostname: "lb.example" });
  const decision = resolve(state({ gateway, others: { workloads: [lb] } }));
  if (decision.action !== "lookup") throw new Error(outcome(decision));
  expect(decision).toMatchObject({ hostname: "lb.example", prefer: "IPv4", workload: lb, source: client });
  const before = decision.reasons.length;
  for (const ip of ["203.0.113.1", "2001:db8::7"]) {
    expect(outcome(decision.proceed(ip))).toBe(`hbone ${ip}:15008 ${TWICE}`);
    expect(decision.proceed(ip).reasons.map(renderReason).slice(-2)).toEqual([
      "workload edge/lb has no address, only the hostname lb.example, which is resolved",
      `the hostname of workload edge/lb resolved to ${ip}`,
    ]);
  }
  expect(decision.reasons).toHaveLength(before);
});

test("a gateway that failed lately is passed over while there is another", () => {
  const second = {
    ...eastwest,
    uid: "Kubernetes//Pod/istio-gateways/second",
    name: "second",
    addresses: ["192.0.2.2"],
  };
  const of = state({ gateway: byHostname, gateways: [eastwest, second] });
  const avoid = (workload: Workload) => workload.uid === eastwest.uid;
  for (const point of [0, 0.3, 0.6, 0.99]) {
    expect(outcome(resolve(of, "10.96.0.1:80", { random: () => point, avoid }))).toBe(`hbone 192.0.2.2:15009 ${TWICE}`);
  }
  const all = resolve(of, "10.96.0.1:80", { avoid: () => true });
  expect(all.action).toBe("hbone");
});
