/**
 * The tables of the original's unit tests (spec/ztunnel.md §12.3, proxy/outbound), by the names they have there: which
 * request becomes of a connection from a workload to an address.
 */
import { describe, expect, test } from "bun:test";
import {
  type GatewayAddress,
  type MeshState,
  type OutboundDecision,
  resolveOutbound,
  type Service,
  type Workload,
} from "../../src/mesh/mod.ts";
import { address, infoOf, type Membership, mesh, pod, service, SETTINGS } from "./fixtures.ts";

const source = pod("source", "127.0.0.2", { namespace: "ns", serviceAccount: "source-sa" });
const passthrough = { mode: "Passthrough", routingPreferences: [], healthPolicy: "OnlyHealthy" } as const;

interface Mesh {
  readonly workloads?: Workload[];
  readonly services?: Service[];
  readonly members?: Membership[];
}

function state({ workloads = [], services = [], members = [] }: Mesh): MeshState {
  return mesh({ workloads: [source, ...workloads], services, members });
}

function build(of: MeshState, destination: string, from: Workload = source, downstream?: string): OutboundDecision {
  return resolveOutbound(
    of,
    {
      info: infoOf(from),
      source: from,
      downstream: address(downstream ?? `${from.addresses[0]}:40000`),
      destination: address(destination),
    },
    SETTINGS,
    { random: () => 0 },
  );
}

/** `protocol dial [authority]`, with what is expected of the peer. */
function request(decision: OutboundDecision): string {
  switch (decision.action) {
    case "refuse":
      return `error: ${decision.error}`;
    case "lookup":
      return `lookup ${decision.hostname}`;
    case "hbone": {
      const { dial, authority, inner } = decision;
      const protocol = inner === undefined ? "HBONE" : "DOUBLEHBONE";
      const ip = dial.ip.includes(":") ? `[${dial.ip}]` : dial.ip;
      return `${protocol} ${ip}:${dial.port} ${authority}`;
    }
    default: {
      const { ip, port } = decision.dial;
      const who = decision.workload === undefined ? "unknown" : decision.workload.name;
      return `TCP ${ip.includes(":") ? `[${ip}]` : ip}:${port} ${who}`;
    }
  }
}

function to(ip: string, hboneMtlsPort = 15008, network = ""): GatewayAddress {
  return { destination: { kind: "address", network, ip }, hboneMtlsPort };
}
function named(hostname: string, hboneMtlsPort = 15008): GatewayAddress {
  return { destination: { kind: "hostname", namespace: "ns", hostname }, hboneMtlsPort };
}
const peer = (name: string, ip: string | string[], given: Partial<Workload> = {}) =>
  pod(name, ip, { namespace: "ns", ...given });
const svc = (name: string, vip: string, given: Partial<Service> = {}) =>
  service(name, vip, { namespace: "ns", ...given });

describe("build_request_unknown_dest", () => {
  test("passes through", () => {
    expect(request(build(state({}), "1.2.3.4:80"))).toBe("TCP 1.2.3.4:80 unknown");
  });
});

describe("build_request_known_dest_remote_node", () => {
  const other = { node: "remote-node" };
  const cases: [protocol: "TCP" | "HBONE", expected: string][] = [
    ["TCP", "TCP 127.0.0.3:80 dest"],
    ["HBONE", "HBONE 127.0.0.3:15008 127.0.0.3:80"],
  ];
  test.each(cases)("over %s", (protocol, expected) => {
    const of = state({ workloads: [peer("dest", "127.0.0.3", { protocol, ...other })] });
    expect(request(build(of, "127.0.0.3:80"))).toBe(expected);
  });
});

describe("build_request_known_dest_local_node", () => {
  test("there is no shortcut on the same node", () => {
    const here = (protocol: "TCP" | "HBONE") => state({ workloads: [peer("dest", "127.0.0.3", { protocol })] });
    expect(request(build(here("TCP"), "127.0.0.3:80"))).toBe("TCP 127.0.0.3:80 dest");
    expect(request(build(here("HBONE"), "127.0.0.3:80"))).toBe("HBONE 127.0.0.3:15008 127.0.0.3:80");
  });
});

describe("build_request_wrong_network", () => {
  test("the workload that has the address in another network is not the one meant", () => {
    const of = state({ workloads: [peer("dest", "127.0.0.3", { network: "remote-network" })] });
    expect(request(build(of, "127.0.0.3:80"))).toBe("TCP 127.0.0.3:80 unknown");
  });
});

describe("build_request_host_network", () => {
  test("an address of the node leads to nobody in particular", () => {
    const of = state({ workloads: [peer("dest", "10.9.9.9", { networkMode: "HostNetwork", protocol: "TCP" })] });
    expect(request(build(of, "10.9.9.9:80"))).toBe("TCP 10.9.9.9:80 unknown");
  });
  test("as an endpoint of a service it is reached nevertheless", () => {
    const dest = peer("dest", "10.9.9.9", { networkMode: "HostNetwork", protocol: "TCP" });
    const web = svc("web", "10.96.0.1");
    const of = state({ workloads: [dest], services: [web], members: [{ of: web, workload: dest }] });
    expect(request(build(of, "10.96.0.1:80"))).toBe("TCP 10.9.9.9:8080 dest");
  });
});

describe("build_request_source_waypoint", () => {
  test("the source's own waypoint is not asked", () => {
    const waypoint = peer("waypoint", "127.0.0.10");
    const behind = { ...source, waypoint: to("127.0.0.10") };
    const of = mesh({ workloads: [behind, waypoint, peer("dest", "127.0.0.3")] });
    expect(request(build(of, "127.0.0.3:80", behind))).toBe("HBONE 127.0.0.3:15008 127.0.0.3:80");
  });
});

describe("build_request_destination_waypoint", () => {
  const waypoint = peer("waypoint", "127.0.0.10", { serviceAccount: "waypoint-sa" });
  const dest = (protocol: "TCP" | "HBONE") => peer("dest", "127.0.0.3", { protocol, waypoint: to("127.0.0.10") });

  test("takes connections to the workload, whatever that speaks", () => {
    for (const protocol of ["TCP", "HBONE"] as const) {
      const decision = build(state({ workloads: [waypoint, dest(protocol)] }), "127.0.0.3:80");
      expect(request(decision)).toBe("HBONE 127.0.0.10:15008 127.0.0.3:80");
      expect(decision).toMatchObject({
        workload: waypoint,
        service: undefined,
        expectedIdentities: ["spiffe://cluster.local/ns/ns/sa/waypoint-sa"],
      });
    }
  });
  test("by hostname of a workload", () => {
    const way = { ...waypoint, hostname: "way.example" };
    const behind = { ...dest("HBONE"), waypoint: named("way.example") };
    expect(request(build(state({ workloads: [way, behind] }), "127.0.0.3:80")))
      .toBe("HBONE 127.0.0.10:15008 127.0.0.3:80");
  });
  test("that is not there: no connection", () => {
    expect(request(build(state({ workloads: [dest("HBONE")] }), "127.0.0.3:80")))
      .toBe("error: unknown waypoint: /127.0.0.10");
  });
});

describe("build_request_from_waypoint", () => {
  const waypoint = peer("waypoint", "127.0.0.10", { serviceAccount: "waypoint-sa" });
  const dest = peer("dest", "127.0.0.3", { waypoint: to("127.0.0.10") });
  const of = state({ workloads: [waypoint, dest] });
  const direct = "HBONE 127.0.0.3:15008 127.0.0.3:80";
  const again = "HBONE 127.0.0.10:15008 127.0.0.3:80";
  const cases: [name: string, from: Workload, downstream: string, expected: string][] = [
    ["identity and address", waypoint, "127.0.0.10:1", direct],
    ["mismatch ip: the identity alone", waypoint, "127.0.0.11:1", again],
    ["the address alone", { ...waypoint, serviceAccount: "other" }, "127.0.0.10:1", again],
    ["neither", source, "127.0.0.2:1", again],
  ];
  test.each(cases)("%s", (_name, from, downstream, expected) => {
    expect(request(build(of, "127.0.0.3:80", from, downstream))).toBe(expected);
  });
});

describe("build_request_destination_svc_waypoint", () => {
  const waypoint = peer("waypoint", "127.0.0.10", { serviceAccount: "waypoint-sa" });
  const waypointService = svc("waypoint", "10.96.0.2", { ports: [15008, 15009] });
  const dest = peer("dest", "127.0.0.3");
  const of = (given: Partial<Service>) => {
    const web = svc("web", "10.96.0.1", given);
    return state({
      workloads: [waypoint, dest],
      services: [web, waypointService],
      members: [{ of: web, workload: dest }, { of: waypointService, workload: waypoint }],
    });
  };
  const cases: [name: string, reference: GatewayAddress, expected: string][] = [
    ["by address of the workload", to("127.0.0.10"), "HBONE 127.0.0.10:15008 10.96.0.1:80"],
    ["by address of the service", to("10.96.0.2"), "HBONE 127.0.0.10:15009 10.96.0.1:80"],
    ["by hostname of the service", named(waypointService.hostname), "HBONE 127.0.0.10:15009 10.96.0.1:80"],
    ["unknown", to("10.96.0.99"), "error: unknown waypoint: /10.96.0.99"],
  ];
  test.each(cases)("%s", (_name, reference, expected) => {
    const decision = build(of({ waypoint: reference }), "10.96.0.1:80");
    expect(request(decision)).toBe(expected);
    if (decision.action === "hbone") expect(decision.service?.hostname).toBe("web.ns.svc.cluster.local");
  });
  test("build_request_passthrough_svc_with_waypoint", () => {
    expect(request(build(of({ waypoint: to("10.96.0.2"), loadBalancer: passthrough }), "10.96.0.1:80")))
      .toBe("HBONE 127.0.0.10:15009 10.96.0.1:80");
  });
  test("build_request_passthrough_svc", () => {
    const decision = build(of({ loadBalancer: passthrough }), "10.96.0.1:80");
    expect(request(decision)).toBe("TCP 10.96.0.1:80 unknown");
    expect(decision).toMatchObject({ action: "passthrough", service: undefined });
    // Nor is a port asked for that the service has not.
    expect(request(build(of({ loadBalancer: passthrough }), "10.96.0.1:99"))).toBe("TCP 10.96.0.1:99 unknown");
  });
  test("the endpoint by its own address: the service's waypoint is not for it", () => {
    expect(request(build(of({ waypoint: to("10.96.0.2") }), "127.0.0.3:80"))).toBe(
      "HBONE 127.0.0.3:15008 127.0.0.3:80",
    );
  });
});

describe("build_request_target_port", () => {
  const dest = peer("dest", "127.0.0.3");
  const cases: [name: string, ports: number[], own: number[], expected: string][] = [
    ["the service's", [80, 8080], [], "HBONE 127.0.0.3:15008 127.0.0.3:8080"],
    ["the endpoint's own before it", [80, 8080], [80, 9000], "HBONE 127.0.0.3:15008 127.0.0.3:9000"],
    ["a named one, told by the endpoint", [80, 0], [80, 9000], "HBONE 127.0.0.3:15008 127.0.0.3:9000"],
    ["a named one that the endpoint has not", [80, 0], [], "error: no healthy upstream: 10.96.0.1:80"],
    ["of another port only", [90, 8080], [], "error: no healthy upstream: 10.96.0.1:80"],
    [
      "of the endpoint only: the service has to list it",
      [90, 8080],
      [80, 9000],
      "error: no healthy upstream: 10.96.0.1:80",
    ],
  ];
  test.each(cases)("%s", (_name, ports, own, expected) => {
    const web = svc("web", "10.96.0.1", { ports });
    const of = state({ workloads: [dest], services: [web], members: [{ of: web, workload: dest, ports: own }] });
    expect(request(build(of, "10.96.0.1:80"))).toBe(expected);
  });
  test("TCP goes to the target port itself", () => {
    const plain = { ...dest, protocol: "TCP" } as const;
    const web = svc("web", "10.96.0.1");
    const of = state({ workloads: [plain], services: [web], members: [{ of: web, workload: plain }] });
    expect(request(build(of, "10.96.0.1:80"))).toBe("TCP 127.0.0.3:8080 dest");
  });
});

describe("build_request_empty_service", () => {
  test("is an error, not a passthrough", () => {
    expect(request(build(state({ services: [svc("web", "10.96.0.1")] }), "10.96.0.1:80")))
      .toBe("error: no healthy upstream: 10.96.0.1:80");
  });
  test("as are endpoints that nothing is known of, or that are unhealthy", () => {
    const web = svc("web", "10.96.0.1");
    const ghost = peer("ghost", "127.0.0.3");
    const ill = peer("ill", "127.0.0.4", { status: "Unhealthy" });
    const of = state({
      workloads: [ill],
      services: [web],
      members: [{ of: web, workload: ghost }, { of: web, workload: ill }],
    });
    expect(request(build(of, "10.96.0.1:80"))).toBe("error: no healthy upstream: 10.96.0.1:80");
    const all = { mode: "Standard", routingPreferences: [], healthPolicy: "AllowAll" } as const;
    const tolerant = svc("web", "10.96.0.1", { loadBalancer: all });
    const serving = state({ workloads: [ill], services: [tolerant], members: [{ of: tolerant, workload: ill }] });
    expect(request(build(serving, "10.96.0.1:80"))).toBe("HBONE 127.0.0.4:15008 127.0.0.4:8080");
  });
});

describe("build_request_dual_stack and build_request_ip_families", () => {
  const both = ["127.0.0.3", "ff06::c3"];
  const cases: [ips: string[], families: Service["ipFamilies"], asked: string, expected: string][] = [
    [both, undefined, "10.96.0.1:80", "HBONE 127.0.0.3:15008 127.0.0.3:8080"],
    [both, undefined, "[fd00:96::1]:80", "HBONE [ff06::c3]:15008 [ff06::c3]:8080"],
    [both, "Dual", "[fd00:96::1]:80", "HBONE [ff06::c3]:15008 [ff06::c3]:8080"],
    [both, "IPv4", "[fd00:96::1]:80", "HBONE 127.0.0.3:15008 127.0.0.3:8080"],
    [both, "IPv6", "10.96.0.1:80", "HBONE [ff06::c3]:15008 [ff06::c3]:8080"],
    // Without an address of the family, the other one will do.
    [["127.0.0.3"], undefined, "[fd00:96::1]:80", "HBONE 127.0.0.3:15008 127.0.0.3:8080"],
    [["ff06::c3"], undefined, "10.96.0.1:80", "HBONE [ff06::c3]:15008 [ff06::c3]:8080"],
    [
      ["127.0.0.3"],
      "IPv6",
      "10.96.0.1:80",
      "error: no valid routing destination for workload: Workload{dest with uid Kubernetes//Pod/ns/dest (HBONE)}",
    ],
  ];
  test.each(cases)("%p of %p, asked for %s", (ips, ipFamilies, asked, expected) => {
    const vips = [{ network: "", ip: "10.96.0.1" }, { network: "", ip: "fd00:96::1" }];
    const web = svc("web", "", { vips, ipFamilies });
    const dest = peer("dest", ips);
    const of = state({ workloads: [dest], services: [web], members: [{ of: web, workload: dest }] });
    expect(request(build(of, asked))).toBe(expected);
  });
  test("a workload by either of its addresses: that very one", () => {
    const of = state({ workloads: [peer("dest", both)] });
    expect(request(build(of, "[ff06::c3]:80"))).toBe("HBONE [ff06::c3]:15008 [ff06::c3]:80");
    expect(request(build(of, "127.0.0.3:80"))).toBe("HBONE 127.0.0.3:15008 127.0.0.3:80");
  });
});

describe("build_request_double_hbone", () => {
  const gateway = peer("gateway", "192.0.2.1", { network: "remote", serviceAccount: "gateway-sa" });
  const gatewayService = svc("gateway", "", {
    vips: [{ network: "remote", ip: "192.0.2.100" }],
    ports: [15008, 15009],
  });
  const web = (given: Partial<Service> = {}) =>
    svc("web", "10.96.0.1", { subjectAltNames: ["spiffe://remote/ns/ns/sa/web"], ...given });
  const of = (networkGateway: GatewayAddress, given: { web?: Partial<Service>; local?: Workload["status"] } = {}) => {
    const remote = peer("remote", [], { network: "remote", networkGateway });
    const local = peer("local", "127.0.0.3", { status: given.local ?? "Unhealthy" });
    return state({
      workloads: [gateway, remote, local],
      services: [web(given.web), gatewayService],
      members: [
        { of: web(), workload: remote },
        { of: web(), workload: local },
        { of: gatewayService, workload: gateway },
      ],
    });
  };
  const cases: [name: string, reference: GatewayAddress, expected: string][] = [
    ["by address", to("192.0.2.1", 15008, "remote"), "DOUBLEHBONE 192.0.2.1:15008 web.ns.svc.cluster.local:80"],
    [
      "by address of a service",
      to("192.0.2.100", 15008, "remote"),
      "DOUBLEHBONE 192.0.2.1:15009 web.ns.svc.cluster.local:80",
    ],
    ["by hostname", named(gatewayService.hostname), "DOUBLEHBONE 192.0.2.1:15009 web.ns.svc.cluster.local:80"],
    ["unknown", to("192.0.2.9", 15008, "remote"), "error: unknown network gateway: remote/192.0.2.9"],
  ];
  test.each(cases)("%s", (_name, reference, expected) => {
    const decision = build(of(reference), "10.96.0.1:80");
    expect(request(decision)).toBe(expected);
    if (decision.action !== "hbone") return;
    expect(decision.expectedIdentities).toEqual(["spiffe://cluster.local/ns/ns/sa/gateway-sa"]);
    expect(decision.inner?.expectedIdentities).toEqual(["spiffe://remote/ns/ns/sa/web"]);
  });
  test("build_request_failover_to_remote: only when no local endpoint is healthy", () => {
    const loadBalancer = {
      mode: "Failover",
      routingPreferences: ["Network", "Region"],
      healthPolicy: "OnlyHealthy",
    } as const;
    const reference = to("192.0.2.1", 15008, "remote");
    expect(request(build(of(reference, { web: { loadBalancer }, local: "Healthy" }), "10.96.0.1:80")))
      .toBe("HBONE 127.0.0.3:15008 127.0.0.3:8080");
    expect(request(build(of(reference, { web: { loadBalancer } }), "10.96.0.1:80")))
      .toBe("DOUBLEHBONE 192.0.2.1:15008 web.ns.svc.cluster.local:80");
  });
});
