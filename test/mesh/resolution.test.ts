/** What holds for every decision on every mesh: random meshes and flows, judged by plain scans of their lists. */
import { expect, test } from "bun:test";
import { parseIdentity } from "../../src/identity/spiffe.ts";
import { formatAddress, isLoopback, type SocketAddress } from "../../src/net/address.ts";
import {
  type GatewayAddress,
  type InboundRequest,
  type MeshState,
  newService,
  newWorkload,
  type OutboundDecision,
  type OutboundFlow,
  type Reason,
  renderReason,
  resolveInbound,
  resolveOutbound,
  resolvePlaintext,
  type RoutingSettings,
  type Service,
  serviceKey,
  type Workload,
  workloadIdentity,
} from "../../src/mesh/mod.ts";
import { infoOf, type Membership, mesh } from "./fixtures.ts";

const SETTINGS: RoutingSettings = {
  network: "n1",
  hbonePort: 15008,
  illegalPorts: [15001, 15006, 15008],
  localhostAppTunnel: true,
};

/** Random numbers, the same in each run (a Weyl sequence, mixed). */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next = (): number => {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 16), 0x85eb_ca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 0x1_0000_0000;
  };

  chance(odds: number): boolean {
    return this.next() < odds;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  of<T>(...values: [T, ...T[]]): T {
    return values[this.below(values.length)] as T;
  }

  maybe<T>(odds: number, make: () => T): T | undefined {
    return this.chance(odds) ? make() : undefined;
  }
}

interface Sample {
  readonly state: MeshState;
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly members: readonly Membership[];
}

function network(dice: Dice): string {
  return dice.of("n1", "n1", "n1", "n2", "n3");
}

function reference(dice: Dice): GatewayAddress {
  const hboneMtlsPort = dice.of(15008, 15008, 80);
  return {
    hboneMtlsPort,
    destination: dice.chance(0.5)
      ? { kind: "hostname", namespace: dice.of("a", "b"), hostname: dice.of("s1", "s2", "s3", "w1", "w2", "gone") }
      : {
        kind: "address",
        network: network(dice),
        ip: dice.of("10.0.0.1", "10.0.0.3", "10.1.0.1", "10.1.0.2", "fd00::2", "10.9.9.9"),
      },
  };
}

function workload(dice: Dice, i: number): Workload {
  const addresses = [...(dice.chance(0.8) ? [`10.0.0.${i}`] : []), ...(dice.chance(0.4) ? [`fd00::${i}`] : [])];
  return newWorkload({
    uid: `cluster//Pod/${i}`,
    name: `w${i}`,
    namespace: dice.of("a", "b"),
    trustDomain: "td",
    serviceAccount: dice.of("x", "y", "z"),
    addresses,
    hostname: dice.chance(addresses.length === 0 ? 0.8 : 0.2) ? `w${i}` : "",
    network: network(dice),
    protocol: dice.of("HBONE", "HBONE", "TCP"),
    networkMode: dice.of("Standard", "Standard", "Standard", "HostNetwork"),
    node: dice.of("one", "two"),
    locality: { region: dice.of("r1", "r2"), zone: "", subzone: "" },
    capacity: dice.of(1, 1, 2, 0),
    status: dice.of("Healthy", "Healthy", "Unhealthy"),
    waypoint: dice.maybe(0.2, () => reference(dice)),
    networkGateway: dice.maybe(0.5, () => reference(dice)),
    applicationTunnel: dice.maybe(
      0.15,
      () => ({ protocol: dice.of("NONE", "PROXY"), port: dice.of(15088, undefined) }),
    ),
  });
}

function service(dice: Dice, i: number): Service {
  return newService({
    name: `s${i}`,
    namespace: dice.of("a", "b"),
    hostname: `s${i}`,
    vips: [
      { network: dice.of("n1", "n1", "n1", "n2"), ip: `10.1.0.${i}` },
      ...(dice.chance(0.5) ? [{ network: "n1", ip: `fd01::${i}` }] : []),
    ],
    ports: dice.of([80, 8080, 15008, 15008], [80, 8080, 15008, 15009], [80, 15001, 15008, 15008], [80, 0], []),
    subjectAltNames: dice.of([], ["spiffe://td/ns/a/sa/named"], ["no id"], ["no id", "spiffe://td/ns/b/sa/named"]),
    waypoint: dice.maybe(0.25, () => reference(dice)),
    weightedWaypoints: dice.chance(0.2)
      ? [0, 1, 2].map(() => ({ destination: reference(dice), weight: dice.below(3) }))
      : [],
    loadBalancer: dice.maybe(0.5, () => ({
      mode: dice.of("Standard", "Strict", "Failover", "Passthrough"),
      routingPreferences: dice.of([], ["Network", "Region"], ["Region", "Node"]),
      healthPolicy: dice.of("OnlyHealthy", "AllowAll"),
    })),
    ipFamilies: dice.of(undefined, undefined, "IPv4", "IPv6", "Dual"),
    visibility: dice.of("Public", "Public", "Public", "Namespace"),
  });
}

function sample(dice: Dice): Sample {
  const workloads = Array.from({ length: 7 }, (_, i) => workload(dice, i + 1));
  const services = Array.from({ length: 4 }, (_, i) => service(dice, i + 1));
  const members: Membership[] = [];
  for (const of of services) {
    for (const workload of workloads) {
      if (dice.chance(0.5)) members.push({ of, workload, ports: dice.of([], [80, 9000], [80, 0], [15008, 15008]) });
    }
  }
  return { state: mesh({ workloads: [...workloads], services: [...services], members }), workloads, services, members };
}

function flow(dice: Dice, { workloads, services }: Sample): OutboundFlow {
  const source = { ...workloads[dice.below(workloads.length)]!, network: "n1" };
  const own = source.addresses[0] ?? "10.0.0.200";
  const vips = services[dice.below(services.length)]!.vips;
  const ip = dice.chance(0.85)
    ? vips[dice.below(vips.length)]!.ip
    : dice.of("10.0.0.", "10.1.0.", "fd00::", "fd01::") + (1 + dice.below(7));
  return {
    info: infoOf(source),
    source: dice.chance(0.98) ? source : undefined,
    downstream: { ip: dice.chance(0.9) ? own : "10.0.0.201", port: 40000 },
    destination: {
      ip: dice.chance(0.1) ? dice.of("127.0.0.1", "::1", own) : ip,
      port: dice.of(80, 80, 80, 80, 80, 443, 15001, 15008),
    },
  };
}

/** What a reference leads to, found by scanning. */
function instances({ workloads, services, members }: Sample, { destination: to }: GatewayAddress): readonly Workload[] {
  const service = services.find((one) =>
    to.kind === "address"
      ? one.vips.some((vip) => vip.network === to.network && vip.ip === to.ip)
      : serviceKey(one) === `${to.namespace}/${to.hostname}`
  );
  if (service !== undefined) return members.filter(({ of }) => of === service).map(({ workload }) => workload);
  return workloads.filter((one) =>
    to.kind === "address"
      ? one.network === to.network && one.addresses.includes(to.ip)
      : one.namespace === to.namespace && one.hostname === to.hostname
  );
}

function waypointsOf(of: Service | Workload): readonly GatewayAddress[] {
  const weighted = "weightedWaypoints" in of ? of.weightedWaypoints.map(({ destination }) => destination) : [];
  return of.waypoint === undefined ? weighted : [of.waypoint, ...weighted];
}

/** The service that the flow addresses, if there is no doubt. */
function addressed({ services, workloads }: Sample, { destination, source }: OutboundFlow): Service | undefined {
  const taken = workloads.some((one) =>
    one.network === "n1" && one.networkMode === "Standard" && one.addresses.includes(destination.ip)
  );
  if (taken) return undefined;
  return services.find((one) =>
    one.vips.some(({ network, ip }) => network === "n1" && ip === destination.ip) &&
    (one.visibility === "Public" || one.namespace === source?.namespace)
  );
}

function readable(reasons: readonly Reason[]): void {
  expect(reasons.length).toBeGreaterThan(0);
  for (const reason of reasons) expect(renderReason(reason)).not.toMatch(/undefined|\[object|NaN|^\s*$/);
}

function judge(of: Sample, asked: OutboundFlow, decision: OutboundDecision, resolved: string | undefined): void {
  readable(decision.reasons);
  if (decision.action === "refuse" || decision.action === "lookup") return;
  const source = asked.source!;
  const { dial, action } = decision;

  if (action !== "hbone") {
    // Plain TCP never comes back to our own listeners.
    const own = isLoopback(dial.ip) || source.addresses.includes(dial.ip) || dial.ip === asked.downstream.ip;
    expect(own && SETTINGS.illegalPorts.includes(dial.port)).toBe(false);
  }
  if (action === "passthrough") {
    expect(dial).toEqual(asked.destination);
  } else {
    const hop = action === "hbone" ? decision.hop : decision.workload;
    if (resolved === undefined) expect(hop.addresses).toContain(dial.ip);
    else expect([hop.hostname === "", dial.ip]).toEqual([false, resolved]);
    if (action === "tcp") expect([hop.protocol, hop.network]).toEqual(["TCP", "n1"]);
  }

  const service = addressed(of, asked);
  if (action === "hbone") {
    const { hop, workload, inner, expectedIdentities } = decision;
    expect(expectedIdentities).toContain(workloadIdentity(hop));
    for (const identity of expectedIdentities) expect(parseIdentity(identity)).toBeDefined();
    if (inner === undefined) {
      expect(hop).toBe(workload);
      // Into other networks without their gateway only to the waypoint of a workload, where it is.
      if (workload.network !== "n1") expect(decision.authority).toBe(formatAddress(asked.destination));
    } else {
      expect(workload.network).not.toBe("n1");
      expect(instances(of, workload.networkGateway!).map(({ uid }) => uid)).toContain(hop.uid);
      const name = `${decision.service?.hostname}:${asked.destination.port}`;
      expect([decision.authority, inner.authority]).toEqual([name, name]);
      for (const identity of inner.expectedIdentities) expect(identity).toEndWith("/sa/named");
    }
  }

  if (service === undefined) return;
  const waypoints = waypointsOf(service);
  const sampled = service.waypoint !== undefined || service.weightedWaypoints.some(({ weight }) => weight > 0);
  const all = waypoints.flatMap((one) => instances(of, one));
  const isWaypoint = all.some((one) =>
    one.network === "n1" && one.addresses.includes(asked.downstream.ip) &&
    workloadIdentity(one) === workloadIdentity(source)
  );
  if (!sampled || isWaypoint) return;
  // A service with a waypoint is never reached directly except from the waypoint.
  expect(action).toBe("hbone");
  expect(all.map(({ uid }) => uid)).toContain(decision.workload?.uid ?? "");
  expect(decision.service?.hostname).toBe(service.hostname);
}

test("every outgoing decision, on random meshes", () => {
  const dice = new Dice(20_260);
  const seen = new Map<string, number>();
  for (let round = 0; round < 1500; round++) {
    const of = sample(dice);
    for (let i = 0; i < 12; i++) {
      const asked = flow(dice, of);
      const seed = 1 + dice.below(1e6);
      const failed = dice.chance(0.3) ? dice.of("w1", "w2", "w3") : undefined;
      const decide = () =>
        resolveOutbound(of.state, asked, SETTINGS, {
          random: new Dice(seed).next,
          avoid: failed === undefined ? undefined : ({ name }) => name === failed,
        });
      const decision = decide();
      judge(of, asked, decision, undefined);
      let action: string = decision.action;
      if (decision.action === "lookup") {
        const again = decide();
        if (again.action !== "lookup") throw new Error("another answer to the same question");
        expect({ ...again, proceed: undefined }).toEqual({ ...decision, proceed: undefined });
        const ip = dice.of("203.0.113.1", "127.0.0.1", "::1", asked.downstream.ip);
        const proceeded = decision.proceed(ip);
        expect(proceeded.action).not.toBe("lookup");
        expect(again.proceed(ip)).toEqual(proceeded);
        judge(of, asked, proceeded, ip);
        action = `lookup ${proceeded.action}`;
      } else {
        expect(decide()).toEqual(decision);
        if (decision.action === "hbone" && decision.inner !== undefined) action = "double hbone";
      }
      seen.set(action, (seen.get(action) ?? 0) + 1);
    }
  }
  // The meshes are such that every kind of decision is made, and not by accident.
  const kinds = [
    "hbone",
    "double hbone",
    "tcp",
    "passthrough",
    "refuse",
    "lookup hbone",
    "lookup tcp",
    "lookup refuse",
  ];
  for (const kind of kinds) expect([kind, (seen.get(kind) ?? 0) > 10]).toEqual([kind, true]);
});

test("where all have failed lately, the one is taken that would have been taken", () => {
  const dice = new Dice(7);
  const told = new Set<boolean>();
  for (let round = 0; round < 600; round++) {
    const of = sample(dice);
    const asked = flow(dice, of);
    const random = () => 0.5;
    const bare = (decision: OutboundDecision) => ({ ...decision, reasons: undefined, proceed: undefined });
    const decision = resolveOutbound(of.state, asked, SETTINGS, { random });
    const avoiding = resolveOutbound(of.state, asked, SETTINGS, { random, avoid: () => true });
    expect(bare(avoiding)).toEqual(bare(decision));
    told.add(avoiding.reasons.some(({ code }) => code === "passed-over"));
  }
  expect(told).toEqual(new Set([true, false]));
});

test("every incoming decision, on random meshes", () => {
  const dice = new Dice(4_711);
  const seen = new Set<string>();
  for (let round = 0; round < 1500; round++) {
    const of = sample(dice);
    const local = of.workloads[dice.below(of.workloads.length)]!;
    const pod: SocketAddress = { ip: local.addresses[0] ?? "10.0.0.200", port: 15008 };
    const ips = ["10.0.0.1", "10.1.0.1", "fd00::2", "fd01::1", "127.0.0.1", pod.ip, pod.ip];
    const port = dice.of(80, 443, 15008, 15001);
    const host = dice.of("s0", "s1", "s2", "gone");
    const ip = ips[dice.below(ips.length)]!;
    const request: InboundRequest = {
      info: infoOf(local),
      local: dice.chance(0.98) ? local : undefined,
      authority: dice.of(formatAddress({ ip, port }), `${host}:${port}`, dice.of("", ":80", "[::1", "x", "a b:80")),
      destination: pod,
      peer: { ip: dice.of("10.0.0.3", "fd00::3", pod.ip), port: 1 },
      forwardedHost: dice.of(undefined, "s1"),
      forwardedNetwork: dice.of(undefined, "N1", "n2"),
      selfListener: dice.chance(0.1),
    };
    const decision = resolveInbound(of.state, request, SETTINGS);
    expect(resolveInbound(of.state, request, SETTINGS)).toEqual(decision);
    readable(decision.reasons);
    if (!decision.ok) {
      seen.add(`${decision.status} ${decision.error.split(":")[0]}`);
      continue;
    }
    const { dial, policyDestination, proxyDestination, sourceIp } = decision;
    const tunnel = local.applicationTunnel;
    seen.add(`delivered ${tunnel?.protocol}`);
    expect(policyDestination.ip).toBe(pod.ip);
    expect(dial.port).toBe(policyDestination.port);
    if (tunnel?.port === undefined) expect(SETTINGS.illegalPorts).not.toContain(dial.port);
    else expect(dial.port).toBe(tunnel.port);
    expect(proxyDestination !== undefined).toBe(tunnel?.protocol === "PROXY");
    if (proxyDestination !== undefined) {
      expect([isLoopback(dial.ip), sourceIp]).toEqual([true, undefined]);
      continue;
    }
    expect(dial).toEqual(policyDestination);
    if (sourceIp !== undefined) expect([request.selfListener, sourceIp]).toEqual([false, request.peer.ip]);
    const plain = { info: request.info, local, peer: request.peer, destination: dial };
    const plaintext = resolvePlaintext(of.state, plain, SETTINGS);
    expect(plaintext).toMatchObject({ ok: true, dial, policyDestination: dial, proxyDestination: undefined });
    readable(plaintext.reasons);
  }
  for (
    const kind of [
      "delivered undefined",
      "delivered NONE",
      "delivered PROXY",
      "400 ip mismatch",
      "400 no valid authority pseudo header",
      "503 attempted recursive call to ourselves",
      "503 no service or workload for hostname",
      "503 failed to fetch information about local workload",
    ]
  ) expect([...seen]).toContain(kind);
});
