/** Sending traffic through waypoints: spec/ztunnel.md §4.6, §5 steps 4 and 8, §6.4. */
import { expect, test } from "bun:test";
import {
  type GatewayAddress,
  type InboundDecision,
  type MeshState,
  newWorkload,
  type OutboundDecision,
  renderReason,
  resolveInbound,
  resolveOutbound,
  type Service,
  type Workload,
} from "../../src/mesh/mod.ts";
import { address, infoOf, type Membership, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const client = pod("client", "10.0.0.1");
const web = pod("web", "10.0.1.1");
const first = pod("waypoint-1", "10.0.2.1", { serviceAccount: "waypoint" });
const second = pod("waypoint-2", "10.0.2.2", { serviceAccount: "waypoint" });
const HOSTNAME = "waypoint.shop.svc.cluster.local";
const WEB = "shop/web.shop.svc.cluster.local";
const TUNNEL_PORTS = [15008, 15008];
const waypoint = service("waypoint", "10.96.0.2", { ports: TUNNEL_PORTS });

const byHostname = gateway({ kind: "hostname", namespace: "shop", hostname: HOSTNAME });
const byVip = gateway({ kind: "address", network: "", ip: "10.96.0.2" });
const byPodIp = gateway({ kind: "address", network: "", ip: "10.0.2.1" });
const passthrough = { mode: "Passthrough", routingPreferences: [], healthPolicy: "OnlyHealthy" } as const;

function gateway(destination: GatewayAddress["destination"], hboneMtlsPort = 15008): GatewayAddress {
  return { destination, hboneMtlsPort };
}

/** A mesh with one waypoint service of two instances, and one service with one endpoint. */
function state(given: {
  service?: Partial<Service>;
  workload?: Partial<Workload>;
  waypoint?: Service;
  instances?: Workload[];
  others?: { workloads?: Workload[]; services?: Service[]; members?: Membership[] };
}): MeshState {
  const behind = service("web", "10.96.0.1", given.service ?? {});
  const endpoint = { ...web, ...given.workload };
  const way = given.waypoint ?? waypoint;
  const instances = given.instances ?? [first, second];
  const { workloads = [], services = [], members = [] } = given.others ?? {};
  return mesh({
    workloads: [client, endpoint, ...instances, ...workloads],
    services: [behind, way, ...services],
    members: [
      { of: behind, workload: endpoint },
      ...instances.map((workload) => ({ of: way, workload })),
      ...members,
    ],
  });
}

function resolve(
  of: MeshState,
  destination: string,
  given: {
    source?: Workload;
    downstream?: string;
    random?: () => number;
    avoid?: (workload: Workload) => boolean;
  } = {},
): OutboundDecision {
  const source = given.source ?? client;
  return resolveOutbound(
    of,
    {
      info: infoOf(source),
      source,
      downstream: address(given.downstream ?? `${source.addresses[0]}:40000`),
      destination: address(destination),
    },
    SETTINGS,
    { random: given.random ?? (() => 0), avoid: given.avoid },
  );
}

function outcome(decision: OutboundDecision): string {
  if (decision.action === "refuse") return decision.error;
  if (decision.action === "lookup") return `lookup ${decision.hostname}`;
  const { action, dial } = decision;
  return `${action} ${dial.ip}:${dial.port}${decision.action === "hbone" ? ` CONNECT ${decision.authority}` : ""}`;
}

test("§5 step 4: a service behind a waypoint goes to an instance, which is asked for the VIP", () => {
  expect(resolve(state({ service: { waypoint: byHostname } }), "10.96.0.1:80")).toMatchObject({
    action: "hbone",
    dial: { ip: "10.0.2.1", port: 15008 },
    authority: "10.96.0.1:80",
    expectedIdentities: ["spiffe://cluster.local/ns/shop/sa/waypoint"],
    source: client,
    // §10.1: the destination workload is the waypoint, the service the original one.
    workload: first,
    service: { hostname: "web.shop.svc.cluster.local", name: "web", namespace: "shop" },
  });
});

test("§4.4: instances are chosen as the endpoints of the waypoint's service are", () => {
  const of = state({ service: { waypoint: byVip } });
  expect(outcome(resolve(of, "10.96.0.1:80", { random: () => 0.9 }))).toBe("hbone 10.0.2.2:15008 CONNECT 10.96.0.1:80");
  const ill = state({ service: { waypoint: byVip }, instances: [{ ...first, status: "Unhealthy" }, second] });
  expect(outcome(resolve(ill, "10.96.0.1:80"))).toBe("hbone 10.0.2.2:15008 CONNECT 10.96.0.1:80");
  const near = { ...second, locality: { region: "r1", zone: "", subzone: "" } };
  const ranked = state({
    service: { waypoint: byVip },
    waypoint: {
      ...waypoint,
      loadBalancer: { mode: "Failover", routingPreferences: ["Region"], healthPolicy: "OnlyHealthy" },
    },
    instances: [first, near],
  });
  const source = { ...client, locality: near.locality };
  expect(outcome(resolve(ranked, "10.96.0.1:80", { source }))).toBe("hbone 10.0.2.2:15008 CONNECT 10.96.0.1:80");
});

const forms: [name: string, reference: GatewayAddress, outcome: string][] = [
  ["hostname of a service", byHostname, "hbone 10.0.2.1:15008"],
  ["VIP", byVip, "hbone 10.0.2.1:15008"],
  ["pod IP", byPodIp, "hbone 10.0.2.1:15008"],
  [
    "hostname of a workload",
    gateway({ kind: "hostname", namespace: "shop", hostname: "vm.example" }),
    "hbone 10.0.3.1:15008",
  ],
  ["a port of its own", gateway(byPodIp.destination, 16000), "hbone 10.0.2.1:16000"],
];
test.each(forms)("§4.6: a waypoint by %s", (_name, reference, expected) => {
  const others = { workloads: [pod("vm", "10.0.3.1", { hostname: "vm.example" })] };
  expect(outcome(resolve(state({ service: { waypoint: reference }, others }), "10.96.0.1:80")))
    .toBe(`${expected} CONNECT 10.96.0.1:80`);
  expect(outcome(resolve(state({ workload: { waypoint: reference }, others }), "10.0.1.1:8080")))
    .toBe(`${expected} CONNECT 10.0.1.1:8080`);
});

test("§4.6: the port of the tunnel is mapped as the waypoint's service maps it", () => {
  const mapped = state({ service: { waypoint: byVip }, waypoint: { ...waypoint, ports: [15008, 15009] } });
  expect(outcome(resolve(mapped, "10.96.0.1:80"))).toBe("hbone 10.0.2.1:15009 CONNECT 10.96.0.1:80");
  // Mode Waypoint: a service that does not list the port serves if its instances take everything in.
  const unlisted = { ...waypoint, ports: [] };
  const sandwiched = { ...first, applicationTunnel: { protocol: "PROXY", port: 15088 } as const };
  expect(outcome(resolve(state({ service: { waypoint: byVip }, waypoint: unlisted }), "10.96.0.1:80")))
    .toBe(`waypoint /10.96.0.2 of service ${WEB} has no workload that serves port 15008`);
  const tunnelled = state({ service: { waypoint: byVip }, waypoint: unlisted, instances: [second, sandwiched] });
  expect(outcome(resolve(tunnelled, "10.96.0.1:80"))).toBe("hbone 10.0.2.1:15008 CONNECT 10.96.0.1:80");
});

test("§4.6: the family is that of the waypoint's address, else that of the connection", () => {
  const dual = pod("waypoint-1", ["10.0.2.1", "fd00::21"]);
  const of = (reference: GatewayAddress) =>
    state({
      service: { waypoint: reference, vips: [{ network: "", ip: "10.96.0.1" }, { network: "", ip: "fd00:96::1" }] },
      waypoint: { ...waypoint, vips: [{ network: "", ip: "10.96.0.2" }, { network: "", ip: "fd00:96::2" }] },
      instances: [dual],
    });
  const six = gateway({ kind: "address", network: "", ip: "fd00:96::2" });
  expect(outcome(resolve(of(six), "10.96.0.1:80"))).toBe("hbone fd00::21:15008 CONNECT 10.96.0.1:80");
  expect(outcome(resolve(of(byVip), "[fd00:96::1]:80"))).toBe("hbone 10.0.2.1:15008 CONNECT [fd00:96::1]:80");
  expect(outcome(resolve(of(byHostname), "[fd00:96::1]:80"))).toBe("hbone fd00::21:15008 CONNECT [fd00:96::1]:80");
  expect(outcome(resolve(of(byHostname), "10.96.0.1:80"))).toBe("hbone 10.0.2.1:15008 CONNECT 10.96.0.1:80");
});

test("§4.6: alternative names of the waypoint's service are accepted too", () => {
  const named = { ...waypoint, subjectAltNames: ["spiffe://td/ns/x/sa/y"] };
  expect(resolve(state({ service: { waypoint: byVip }, waypoint: named }), "10.96.0.1:80")).toMatchObject({
    expectedIdentities: ["spiffe://td/ns/x/sa/y", "spiffe://cluster.local/ns/shop/sa/waypoint"],
  });
});

test("§4.6: weighted waypoints are chosen in proportion to their weights, never one of weight 0", () => {
  const canary = pod("canary", "10.0.4.1");
  const never = pod("never", "10.0.4.2");
  const to = (ip: string) => gateway({ kind: "address", network: "", ip });
  const weightedWaypoints = [
    { destination: to("10.0.4.2"), weight: 0 },
    { destination: to("10.0.2.1"), weight: 90 },
    { destination: to("10.0.4.1"), weight: 10 },
    { destination: to("10.0.4.2"), weight: 0 },
  ];
  const of = state({ service: { weightedWaypoints }, others: { workloads: [canary, never] } });
  const counts = new Map<string, number>();
  for (let i = 0; i < 1000; i++) {
    const to = outcome(resolve(of, "10.96.0.1:80", { random: () => i / 1000 }));
    counts.set(to, (counts.get(to) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({
    "hbone 10.0.2.1:15008 CONNECT 10.96.0.1:80": 900,
    "hbone 10.0.4.1:15008 CONNECT 10.96.0.1:80": 100,
  });
});

test("§4.6: weighted waypoints without any weight leave the single one", () => {
  const weightedWaypoints = [{ destination: byPodIp, weight: 0 }];
  expect(outcome(resolve(state({ service: { weightedWaypoints, waypoint: byHostname } }), "10.96.0.1:80")))
    .toBe("hbone 10.0.2.1:15008 CONNECT 10.96.0.1:80");
});

test("fail closed: a weighted waypoint that is not there is not replaced by another, nor gone around", () => {
  const gone = gateway({ kind: "address", network: "", ip: "10.0.9.9" });
  const weightedWaypoints = [{ destination: byPodIp, weight: 1 }, { destination: gone, weight: 1 }];
  const of = state({ service: { weightedWaypoints, waypoint: byHostname } });
  expect(outcome(resolve(of, "10.96.0.1:80", { random: () => 0.9 }))).toBe("unknown waypoint: /10.0.9.9");
});

const lost: [name: string, given: Parameters<typeof state>[0], destination: string, error: string][] = [
  [
    "a service's waypoint that is not known",
    { service: { waypoint: gateway({ kind: "hostname", namespace: "shop", hostname: "gone" }) } },
    "10.96.0.1:80",
    "unknown waypoint: shop/gone",
  ],
  [
    "a workload's waypoint that is not known",
    { workload: { waypoint: gateway({ kind: "address", network: "", ip: "10.0.9.9" }) } },
    "10.0.1.1:8080",
    "unknown waypoint: /10.0.9.9",
  ],
  [
    "a hostname in another namespace",
    { service: { waypoint: gateway({ kind: "hostname", namespace: "bank", hostname: HOSTNAME }) } },
    "10.96.0.1:80",
    `unknown waypoint: bank/${HOSTNAME}`,
  ],
  [
    "a waypoint without instances",
    { service: { waypoint: byHostname }, instances: [] },
    "10.96.0.1:80",
    `waypoint shop/${HOSTNAME} of service ${WEB} has no workload that serves port 15008`,
  ],
  [
    "a waypoint that is a Passthrough service",
    { service: { waypoint: byHostname }, waypoint: { ...waypoint, loadBalancer: passthrough } },
    "10.96.0.1:80",
    `unknown waypoint: shop/${HOSTNAME}`,
  ],
  [
    "an instance in another network",
    {
      service: { waypoint: byHostname },
      instances: [{ ...first, network: "n2", networkGateway: byPodIp }],
    },
    "10.96.0.1:80",
    "unknown network gateway: /10.0.2.1",
  ],
];
test.each(lost)("fail closed: %s", (_name, given, destination, error) => {
  expect(outcome(resolve(state(given), destination))).toBe(error);
});

test("§4.5: an instance that has only a hostname is looked up", () => {
  const vm = newWorkload({ uid: "vm", name: "vm", hostname: "vm.example", protocol: "HBONE" });
  const vips = [{ network: "", ip: "10.96.0.1" }, { network: "", ip: "fd00:96::1" }];
  for (
    const [way, destination, prefer] of [
      [byHostname, "10.96.0.1:80", "IPv4"],
      [byHostname, "[fd00:96::1]:80", "IPv6"],
      [byVip, "[fd00:96::1]:80", "IPv4"],
    ] as const
  ) {
    const decision = resolve(state({ service: { vips, waypoint: way }, instances: [vm] }), destination);
    if (decision.action !== "lookup") throw new Error(outcome(decision));
    expect(decision).toMatchObject({ hostname: "vm.example", prefer, workload: vm });
    expect(decision.proceed("203.0.113.1")).toMatchObject({
      action: "hbone",
      dial: { ip: "203.0.113.1", port: 15008 },
      authority: destination,
      workload: vm,
      hop: vm,
      service: { name: "web" },
      inner: undefined,
    });
  }
});

test("instances that failed lately are passed over", () => {
  const of = state({ service: { waypoint: byHostname }, workload: { waypoint: byHostname } });
  for (const destination of ["10.96.0.1:80", "10.0.1.1:8080"]) {
    for (const point of [0, 0.4, 0.99]) {
      const avoid = (workload: Workload) => workload.uid === first.uid;
      expect(outcome(resolve(of, destination, { random: () => point, avoid })))
        .toBe(`hbone 10.0.2.2:15008 CONNECT ${destination}`);
    }
    expect(resolve(of, destination, { avoid: () => true }).action).toBe("hbone");
  }
});

test("§5 step 4: a Passthrough service goes through its waypoint as well", () => {
  expect(outcome(resolve(state({ service: { waypoint: byHostname, loadBalancer: passthrough } }), "10.96.0.1:80")))
    .toBe("hbone 10.0.2.1:15008 CONNECT 10.96.0.1:80");
});

test("§5 step 8: a workload's waypoint is for those who address the workload itself", () => {
  const of = state({ workload: { waypoint: byHostname } });
  expect(resolve(of, "10.0.1.1:8080")).toMatchObject({
    action: "hbone",
    dial: { ip: "10.0.2.1", port: 15008 },
    authority: "10.0.1.1:8080",
    expectedIdentities: ["spiffe://cluster.local/ns/shop/sa/waypoint"],
    workload: first,
    service: undefined,
  });
  // Addressed through a service without a waypoint: directly.
  expect(outcome(resolve(of, "10.96.0.1:80"))).toBe("hbone 10.0.1.1:15008 CONNECT 10.0.1.1:8080");
  // A waypoint for services is not one for workloads.
  expect(outcome(resolve(state({ service: { waypoint: byHostname } }), "10.0.1.1:8080")))
    .toBe("hbone 10.0.1.1:15008 CONNECT 10.0.1.1:8080");
});

test("§5 step 8: what comes from the waypoint goes on directly, never back", () => {
  const of = state({ service: { waypoint: byHostname }, workload: { waypoint: byHostname } });
  const direct = "hbone 10.0.1.1:15008 CONNECT 10.0.1.1:8080";
  for (const source of [first, second]) {
    expect(outcome(resolve(of, "10.0.1.1:8080", { source }))).toBe(direct);
    expect(outcome(resolve(of, "10.96.0.1:80", { source }))).toBe(direct);
  }
  // Neither the identity nor the address alone will do.
  const elsewhere = resolve(of, "10.0.1.1:8080", { source: first, downstream: "10.0.2.9:1000" });
  expect(elsewhere).toMatchObject({ dial: { ip: "10.0.2.1" }, authority: "10.0.1.1:8080" });
  const impostor = resolve(of, "10.96.0.1:80", { source: { ...first, serviceAccount: "other" } });
  expect(impostor).toMatchObject({ authority: "10.96.0.1:80" });
  // Also where the waypoint is a workload of its own.
  const alone = state({ workload: { waypoint: byPodIp } });
  expect(outcome(resolve(alone, "10.0.1.1:8080", { source: first }))).toBe(direct);
  expect(resolve(alone, "10.0.1.1:8080", { source: second })).toMatchObject({ dial: { ip: "10.0.2.1" } });
});

test("the waypoint's own service is reached as any other", () => {
  const other = { ...waypoint, ports: [...TUNNEL_PORTS, 80, 8080] };
  expect(outcome(resolve(state({ service: { waypoint: byHostname }, waypoint: other }), "10.96.0.2:80")))
    .toBe("hbone 10.0.2.1:15008 CONNECT 10.0.2.1:8080");
});

test("reasons tell the waypoint and its instance, or why there is none", () => {
  const texts = (decision: OutboundDecision) => decision.reasons.map(renderReason);
  expect(texts(resolve(state({ service: { waypoint: byHostname } }), "10.96.0.1:80"))).toEqual([
    "the address is a VIP of service shop/web.shop.svc.cluster.local",
    `shop/web.shop.svc.cluster.local is behind waypoint shop/${HOSTNAME}`,
    "endpoint shop/waypoint-1 chosen among 2",
  ]);
  expect(texts(resolve(state({ workload: { waypoint: byVip }, instances: [] }), "10.0.1.1:8080"))).toEqual([
    "the address belongs to workload shop/web",
    "shop/web is behind waypoint /10.96.0.2",
    `/10.96.0.2 is service shop/${HOSTNAME}`,
    `service shop/${HOSTNAME} has no usable endpoint for port 15008`,
    "waypoint /10.96.0.2 has no workload that serves its port",
  ]);
  expect(texts(resolve(state({ service: { waypoint: byHostname } }), "10.96.0.1:80", { source: first }))).toEqual([
    "the address is a VIP of service shop/web.shop.svc.cluster.local",
    "the caller is the waypoint of shop/web.shop.svc.cluster.local",
    "endpoint shop/web chosen among 1",
    "workload shop/web speaks HBONE",
  ]);
});

test("reasons tell how a waypoint was picked, and of one that was not asked", () => {
  const texts = (given: Parameters<typeof state>[0], destination = "10.96.0.1:80") =>
    resolve(state(given), destination).reasons.map(renderReason);
  const weighted = [{ destination: byPodIp, weight: 3 }];
  expect(texts({ service: { weightedWaypoints: weighted } })).toEqual([
    "the address is a VIP of service shop/web.shop.svc.cluster.local",
    `service ${WEB} has weighted waypoints, and its connection went to /10.0.2.1 (weight 3)`,
    "shop/web.shop.svc.cluster.local is behind waypoint /10.0.2.1",
    "/10.0.2.1 is workload shop/waypoint-1",
  ]);
  expect(texts({ service: { weightedWaypoints: [{ destination: byPodIp, weight: 0 }], waypoint: byVip } })[1])
    .toBe(`the weighted waypoints of service ${WEB} have no weight`);
  expect(texts({ workload: { waypoint: byVip } })).toContain(
    "waypoint /10.96.0.2 of workload shop/web is only for those who address the workload itself",
  );
});

function inbound(of: MeshState, local: Workload, authority: string, peer: string): InboundDecision {
  return resolveInbound(of, {
    info: infoOf(local),
    local,
    authority,
    destination: address(`${local.addresses[0]}:15008`),
    peer: address(peer),
    forwardedHost: undefined,
    forwardedNetwork: undefined,
    selfListener: false,
  }, SETTINGS);
}

test("§6.4: a pod takes what its waypoint asks for: the pod's own address", () => {
  const of = state({ service: { waypoint: byHostname } });
  expect(inbound(of, web, "10.0.1.1:8080", "10.0.2.1:1000")).toMatchObject({
    ok: true,
    dial: { ip: "10.0.1.1", port: 8080 },
    source: first,
    service: { name: "web" },
  });
  expect(inbound(of, web, "10.96.0.1:80", "10.0.2.1:1000")).toMatchObject({
    ok: false,
    error: "ip mismatch: 10.0.1.1 != 10.96.0.1",
  });
});

test("§6.4: a waypoint answers for services that name it with a weight, too", () => {
  const weightedWaypoints = [{ destination: byPodIp, weight: 1 }];
  const of = state({ service: { weightedWaypoints } });
  expect(inbound(of, first, "10.96.0.1:80", "10.0.0.1:1000")).toMatchObject({ ok: true });
  expect(inbound(of, second, "10.96.0.1:80", "10.0.0.1:1000")).toMatchObject({ ok: false, status: 400 });
});

test("whatever the mesh, nothing goes around a waypoint", () => {
  let seed = 1;
  const chance = (odds: number) => (seed = (seed * 48271) % 0x7fff_ffff) / 0x7fff_ffff < odds;
  const oneOf = <T>(...values: [T, ...T[]]): T => values.find(() => chance(1 / values.length)) ?? values[0];
  const reference = () =>
    oneOf(byHostname, byVip, byPodIp, gateway({ kind: "address", network: oneOf("", "n2"), ip: "10.9.9.9" }, 1));
  const outcomes = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const weightedWaypoints = chance(0.4) ? [1, 2, 3].map((weight) => ({ destination: reference(), weight })) : [];
    const of = state({
      service: {
        waypoint: reference(),
        weightedWaypoints,
        loadBalancer: chance(0.2) ? passthrough : undefined,
      },
      workload: { waypoint: reference(), protocol: oneOf("HBONE", "TCP"), status: oneOf("Healthy", "Unhealthy") },
      waypoint: {
        ...waypoint,
        ports: oneOf(TUNNEL_PORTS, []),
        loadBalancer: chance(0.1) ? passthrough : undefined,
      },
      instances: [first, second].filter(() => chance(0.7)).map((one): Workload => ({
        ...one,
        network: oneOf("", "", "n2"),
        addresses: oneOf(one.addresses, one.addresses, []),
      })),
    });
    for (const destination of ["10.96.0.1:80", "10.96.0.1:99", "10.0.1.1:8080"]) {
      const decision = resolve(of, destination, { random: () => (i % 100) / 100 });
      outcomes.add(decision.action);
      if (decision.action === "refuse") continue;
      expect(decision).toMatchObject({ action: "hbone", authority: destination });
      expect([first.name, second.name]).toContain(decision.workload?.name ?? "");
    }
  }
  expect([...outcomes].sort()).toEqual(["hbone", "refuse"]);
});
