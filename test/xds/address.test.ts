/** Conversion of Address resources (spec/ztunnel.md §3.3): what defaults stand for, what is refused, and how it says so. */
import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { AddressSchema, GatewayAddressSchema, ServiceSchema, WorkloadSchema } from "../../proto/gen/workload_pb.ts";
import type { Service, WorkloadUpdate } from "../../src/mesh/mod.ts";
import { decodeAddress } from "../../src/xds/mod.ts";

type WorkloadInit = MessageInitShape<typeof WorkloadSchema>;
type ServiceInit = MessageInitShape<typeof ServiceSchema>;

/** A number that its enum has no name for. */
const unnamed = (number: number) => number as never;

const ip4 = (...bytes: number[]) => Uint8Array.from(bytes);
const ip6 = (start: number[], end: number[]) => {
  const bytes = new Uint8Array(16);
  bytes.set(start);
  bytes.set(end, 16 - end.length);
  return bytes;
};

function workloadBytes(given: WorkloadInit): Uint8Array {
  const value = create(WorkloadSchema, { uid: "u", ...given });
  return toBinary(AddressSchema, create(AddressSchema, { type: { case: "workload", value } }));
}

function serviceBytes(given: ServiceInit): Uint8Array {
  const value = create(ServiceSchema, { name: "s", namespace: "ns", hostname: "s.ns.svc", ...given });
  return toBinary(AddressSchema, create(AddressSchema, { type: { case: "service", value } }));
}

function update(bytes: Uint8Array): WorkloadUpdate {
  const result = decodeAddress(bytes);
  if (!result.ok || result.address.kind !== "workload") throw new Error(result.ok ? "a service" : result.error);
  return result.address.update;
}

function service(given: ServiceInit): Service {
  const result = decodeAddress(serviceBytes(given));
  if (!result.ok || result.address.kind !== "service") throw new Error(result.ok ? "a workload" : result.error);
  return result.address.service;
}

const workload = (given: WorkloadInit) => update(workloadBytes(given)).workload;

function problem(bytes: Uint8Array): string {
  const result = decodeAddress(bytes);
  return result.ok ? "no problem" : result.error;
}

const hostname = { destination: { case: "hostname", value: { namespace: "ns", hostname: "w.ns.svc" } } } as const;

/** A record in which every field says something. */
const FULL: WorkloadInit = {
  uid: "cluster//Pod/ns/pod",
  name: "pod",
  namespace: "ns",
  addresses: [ip4(10, 0, 0, 1), ip6([0xfd], [1])],
  hostname: "pod.example",
  network: "far",
  tunnelProtocol: 1,
  trustDomain: "td",
  serviceAccount: "sa",
  waypoint: { ...hostname, hboneMtlsPort: 15008 },
  networkGateway: {
    destination: { case: "address", value: { network: "far", address: ip4(192, 0, 2, 1) } },
    hboneMtlsPort: 15009,
  },
  node: "node",
  canonicalName: "canonical",
  canonicalRevision: "v2",
  workloadType: 3,
  workloadName: "job",
  nativeTunnel: true,
  applicationTunnel: { protocol: 1, port: 8080 },
  services: {
    "ns/b.ns.svc": { ports: [{ servicePort: 443, targetPort: 8443 }, { servicePort: 80, targetPort: 8080 }] },
    "ns/a.ns.svc": {},
  },
  authorizationPolicies: ["ns/p", "root/q"],
  status: 1,
  clusterId: "cluster",
  locality: { region: "r", zone: "z", subzone: "s" },
  networkMode: 1,
  capacity: 7,
};

describe("workloads", () => {
  test("what empty fields stand for", () => {
    expect(workload({})).toEqual({
      uid: "u",
      name: "",
      namespace: "",
      trustDomain: "cluster.local",
      serviceAccount: "default",
      addresses: [],
      hostname: "",
      network: "",
      protocol: "TCP",
      networkMode: "Standard",
      node: "",
      workloadName: "",
      workloadType: "deployment",
      canonicalName: "",
      canonicalRevision: "",
      clusterId: "Kubernetes",
      locality: { region: "", zone: "", subzone: "" },
      capacity: 1,
      status: "Healthy",
      nativeTunnel: false,
      waypoint: undefined,
      networkGateway: undefined,
      applicationTunnel: undefined,
      authorizationPolicies: [],
      services: [],
    });
  });

  test("every field", () => {
    const { workload, memberships } = update(workloadBytes(FULL));
    expect(workload).toEqual({
      uid: "cluster//Pod/ns/pod",
      name: "pod",
      namespace: "ns",
      addresses: ["10.0.0.1", "fd00::1"],
      hostname: "pod.example",
      network: "far",
      protocol: "HBONE",
      trustDomain: "td",
      serviceAccount: "sa",
      waypoint: {
        destination: { kind: "hostname", namespace: "ns", hostname: "w.ns.svc" },
        hboneMtlsPort: 15008,
      },
      networkGateway: { destination: { kind: "address", network: "far", ip: "192.0.2.1" }, hboneMtlsPort: 15009 },
      node: "node",
      canonicalName: "canonical",
      canonicalRevision: "v2",
      workloadType: "job",
      workloadName: "job",
      nativeTunnel: true,
      applicationTunnel: { protocol: "PROXY", port: 8080 },
      services: ["ns/a.ns.svc", "ns/b.ns.svc"],
      authorizationPolicies: ["ns/p", "root/q"],
      status: "Unhealthy",
      clusterId: "cluster",
      locality: { region: "r", zone: "z", subzone: "s" },
      networkMode: "HostNetwork",
      capacity: 7,
    });
    expect(memberships).toEqual([
      { service: "ns/a.ns.svc", ports: [] },
      { service: "ns/b.ns.svc", ports: [443, 8443, 80, 8080] },
    ]);
  });

  test("a capacity of 0 is one, and means never", () => {
    expect(workload({ capacity: 0 }).capacity).toBe(0);
    expect(workload({ capacity: 0xffff_ffff }).capacity).toBe(0xffff_ffff);
  });

  test("ports are cut to 16 bits; of one port twice the later target counts", () => {
    const ports = [{ servicePort: 65536 + 80, targetPort: 65536 * 3 + 8080 }, { servicePort: 53, targetPort: 53 }, {
      servicePort: 53,
      targetPort: 5353,
    }];
    const { memberships, workload: cut } = update(workloadBytes({
      services: { "ns/s": { ports } },
      waypoint: { ...hostname, hboneMtlsPort: 65536 + 15008 },
      applicationTunnel: { protocol: 0, port: 65536 + 9 },
    }));
    expect(memberships).toEqual([{ service: "ns/s", ports: [80, 8080, 53, 5353] }]);
    expect(cut.waypoint?.hboneMtlsPort).toBe(15008);
    expect(cut.applicationTunnel).toEqual({ protocol: "NONE", port: 9 });
    expect(workload({ applicationTunnel: { protocol: 1, port: 0 } }).applicationTunnel?.port).toBeUndefined();
  });

  test("an IPv4-mapped address is IPv4", () => {
    expect(workload({ addresses: [ip6([], [0xff, 0xff, 10, 0, 0, 1])] }).addresses).toEqual(["10.0.0.1"]);
  });

  const bad: [what: string, given: WorkloadInit, error: string][] = [
    [
      "address of 5 bytes",
      { addresses: [ip4(1, 2, 3, 4), ip4(1, 2, 3, 4, 5)] },
      "addresses[1]: 5 bytes, but an IP address has 4 or 16",
    ],
    ["address of 0 bytes", { addresses: [ip4()] }, "addresses[0]: 0 bytes, but an IP address has 4 or 16"],
    ["sidecars' mTLS", { tunnelProtocol: 2 }, "tunnel_protocol: LEGACY_ISTIO_MTLS is not supported"],
    ["unknown tunnel protocol", { tunnelProtocol: unnamed(3) }, "tunnel_protocol: unknown value 3"],
    ["negative tunnel protocol", { tunnelProtocol: unnamed(-1) }, "tunnel_protocol: unknown value -1"],
    ["unknown network mode", { networkMode: unnamed(2) }, "network_mode: unknown value 2"],
    ["unknown status", { status: unnamed(2) }, "status: unknown value 2"],
    ["unknown workload type", { workloadType: unnamed(4) }, "workload_type: unknown value 4"],
    [
      "unknown application protocol",
      { applicationTunnel: { protocol: unnamed(2) } },
      "application_tunnel.protocol: unknown value 2",
    ],
    ["waypoint without destination", { waypoint: { hboneMtlsPort: 15008 } }, "waypoint: neither address nor hostname"],
    ["gateway without destination", { networkGateway: {} }, "network_gateway: neither address nor hostname"],
    [
      "gateway without address bytes",
      { networkGateway: { destination: { case: "address", value: { network: "n" } } } },
      "network_gateway.address: 0 bytes, but an IP address has 4 or 16",
    ],
    [
      "waypoint with 3 bytes",
      { waypoint: { destination: { case: "address", value: { address: ip4(1, 2, 3) } } } },
      "waypoint.address: 3 bytes, but an IP address has 4 or 16",
    ],
    ["service key", { services: { "s.ns.svc": {} } }, 'services["s.ns.svc"]: the key is not namespace/hostname'],
  ];
  for (const [what, given, error] of bad) {
    test(`refused: ${what}`, () => expect(problem(workloadBytes(given))).toBe(`workload u: ${error}`));
  }

  test("one without uid is named by namespace and name", () => {
    expect(problem(workloadBytes({ uid: "", namespace: "ns", name: "n", status: unnamed(9) }))).toBe(
      "workload ns/n: status: unknown value 9",
    );
  });
});

describe("services", () => {
  test("what empty fields stand for", () => {
    expect(service({})).toEqual({
      name: "s",
      namespace: "ns",
      hostname: "s.ns.svc",
      vips: [],
      cidrVips: [],
      ports: [],
      endpoints: new Map(),
      subjectAltNames: [],
      waypoint: undefined,
      weightedWaypoints: [],
      loadBalancer: undefined,
      ipFamilies: undefined,
      canonical: false,
      visibility: "Public",
    });
  });

  test("every field", () => {
    expect(service({
      addresses: [{ network: "n", address: ip4(10, 96, 0, 1) }, { address: ip4(10, 1, 2, 3), length: 16 }],
      ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 1 }, { servicePort: 443 }],
      subjectAltNames: ["spiffe://td/ns/a/sa/b"],
      waypoint: { ...hostname, hboneMtlsPort: 15008 },
      loadBalancing: { routingPreference: [6, 1, 2, 3, 4, 5], mode: 2, healthPolicy: 1 },
      ipFamilies: 3,
      canonical: true,
      ingressUseWaypoint: true,
      weightedWaypoints: [{ destination: { ...hostname, hboneMtlsPort: 1 }, weight: 80 }],
      visibility: 1,
    })).toMatchObject({
      vips: [{ network: "n", ip: "10.96.0.1" }],
      cidrVips: [{ network: "", cidr: "10.1.0.0/16" }],
      ports: [80, 8080, 443, 0],
      subjectAltNames: ["spiffe://td/ns/a/sa/b"],
      waypoint: { hboneMtlsPort: 15008 },
      loadBalancer: {
        routingPreferences: ["Network", "Region", "Zone", "Subzone", "Node", "Cluster"],
        mode: "Failover",
        healthPolicy: "AllowAll",
      },
      ipFamilies: "Dual",
      canonical: true,
      weightedWaypoints: [{
        destination: { destination: { kind: "hostname", hostname: "w.ns.svc" }, hboneMtlsPort: 1 },
        weight: 80,
      }],
      visibility: "Namespace",
    });
  });

  const addresses: [
    given: { address: Uint8Array; length?: number },
    vip: string | undefined,
    range: string | undefined,
  ][] = [
    [{ address: ip4(10, 0, 0, 1) }, "10.0.0.1", undefined],
    [{ address: ip4(10, 0, 0, 1), length: 32 }, "10.0.0.1", undefined],
    [{ address: ip4(10, 0, 0, 1), length: 31 }, undefined, "10.0.0.0/31"],
    [{ address: ip4(10, 0, 0, 1), length: 0 }, undefined, "0.0.0.0/0"],
    [{ address: ip6([0xfd], [1]) }, "fd00::1", undefined],
    [{ address: ip6([0xfd], [1]), length: 128 }, "fd00::1", undefined],
    [{ address: ip6([0xfd], [1]), length: 32 }, undefined, "fd00::/32"],
    [{ address: ip6([], [0xff, 0xff, 10, 0, 0, 1]), length: 128 }, "10.0.0.1", undefined],
    [{ address: ip6([], [0xff, 0xff, 10, 0, 0, 1]), length: 104 }, undefined, "10.0.0.0/8"],
  ];
  for (const [given, vip, range] of addresses) {
    test(`${given.address.join(".")} of length ${given.length}: ${vip ?? range}`, () => {
      const { vips, cidrVips } = service({ addresses: [given] });
      expect(vips.map(({ ip }) => ip)).toEqual(vip === undefined ? [] : [vip]);
      expect(cidrVips.map(({ cidr }) => cidr)).toEqual(range === undefined ? [] : [range]);
    });
  }

  test("automatic families are left to the addresses; an unknown visibility is public", () => {
    expect([1, 2, 3].map((ipFamilies) => service({ ipFamilies }).ipFamilies)).toEqual(["IPv4", "IPv6", "Dual"]);
    expect(service({ visibility: unnamed(9) }).visibility).toBe("Public");
    expect(service({ loadBalancing: {} }).loadBalancer).toEqual({
      routingPreferences: [],
      mode: "Standard",
      healthPolicy: "OnlyHealthy",
    });
    expect([1, 2, 3].map((mode) => service({ loadBalancing: { mode } }).loadBalancer?.mode)).toEqual([
      "Strict",
      "Failover",
      "Passthrough",
    ]);
  });

  const bad: [what: string, given: ServiceInit, error: string][] = [
    [
      "address of 6 bytes",
      { addresses: [{ address: new Uint8Array(6) }] },
      "addresses[0]: 6 bytes, but an IP address has 4 or 16",
    ],
    ["address without bytes", { addresses: [{}] }, "addresses[0]: 0 bytes, but an IP address has 4 or 16"],
    [
      "IPv4 prefix of 33",
      { addresses: [{ address: ip4(10, 0, 0, 1), length: 33 }] },
      "addresses[0]: 10.0.0.1 has no prefix of 33 bits",
    ],
    [
      "IPv4 prefix of 128",
      { addresses: [{ address: ip4(10, 0, 0, 1), length: 128 }] },
      "addresses[0]: 10.0.0.1 has no prefix of 128 bits",
    ],
    [
      "IPv6 prefix of 129",
      { addresses: [{ address: ip6([0xfd], [1]), length: 129 }] },
      "addresses[0]: fd00::1 has no prefix of 129 bits",
    ],
    ["waypoint without destination", { waypoint: {} }, "waypoint: neither address nor hostname"],
    [
      "weighted waypoint without one",
      { weightedWaypoints: [{ weight: 1 }] },
      "weighted_waypoints[0].destination: missing",
    ],
    [
      "weighted waypoint to nowhere",
      { weightedWaypoints: [{ destination: { ...hostname }, weight: 1 }, { destination: {}, weight: 1 }] },
      "weighted_waypoints[1].destination: neither address nor hostname",
    ],
    [
      "unspecified scope",
      { loadBalancing: { routingPreference: [1, 0] } },
      "load_balancing.routing_preference[1]: unknown value 0",
    ],
    [
      "unknown scope",
      { loadBalancing: { routingPreference: [unnamed(7)] } },
      "load_balancing.routing_preference[0]: unknown value 7",
    ],
    ["unknown mode", { loadBalancing: { mode: unnamed(4) } }, "load_balancing.mode: unknown value 4"],
    [
      "unknown health policy",
      { loadBalancing: { healthPolicy: unnamed(2) } },
      "load_balancing.health_policy: unknown value 2",
    ],
    ["unknown families", { ipFamilies: unnamed(4) }, "ip_families: unknown value 4"],
  ];
  for (const [what, given, error] of bad) {
    test(`refused: ${what}`, () => expect(problem(serviceBytes(given))).toBe(`service ns/s.ns.svc: ${error}`));
  }
});

describe("the wire", () => {
  const LENGTH = WireType.LengthDelimited;
  const write = (fill: (writer: BinaryWriter) => BinaryWriter) => fill(new BinaryWriter()).finish();
  /** Field 1 of an Address. */
  const asWorkload = (body: Uint8Array) => write((writer) => writer.tag(1, LENGTH).bytes(body));

  test("neither workload nor service", () => {
    expect(problem(new Uint8Array(0))).toBe("address: neither workload nor service");
  });

  test("unknown fields are skipped wherever they are", () => {
    const odd = (writer: BinaryWriter) =>
      writer.tag(99, LENGTH).string("x").tag(100, WireType.Varint).uint32(300).tag(101, WireType.Bit32).fixed32(1)
        .tag(102, WireType.Bit64).fixed64(1).tag(103, WireType.StartGroup).tag(1, LENGTH).string("in")
        .tag(103, WireType.EndGroup);
    const locality = write((writer) => odd(writer.tag(1, LENGTH).string("r")));
    const body = write((writer) => odd(odd(writer).tag(20, LENGTH).string("u").tag(24, LENGTH).bytes(locality)));
    const { workload } = update(write((writer) => odd(writer.tag(1, LENGTH).bytes(body))));
    expect(workload).toMatchObject({ uid: "u", locality: { region: "r" } });
  });

  test("of fields that are there twice the last counts; messages are merged, lists joined", () => {
    const first = toBinary(
      WorkloadSchema,
      create(WorkloadSchema, {
        uid: "first",
        status: 1,
        addresses: [ip4(1, 1, 1, 1)],
        locality: { region: "r", zone: "z" },
        services: { "ns/s": { ports: [{ servicePort: 1, targetPort: 1 }] } },
        waypoint: { destination: { case: "address", value: { address: ip4(9, 9, 9, 9) } }, hboneMtlsPort: 7 },
      }),
    );
    const second = toBinary(
      WorkloadSchema,
      create(WorkloadSchema, {
        uid: "second",
        addresses: [ip4(2, 2, 2, 2)],
        locality: { zone: "zz" },
        services: { "ns/s": { ports: [{ servicePort: 2, targetPort: 2 }] } },
        waypoint: { destination: { case: "hostname", value: { namespace: "n", hostname: "h" } } },
      }),
    );
    const merged = update(write((writer) => writer.tag(1, LENGTH).bytes(first).tag(1, LENGTH).bytes(second)));
    expect(merged.workload).toMatchObject({
      uid: "second",
      status: "Unhealthy",
      addresses: ["1.1.1.1", "2.2.2.2"],
      locality: { region: "r", zone: "zz" },
      waypoint: { destination: { kind: "hostname", namespace: "n", hostname: "h" }, hboneMtlsPort: 7 },
    });
    expect(merged.memberships).toEqual([{ service: "ns/s", ports: [2, 2] }]);
  });

  test("of address and hostname the last counts, and what came before the other one is gone", () => {
    const destination = (...parts: MessageInitShape<typeof GatewayAddressSchema>["destination"][]) => {
      const bytes = parts.map((part) =>
        toBinary(GatewayAddressSchema, create(GatewayAddressSchema, { destination: part! }))
      );
      const waypoint = Uint8Array.from(bytes.flatMap((part) => [...part]));
      const body = write((writer) => writer.tag(8, LENGTH).bytes(waypoint));
      return update(asWorkload(body)).workload.waypoint?.destination;
    };
    const name = (hostname: string) => ({ case: "hostname", value: { namespace: "ns", hostname } }) as const;
    const place = (network: string) => ({ case: "address", value: { network, address: ip4(1, 2, 3, 4) } }) as const;
    expect(destination(name("h"), place("n"))).toEqual({ kind: "address", network: "n", ip: "1.2.3.4" });
    expect(destination(place("n"), name("h"))).toEqual({ kind: "hostname", namespace: "ns", hostname: "h" });
    expect(destination(place("n"), name("h"), place(""))).toEqual({ kind: "address", network: "", ip: "1.2.3.4" });
  });

  test("of workload and service the last counts", () => {
    const both = new Uint8Array([...workloadBytes({ status: unnamed(9) }), ...serviceBytes({})]);
    expect(decodeAddress(both)).toMatchObject({ ok: true, address: { kind: "service" } });
    // What was read of the first workload does not count any more.
    const back = new Uint8Array([...both, ...workloadBytes({ name: "again" })]);
    expect(update(back).workload).toMatchObject({ name: "again", status: "Healthy" });
  });

  const bad: [what: string, bytes: Uint8Array, error: string][] = [
    [
      "a text as a number",
      asWorkload(write((w) => w.tag(20, WireType.Varint).uint32(1))),
      "workload: uid: wire type 0, not 2",
    ],
    [
      "an enum as a text",
      asWorkload(write((w) => w.tag(17, LENGTH).string("x"))),
      "workload: status: wire type 2, not 0",
    ],
    [
      "a message as a number",
      asWorkload(write((w) => w.tag(24, WireType.Varint).uint32(1))),
      "workload: locality: wire type 0, not 2",
    ],
    [
      "an address as 4 bytes of fixed32",
      asWorkload(write((w) => w.tag(3, WireType.Bit32).fixed32(1))),
      "workload: addresses: wire type 5, not 2",
    ],
    [
      "a length of 4 GB",
      Uint8Array.of(10, 255, 255, 255, 255, 15),
      "workload: truncated: 4294967295 bytes announced, 0 left",
    ],
    [
      "a text longer than its message",
      asWorkload(Uint8Array.of(10, 5, 65)),
      "workload: name: truncated: 5 bytes announced, 1 left",
    ],
    [
      "a text that reaches into what follows",
      new Uint8Array([...asWorkload(Uint8Array.of(10, 2, 65)), ...asWorkload(new Uint8Array(3))]),
      "workload: name: truncated: 2 bytes announced, 1 left",
    ],
    [
      "a number that reaches into what follows",
      Uint8Array.of(10, 3, 0x88, 0x01, 0xff, 0x01),
      "workload: its last field is longer than the message around it",
    ],
    [
      "a packed number that reaches into what follows",
      Uint8Array.of(18, 6, 66, 4, 10, 1, 0xff, 0x01),
      "service: load_balancing.routing_preference: its last number is longer than the field",
    ],
    ["field 0", asWorkload(Uint8Array.of(2, 0)), "workload: illegal tag: field no 0 wire type 2"],
    ["wire type 7", asWorkload(Uint8Array.of(15, 0)), "workload: illegal tag: field no 1 wire type 7"],
    ["the end of no group", asWorkload(Uint8Array.of(12)), "workload: name: wire type 4, not 2"],
    ["bytes that are not UTF-8", asWorkload(Uint8Array.of(10, 2, 0xc3, 0x28)), "workload: name: not UTF-8"],
    [
      "an endless number",
      asWorkload(Uint8Array.of(0x88, 1, ...new Array<number>(12).fill(255))),
      "workload: status: invalid varint",
    ],
  ];
  for (const [what, bytes, error] of bad) test(`refused: ${what}`, () => expect(problem(bytes)).toBe(error));

  test("nothing of the bytes is kept", () => {
    const bytes = workloadBytes({
      addresses: [ip4(10, 0, 0, 1)],
      name: "a name that is longer than thirty-two bytes are",
      waypoint: { destination: { case: "address", value: { address: ip4(9, 9, 9, 9) } } },
    });
    const { workload } = update(bytes);
    bytes.fill(0);
    expect(workload).toMatchObject({
      uid: "u",
      addresses: ["10.0.0.1"],
      name: "a name that is longer than thirty-two bytes are",
      waypoint: { destination: { ip: "9.9.9.9" } },
    });
  });

  for (const length of [4, 5]) {
    test(`nothing holds the bytes once the last record is read: a gateway of ${length} bytes`, async () => {
      const before = memory();
      const given = { destination: { case: "address", value: { address: new Uint8Array(length) } } } as const;
      const record = workloadBytes({ waypoint: given, networkGateway: given });
      // Two records of one push, of which the last one is of a service that takes the place of a workload.
      for (const bytes of [record, new Uint8Array([...record, ...serviceBytes({})])]) {
        decodeAt(32 << 20, bytes);
        // What has been looked at weakly stays for the turn, and what is on the stack until something else is.
        for (let i = 0; i < 500 && memory() - before > 16 << 20; i++) await Bun.sleep(5);
        expect(memory() - before).toBeLessThan(16 << 20);
      }
    });
  }

  /** Decodes a record that is somewhere in so many bytes. */
  function decodeAt(size: number, record: Uint8Array): void {
    const push = new Uint8Array(size);
    push.set(record, 100);
    decodeAddress(push.subarray(100, 100 + record.length));
  }

  /** Bytes of buffers that are in use. */
  function memory(): number {
    Bun.gc(true);
    return process.memoryUsage().arrayBuffers;
  }

  test("nothing of one record is in the next, of one that is refused neither", () => {
    const nothing = update(workloadBytes({}));
    const full = update(workloadBytes(FULL));
    expect(update(workloadBytes({}))).toEqual(nothing);
    const many = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [`ns/s${i}`, { ports: [{ servicePort: i }] }]),
    );
    for (
      const wrong of [{ workloadType: unnamed(99) }, { addresses: [ip4(1)] }, { services: { ...many, wrong: {} } }]
    ) {
      expect(problem(workloadBytes({ ...FULL, ...wrong }))).not.toBe("no problem");
      expect(update(workloadBytes({}))).toEqual(nothing);
      expect(update(workloadBytes(FULL))).toEqual(full);
    }
    // A port list that needs an index of its own, and a short one after it.
    const ports = Array.from({ length: 1_000 }, (_, i) => ({ servicePort: i + 1, targetPort: 1 }));
    update(workloadBytes({ services: { "ns/long": { ports } } }));
    expect(update(workloadBytes(FULL))).toEqual(full);
    const others = ports.map(({ servicePort }) => ({ servicePort: servicePort + 500, targetPort: 2 }));
    expect(update(workloadBytes({ services: { "ns/long": { ports: others } } })).memberships[0]?.ports).toEqual(
      others.flatMap(({ servicePort, targetPort }) => [servicePort, targetPort]),
    );
    // An entry of a map that does not say its key.
    const entry = write((writer) => writer.tag(2, LENGTH).bytes(new Uint8Array(0)));
    const keyless = asWorkload(write((writer) => writer.tag(22, LENGTH).bytes(entry)));
    expect(problem(keyless)).toBe('workload: services[""]: the key is not namespace/hostname');
  });

  test("long hostnames that end alike are those of their own namespaces", () => {
    const name = `${"x".repeat(60)}.${"y".repeat(60)}.example`;
    for (const service of [`ns/${name}`, `ms/${name}`, `ns/${name}`]) {
      const { workload, memberships } = update(workloadBytes({ services: { [service]: {} } }));
      expect(memberships).toEqual([{ service, ports: [] }]);
      expect(workload.services).toEqual([service]);
    }
  });

  test("what records have in common is one copy", () => {
    const given: WorkloadInit = {
      namespace: "a namespace",
      locality: { region: "r" },
      authorizationPolicies: ["ns/a", "ns/b"],
      services: { "ns/s": { ports: [{ servicePort: 1, targetPort: 2 }] }, "ns/t": {} },
      waypoint: hostname,
    };
    const [one, other] = [update(workloadBytes(given)), update(workloadBytes({ ...given, uid: "other" }))];
    expect(other.memberships).toBe(one.memberships);
    for (const key of ["locality", "authorizationPolicies", "services", "waypoint"] as const) {
      expect(other.workload[key]).toBe(one.workload[key] as never);
    }
  });
});
