/**
 * A waypoint that leaves HBONE to the ztunnel in front of it (applicationTunnel, spec/ztunnel.md §6.5 and §6.6): the
 * application gets the bytes on one port, plain or behind a PROXY protocol version 2 header, which is checked byte by byte.
 */
import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { formatAddress } from "../../src/net/address.ts";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf, LAB_NAMESPACE } from "./mesh/mod.ts";
import { hasIpv6 } from "./topology/mod.ts";
import { Conversation, type Destination, HbonePeer } from "./traffic/mod.ts";

const PORT = 8080;
/** Where the waypoints want what came through tunnels. */
const TUNNEL_PORT = 15088;
const REQUEST = "hello";
const SIGNATURE = "0d0a0d0a000d0a515549540a";
/** TLV of the client's identity. */
const IDENTITY = 0xd0;
const WAYPOINTS = ["proxy", "plain", "elsewhere"] as const;

/** What one connection brought: the address it seemed to come from, the header if there was one, and the payload. */
interface Heard {
  readonly waypoint: string;
  readonly port: number;
  readonly from: string;
  /** Hexadecimal, without the signature. */
  readonly header: string | undefined;
  readonly payload: string;
}

async function hear(conversation: Conversation): Promise<Pick<Heard, "header" | "payload">> {
  const first = await conversation.readBytes(REQUEST.length);
  if (first.toString() === REQUEST) return { header: undefined, payload: REQUEST };
  const rest = await conversation.readBytes(16 - REQUEST.length);
  const fixed = Buffer.concat([first, rest]).toString("hex");
  expect(fixed.slice(0, SIGNATURE.length)).toBe(SIGNATURE);
  const behind = (await conversation.readBytes(rest.readUInt16BE(rest.length - 2))).toString("hex");
  return { header: fixed.slice(SIGNATURE.length) + behind, payload: await conversation.read(REQUEST.length) };
}

function ipBytes(ip: string): Buffer {
  if (!ip.includes(":")) return Buffer.from(ip.split(".").map(Number));
  const [head = "", tail = ""] = ip.split("::");
  const groups = (text: string) => text.split(":").filter(Boolean).map((group) => Number.parseInt(group, 16));
  const zeros = Array(8 - groups(head).length - groups(tail).length).fill(0);
  return Buffer.from([...groups(head), ...zeros, ...groups(tail)].flatMap((group) => [group >> 8, group & 0xff]));
}

/** The header that must come, as `hear` gives it. */
function expectedHeader(source: Destination, destination: Destination, identity: string): string {
  const [six, alsoSix] = [source, destination].map(({ ip }) => ip.includes(":"));
  const family = six !== alsoSix ? 0x01 : six === true ? 0x21 : 0x11;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const addresses = six !== alsoSix ? [] : [ipBytes(source.ip), ipBytes(destination.ip), ports];
  const body = Buffer.concat([
    ...addresses,
    Buffer.from([IDENTITY, identity.length >> 8, identity.length & 0xff]),
    Buffer.from(identity),
  ]);
  return Buffer.concat([Buffer.from([0x21, family, body.length >> 8, body.length & 0xff]), body]).toString("hex");
}

function parseAddress(text: string): Destination {
  const colon = text.lastIndexOf(":");
  return { ip: text.slice(0, colon).replace(/[[\]]/g, ""), port: Number(text.slice(colon + 1)) };
}

labSuite("a waypoint behind its ztunnel", () => {
  const heard: Heard[] = [];
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "raw", node: 0, captured: false },
      { name: "server", node: 1, captured: true },
      ...WAYPOINTS.map((name) => ({ name, node: 1, captured: true })),
    ],
    meshed: ["client", "server", ...WAYPOINTS],
    configuration: (lab) => {
      const ports = { 80: PORT };
      const tunnel = {
        proxy: { protocol: "PROXY", port: TUNNEL_PORT },
        plain: { protocol: "NONE", port: TUNNEL_PORT },
        elsewhere: { protocol: "NONE" },
      };
      const six = hasIpv6();
      const through = (name: string) => ({ destination: `/${name}`, hboneMtlsPort: 15008 });
      const service = (name: string, number: number, waypoint: string) => ({
        name,
        vip: "",
        ports,
        fields: {
          vips: [`/10.96.0.${number}`, ...(six ? [`/fd96::${number}`] : [])],
          waypoint: through(waypoint),
        },
      });
      const proxy = lab.pod("proxy");
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          { pod: lab.pod("server"), hbone: true, services: { one: ports }, waypoint: proxy },
          ...WAYPOINTS.map((name) => ({
            pod: lab.pod(name),
            hbone: true,
            ...(name === "proxy" ? { policies: [`${LAB_NAMESPACE}/tunnel-port`] } : {}),
            fields: { applicationTunnel: tunnel[name] },
          })),
        ],
        services: [
          service("one", 1, proxy.ip),
          service("six", 2, proxy.ip6 ?? proxy.ip),
          service("plain", 3, lab.pod("plain").ip),
          service("elsewhere", 4, lab.pod("elsewhere").ip),
        ],
        // Policies see the port that the bytes go to, not the one that was asked for.
        policies: [{
          name: "tunnel-port",
          namespace: LAB_NAMESPACE,
          scope: "WorkloadSelector",
          action: "Allow",
          rules: [[[{ destinationPorts: [TUNNEL_PORT] }]]],
          dryRun: false,
        }],
      };
    },
  }, (mesh) => {
    for (const waypoint of WAYPOINTS) {
      for (const port of [TUNNEL_PORT, 80]) {
        const server = mesh.serve(waypoint, port, async (conversation) => {
          const from = server.visits.find((visit) => visit.conversation === conversation)?.ip ?? "";
          heard.push({ waypoint, port, from, ...await hear(conversation) });
          conversation.write(`${waypoint} ${port}`).finish();
        });
      }
    }
  });

  /** One exchange with a destination. @returns what the waypoint heard, and whom its ztunnel took the client for */
  async function ask(to: Destination): Promise<{ heard: Heard | undefined; source: Destination; answer: string }> {
    const mesh = shared();
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
    conversation.write(REQUEST).finish();
    const answer = await conversation.readToEnd();
    // Every destination is asked once.
    const line = await mesh.ztunnel(1).accessLine(({ message, fields }) =>
      message === "connection complete" && fields["direction"] === "inbound" &&
      fields["dst.hbone_addr"] === formatAddress(to)
    );
    expect(line.fields["src.identity"]).toBe(identityOf({ pod: mesh.lab.pod("client"), hbone: true }));
    return { heard: heard.pop(), source: parseAddress(line.fields["src.addr"] ?? ""), answer };
  }

  const clientIdentity = () => identityOf({ pod: shared().lab.pod("client"), hbone: true });

  test("sandwich_waypoint_plain: the bytes as they are, on the tunnel's port, from the client's address", async () => {
    const { answer, heard } = await ask({ ip: "10.96.0.3", port: 80 });
    expect(answer).toBe(`plain ${TUNNEL_PORT}`);
    expect(heard).toMatchObject({ header: undefined, payload: REQUEST, from: shared().lab.pod("client").ip });
  }, TEST_MS);

  test("a tunnel that names no port: the port that was asked for", async () => {
    const { answer, heard } = await ask({ ip: "10.96.0.4", port: 80 });
    expect(answer).toBe("elsewhere 80");
    expect(heard).toMatchObject({ header: undefined, payload: REQUEST });
  }, TEST_MS);

  const families: readonly [label: string, vip: string, needsIpv6: boolean][] = [
    ["IPv4", "10.96.0.1", false],
    ["IPv6", "fd96::2", true],
    ["a client of IPv4 and a destination of IPv6: no addresses", "fd96::1", true],
    ["a client of IPv6 and a destination of IPv4: no addresses", "10.96.0.2", true],
  ];
  for (const [label, vip, needsIpv6] of families) {
    test.skipIf(needsIpv6 && !hasIpv6())(
      `sandwich_waypoint_proxy_protocol, ${label}: who asks, for what, and its identity`,
      async () => {
        const to = { ip: vip, port: 80 };
        const { answer, heard, source } = await ask(to);
        expect(answer).toBe(`proxy ${TUNNEL_PORT}`);
        expect(heard?.payload).toBe(REQUEST);
        expect(heard?.header).toBe(expectedHeader(source, to, clientIdentity()));
        // By the pod's own loopback, so nothing captures it.
        expect(["127.0.0.1", "::1", "::ffff:127.0.0.1"]).toContain(heard?.from ?? "");
      },
      TEST_MS,
    );
  }

  test("a pod behind the waypoint by its own address: that address is the destination", async () => {
    const to = { ip: shared().lab.pod("server").ip, port: PORT };
    const { heard, source } = await ask(to);
    expect(heard?.header).toBe(expectedHeader(source, to, clientIdentity()));
  }, TEST_MS);

  test("a hostname as authority: the destination is a VIP of that service", async () => {
    const mesh = shared();
    const identity = identityOf({ pod: mesh.lab.pod("raw"), hbone: true });
    const peer = await HbonePeer.connect(
      mesh.lab.pod("raw").namespace,
      { ip: mesh.lab.pod("proxy").ip, port: 15008 },
      mesh.issuer().issue({ identity }),
    );
    const stream = await peer.connect(`${hostnameOf("one")}:80`);
    expect(stream.status).toBe(200);
    peer.send(stream, REQUEST, true);
    expect(await peer.received(stream, `proxy ${TUNNEL_PORT}`.length)).toBe(`proxy ${TUNNEL_PORT}`);
    peer.close();
    const line = await mesh.ztunnel(1).accessLine(({ fields }) => fields["src.identity"] === identity);
    const source = parseAddress(line.fields["src.addr"] ?? "");
    expect(heard.pop()?.header).toBe(expectedHeader(source, { ip: "10.96.0.1", port: 80 }, identity));
  }, TEST_MS);
});
