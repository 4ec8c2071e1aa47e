/**
 * The same behaviour over every kind of address: clusters of IPv4, of IPv6 and of both (spec/ztunnel.md §1.5, §2.6, §4.5).
 * What capture.test.ts and security.test.ts check in depth is checked here in breadth.
 */
import { describe, expect, test } from "bun:test";
import { formatAddress } from "../../src/net/address.ts";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf, LAB_NAMESPACE, type PolicyDocument, waypointGateway } from "./mesh/mod.ts";
import { type Addresses, hasIpv6, type LabPod } from "./topology/mod.ts";
import { Conversation, type Destination, doubling, HbonePeer, http1 } from "./traffic/mod.ts";
import type { TunnelEnd } from "./peers/mod.ts";

const PORT = 8080;
const GUARDED = 9090;
const REQUEST = "hello world";
const VIPS = { IPv4: "10.96.0.10", IPv6: "fd96::10" } as const;
const WAYPOINT_VIPS = { IPv4: "10.96.0.11", IPv6: "fd96::11" } as const;
type Family = keyof typeof VIPS;

const familyOf = (ip: string): Family => ip.includes(":") ? "IPv6" : "IPv4";

/** Address of a pod in one family. */
function ipOf(pod: LabPod, family: Family): string {
  const ip = pod.ips.find((candidate) => familyOf(candidate) === family);
  if (ip === undefined) throw new Error(`pod ${pod.name} has no ${family}`);
  return ip;
}

/** DENY of one client by its addresses, at one port. */
function denyAddresses(pod: LabPod): PolicyDocument {
  const whole = (ip: string) => `${ip}/${familyOf(ip) === "IPv6" ? 128 : 32}`;
  return {
    name: "by-address",
    namespace: LAB_NAMESPACE,
    scope: "Namespace",
    action: "Deny",
    rules: [[[{ sourceIps: pod.ips.map(whole), destinationPorts: [GUARDED] }]]],
    dryRun: false,
  };
}

/** Everything below in one cluster, for each family that it has. */
function cluster(
  addresses: Addresses,
  families: readonly Family[],
  environment: Record<string, string> = {},
): () => Mesh {
  let end: TunnelEnd | undefined;
  const pod = (name: string, node: number, captured: boolean) => ({ name, node, captured, addresses });
  const shared = sharedMesh({
    pods: [
      pod("client", 0, true),
      pod("denied", 0, true),
      pod("outsider", 0, false),
      pod("server", 1, true),
      pod("plain", 1, false),
      pod("waypoint", 1, false),
    ],
    meshed: ["client", "denied", "server"],
    environment,
    configuration: (lab) => {
      const ports = { 80: PORT };
      const waypoint = lab.pod("waypoint");
      const to = { destination: `/${waypoint.ip}`, hboneMtlsPort: 15008 };
      const vips = (of: Record<Family, string>) => ({ vips: families.map((family) => `/${of[family]}`) });
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          { pod: lab.pod("denied"), hbone: true },
          { pod: lab.pod("server"), hbone: true, services: { server: ports } },
          { pod: lab.pod("plain"), hbone: false, services: { guarded: ports } },
          { pod: waypoint, hbone: true },
        ],
        services: [
          { name: "server", vip: "", ports, fields: vips(VIPS) },
          { name: "guarded", vip: "", ports, fields: { ...vips(WAYPOINT_VIPS), waypoint: to } },
        ],
        policies: [denyAddresses(lab.pod("denied"))],
      };
    },
  }, async (mesh) => {
    for (const name of ["server", "plain", "outsider"]) mesh.serve(name, PORT, doubling);
    mesh.serve("server", GUARDED, doubling);
    mesh.serve("waypoint", 80, doubling);
    end = await mesh.tunnelEnd("waypoint", identityOf({ pod: mesh.lab.pod("waypoint"), hbone: true }));
  });

  async function exchange(mesh: Mesh, from: string, to: Destination): Promise<string> {
    const conversation = await Conversation.open(mesh.lab.pod(from).namespace, to);
    const { address } = conversation;
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    conversation.finish();
    expect(await conversation.readToEnd()).toBe("");
    return address;
  }

  for (const family of families) {
    const at = (name: string, port: number): Destination => ({ ip: ipOf(shared().lab.pod(name), family), port });

    test(`${family}: captured on both sides, and the application sees the client's address`, async () => {
      const mesh = shared();
      const port = family === "IPv4" ? 8104 : 8106;
      const server = mesh.serve("server", port, doubling);
      const address = await exchange(mesh, "client", at("server", port));
      expect(server.visits.map(({ ip }) => ip)).toEqual([at("client", 0).ip]);
      const line = await mesh.ztunnel(0).endOf(address);
      expect(line.message).toBe("connection complete");
      expect(line.fields).toMatchObject({
        "dst.addr": formatAddress(at("server", 15008)),
        "dst.hbone_addr": formatAddress(at("server", port)),
        "dst.workload": "server",
        "dst.identity": identityOf({ pod: mesh.lab.pod("server"), hbone: true }),
        bytes_sent: "11",
        bytes_recv: "22",
      });
    }, TEST_MS);

    test(`${family}: a service by its VIP leads to an address of the same family`, async () => {
      const mesh = shared();
      const address = await exchange(mesh, "client", { ip: VIPS[family], port: 80 });
      const line = await mesh.ztunnel(0).endOf(address);
      expect(line.message).toBe("connection complete");
      expect(line.fields).toMatchObject({
        "dst.addr": formatAddress(at("server", 15008)),
        "dst.hbone_addr": formatAddress(at("server", PORT)),
        "dst.service": hostnameOf("server"),
      });
    }, TEST_MS);

    test(`${family}: plain TCP out of the mesh, known and unknown, and into it`, async () => {
      const mesh = shared();
      await exchange(mesh, "client", at("plain", PORT));
      await exchange(mesh, "client", at("outsider", PORT));
      const address = await exchange(mesh, "outsider", at("server", PORT));
      const line = await mesh.ztunnel(1).endOf(address);
      expect(line.message).toBe("connection complete");
      expect(line.fields).toMatchObject({ direction: "inbound", "dst.addr": formatAddress(at("server", PORT)) });
      expect(line.fields["src.identity"]).toBeUndefined();
    }, TEST_MS);

    test(`${family}: a policy's CIDR denies its client through the mesh, and nobody else`, async () => {
      const mesh = shared();
      const conversation = await Conversation.open(mesh.lab.pod("denied").namespace, at("server", GUARDED));
      expect(await conversation.write(REQUEST).readToEnd()).toBe("");
      const error = "connection closed due to policy rejection: explicitly denied by: demo/by-address";
      const from = formatAddress(at("denied", 0)).slice(0, -1);
      const line = await mesh.ztunnel(1).accessLine(({ message, fields }) =>
        message !== "connection opened" && (fields["src.addr"] ?? "").startsWith(from)
      );
      expect(line.fields["error"]).toBe(error);
      await exchange(mesh, "client", at("server", GUARDED));
    }, TEST_MS);

    test(`${family}: through a waypoint, which is asked for the VIP of that family`, async () => {
      const mesh = shared();
      const before = end?.seen.length ?? 0;
      const to = { ip: WAYPOINT_VIPS[family], port: 80 };
      const address = await exchange(mesh, "client", to);
      const seen = await end?.asked(before);
      expect(seen?.headers[":authority"]).toBe(formatAddress(to));
      expect(seen?.headers["forwarded"]).toStartWith(`for="${address}"`);
      // The reference is by address: its family decides how the waypoint is reached.
      expect(familyOf(seen?.remote ?? "")).toBe(familyOf(mesh.lab.pod("waypoint").ip));
    }, TEST_MS);

    test(`${family}: an application that calls its own pod is not captured`, async () => {
      const mesh = shared();
      await exchange(mesh, "server", at("server", PORT));
      await exchange(mesh, "server", { ip: family === "IPv6" ? "::1" : "127.0.0.1", port: PORT });
      // A line about them would come before the last one of a connection made later.
      await mesh.ztunnel(1).endOf(await exchange(mesh, "outsider", at("server", PORT)));
      expect(mesh.ztunnel(1).access.filter(({ fields }) => fields["src.workload"] === "server")).toEqual([]);
    }, TEST_MS);

    test(`${family}: a peer by hand, with the authority in brackets where it must be`, async () => {
      const mesh = shared();
      const identity = identityOf({ pod: mesh.lab.pod("client"), hbone: true });
      const certificate = mesh.issuer().issue({ identity });
      const peer = await HbonePeer.connect(mesh.lab.pod("outsider").namespace, at("server", 15008), certificate);
      const cases: readonly [string, number][] = [
        [formatAddress(at("server", PORT)), 200],
        [formatAddress(at("plain", PORT)), 400],
        [`${at("server", 0).ip}:`, 400],
      ];
      for (const [authority, status] of cases) {
        expect([authority, (await peer.connect(authority)).status]).toEqual([authority, status]);
      }
      peer.close();
    }, TEST_MS);
  }
  return shared;
}

/** Addresses that the proxy's own ports in the client's pod are bound to. */
function boundIn(mesh: Mesh): string[] {
  const lines = mesh.lab.pod("client").namespace.run(["ss", "-Hltn"]).trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/)[3] ?? "").filter((address) => /:150(01|06|08)$/.test(address))
    .sort();
}

labSuite("a cluster of IPv4 alone", () => void cluster("ipv4", ["IPv4"]));

labSuite("a cluster of IPv4 with IPV6_ENABLED=false", () => {
  const shared = cluster("ipv4", ["IPv4"], { IPV6_ENABLED: "false" });
  test("its ports are bound to 0.0.0.0", () => {
    expect(boundIn(shared())).toEqual(["0.0.0.0:15001", "0.0.0.0:15006", "0.0.0.0:15008"]);
  });
});

if (hasIpv6()) {
  labSuite("a cluster of IPv6 alone", () => void cluster("ipv6", ["IPv6"]));
  labSuite("a cluster of both", () => {
    const shared = cluster("dual", ["IPv4", "IPv6"]);
    test("its ports take both families", () => {
      const bound = boundIn(shared());
      expect(bound.map((address) => address.replace(/^(\*|\[::\])/, "any"))).toEqual([
        "any:15001",
        "any:15006",
        "any:15008",
      ]);
    });
  });
  labSuite("families that meet", () => familiesMeet());
  labSuite("our own waypoint in a cluster of IPv6 alone", () => ownWaypoint("ipv6", "IPv6"));
} else {
  describe.skip("clusters with IPv6 (this host has none)", () => test("skipped", () => {}));
}

/** Services whose endpoints have not the family that was asked for (spec/ztunnel.md §4.5). */
function familiesMeet(): void {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "four", node: 1, captured: true, addresses: "ipv4" },
      { name: "six", node: 1, captured: true, addresses: "ipv6" },
      { name: "both", node: 1, captured: true },
    ],
    meshed: ["client", "four", "six", "both"],
    configuration: (lab) => {
      const ports = { 80: PORT };
      const service = (name: string, number: number, ipFamilies: string) => ({
        name,
        vip: "",
        ports,
        fields: { vips: [`/10.96.1.${number}`, `/fd96::1:${number}`], ipFamilies },
      });
      const pod = (name: string, service = name) => ({
        pod: lab.pod(name),
        hbone: true,
        services: { [service]: ports },
      });
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          pod("four"),
          pod("six"),
          pod("both", "narrow"),
        ],
        services: [service("four", 4, "Dual"), service("six", 6, "Dual"), service("narrow", 8, "IPv6")],
      };
    },
  }, (mesh) => {
    for (const name of ["four", "six", "both"]) mesh.serve(name, PORT, doubling);
  });
  const cases: readonly [service: string, number: number, pod: string, family: Family][] = [
    ["four", 4, "four", "IPv4"],
    ["six", 6, "six", "IPv6"],
    ["narrow", 8, "both", "IPv6"],
  ];
  for (const [service, number, name, family] of cases) {
    test(`service ${service}: either VIP leads to the endpoint's ${family}`, async () => {
      const mesh = shared();
      const pod = mesh.lab.pod(name);
      for (const ip of [`10.96.1.${number}`, `fd96::1:${number}`]) {
        const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip, port: 80 });
        expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
        conversation.finish();
        const line = await mesh.ztunnel(0).endOf(conversation.address);
        expect(line.message).toBe("connection complete");
        expect(line.fields).toMatchObject({
          "dst.addr": formatAddress({ ip: ipOf(pod, family), port: 15008 }),
          "dst.hbone_addr": formatAddress({ ip: ipOf(pod, family), port: PORT }),
        });
      }
    }, TEST_MS);
  }
}

/** HTTP through ambient as a waypoint. */
function ownWaypoint(addresses: Addresses, family: Family): void {
  const pod = (name: string, node: number, captured: boolean) => ({ name, node, captured, addresses });
  const shared = sharedMesh({
    pods: [pod("client", 0, true), pod("server", 1, true), pod("waypoint", 1, false)],
    meshed: ["client", "server"],
    waypoints: [{ pod: "waypoint" }],
    configuration: (lab) => {
      const ports = { 80: PORT };
      const waypoint = lab.pod("waypoint");
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          { pod: lab.pod("server"), hbone: true, services: { web: ports } },
          { pod: waypoint, hbone: true },
        ],
        services: [{ name: "web", vip: VIPS[family], ports, appProtocols: { 80: "HTTP" }, waypoint }],
        objects: [waypointGateway()],
      };
    },
  });

  test(`a request over ${family} reaches the pod, which sees the waypoint`, async () => {
    const mesh = shared();
    const server = mesh.serve("server", PORT, async (conversation) => {
      await conversation.readUntil("\r\n\r\n");
      conversation.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere");
    });
    const to = { ip: VIPS[family], port: 80 };
    const answer = await http1(mesh.lab.pod("client").namespace, to, { host: hostnameOf("web") });
    expect([answer.status, answer.body.toString()]).toEqual([200, "here"]);
    const waypoint = mesh.lab.pod("waypoint");
    expect(server.visits.map(({ ip }) => ip)).toEqual([waypoint.ip]);
    const line = await mesh.ztunnel(1).accessLine(({ fields }) => fields["direction"] === "inbound");
    expect(line.fields).toMatchObject({
      "src.identity": identityOf({ pod: waypoint, hbone: true }),
      "dst.hbone_addr": formatAddress({ ip: mesh.lab.pod("server").ip, port: PORT }),
    });
  }, TEST_MS);
}
