/** Who gets through and who does not: identities, policies, and calls that try to confuse the proxy. */
import { expect, test } from "bun:test";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "./fixture.ts";
import {
  hostnameOf,
  identityOf,
  LAB_NAMESPACE,
  type LogLine,
  OpensslAuthority,
  type PeerCertificate,
  type PolicyDocument,
  strictPolicy,
} from "./mesh/mod.ts";
import { listenTcp } from "../../src/linux/mod.ts";
import { adoptListener, Conversation, ConversationError, doubling, HbonePeer, httpRequest } from "./traffic/mod.ts";
import { eventually } from "./topology/mod.ts";
import { join } from "node:path";

const PORT = 8080;

/** DENY for one principal, as the original's policies name it: without `spiffe://`. */
function denyPrincipal(name: string, identity: string): PolicyDocument {
  const principal = identity.replace("spiffe://", "");
  return {
    name,
    namespace: LAB_NAMESPACE,
    scope: "Namespace",
    action: "Deny",
    rules: [[[{ principals: [{ Exact: principal }], destinationPorts: [9090] }]]],
    dryRun: false,
  };
}

labSuite("security", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "foreign", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "strict", node: 1, captured: true },
      { name: "raw", node: 0, captured: false },
      { name: "impostor", node: 1, captured: false },
    ],
    meshed: ["client", "foreign", "server", "strict"],
    environment: { UNSTABLE_ENABLE_SOCKS5: "true" },
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("foreign"), hbone: true, trustDomain: "other.example" },
        { pod: lab.pod("server"), hbone: true, services: { server: { 80: PORT }, named: { 80: PORT } } },
        { pod: lab.pod("strict"), hbone: true, policies: [`${LAB_NAMESPACE}/strict`] },
        { pod: lab.pod("raw"), hbone: false },
        // Known as a mesh member, though what listens there is not: a peer to be found out.
        { pod: lab.pod("impostor"), hbone: true },
      ],
      services: [
        { name: "server", vip: "10.96.0.10", ports: { 80: PORT } },
        // A target port by name: each endpoint has its own number for it.
        { name: "named", vip: "10.96.0.11", ports: { 80: 0 } },
      ],
      policies: [strictPolicy("strict"), denyPrincipal("no-raw", "spiffe://cluster.local/ns/demo/sa/raw")],
    }),
  }, (mesh) => {
    mesh.serve("server", PORT, doubling);
    mesh.serve("server", 9090, doubling);
    mesh.serve("strict", PORT, doubling);
  });

  const rawIdentity = () => identityOf({ pod: shared().lab.pod("raw"), hbone: false });
  const peerOf = (mesh: Mesh, certificate: Partial<PeerCertificate>) =>
    HbonePeer.connect(mesh.lab.pod("raw").namespace, { ip: mesh.lab.pod("server").ip, port: 15008 }, certificate);
  const goodPeer = (mesh: Mesh) => peerOf(mesh, mesh.issuer().issue({ identity: rawIdentity() }));

  async function closing<T>(peer: HbonePeer, work: (peer: HbonePeer) => Promise<T>): Promise<T> {
    try {
      return await work(peer);
    } finally {
      peer.close();
    }
  }

  test("a peer with a certificate of the mesh is served: the control for all refusals below", async () => {
    const mesh = shared();
    const { ip } = mesh.lab.pod("server");
    await closing(await goodPeer(mesh), async (peer) => {
      const stream = await peer.connect(`${ip}:${PORT}`);
      expect(stream.status).toBe(200);
      peer.send(stream, "hello world");
      expect((await peer.received(stream, 22)).length).toBe(22);
    });
  }, TEST_MS);

  test("test_policy: a denied CONNECT gets 401 and a log line that names the policy", async () => {
    const mesh = shared();
    await closing(await goodPeer(mesh), async (peer) => {
      const stream = await peer.connect(`${mesh.lab.pod("server").ip}:9090`);
      expect([stream.status, stream.ended]).toEqual([401, true]);
    });
    const denied = "connection closed due to policy rejection: explicitly denied by: demo/no-raw";
    const line = await mesh.ztunnel(1).accessLine((entry) => entry.fields["error"] === denied);
    expect(line.fields["src.identity"]).toBe(rawIdentity());
  }, TEST_MS);

  test("hbone_ip_mismatch: a CONNECT for another pod gets 400, and the line says which", async () => {
    const mesh = shared();
    const [server, strict] = [mesh.lab.pod("server").ip, mesh.lab.pod("strict").ip];
    await closing(await goodPeer(mesh), async (peer) => {
      expect((await peer.connect(`${strict}:${PORT}`)).status).toBe(400);
    });
    const mismatch = `ip mismatch: ${server} != ${strict}`;
    await mesh.ztunnel(1).accessLine((entry) => entry.fields["error"] === mismatch);
  }, TEST_MS);

  const hostnames: readonly [name: string, service: string][] = [
    ["test_svc_hostname_port", "server"],
    ["test_svc_hostname_named_port", "named"],
  ];
  for (const [name, service] of hostnames) {
    test(`${name}: a CONNECT by a service's hostname reaches its target port`, async () => {
      const mesh = shared();
      await closing(await goodPeer(mesh), async (peer) => {
        const stream = await peer.connect(`${hostnameOf(service)}:80`);
        expect(stream.status).toBe(200);
        peer.send(stream, "hello world");
        expect((await peer.received(stream, 22)).length).toBe(22);
      });
    }, TEST_MS);
  }

  test("status codes of what cannot be served", async () => {
    const mesh = shared();
    const { ip } = mesh.lab.pod("server");
    const cases: readonly [string, number][] = [
      [`${hostnameOf("unknown")}:80`, 503],
      [`${hostnameOf("server")}:81`, 503], // not a port of it
      [ip, 400], // no port
      [hostnameOf("server"), 400],
      [":80", 503], // no host
      [`user@${ip}:${PORT}`, 503],
      [`${ip}:65536`, 400],
      [`${ip}:7998`, 503], // nobody listens
      [`${ip}:15008`, 503],
      [`${ip}:15001`, 503],
      [`${ip}:15006`, 503],
      [`${ip}:15080`, 503],
    ];
    await closing(await goodPeer(mesh), async (peer) => {
      for (const [authority, status] of cases) {
        expect([authority, (await peer.connect(authority)).status]).toEqual([authority, status]);
      }
      const get = await peer.request([
        [":method", "GET"],
        [":scheme", "http"],
        [":path", "/"],
        [":authority", `${ip}:${PORT}`],
      ], true);
      expect(get.status).toBe(400);
    });
  }, TEST_MS);

  const badPeers: readonly [string, (mesh: Mesh) => Partial<PeerCertificate>][] = [
    ["no certificate", () => ({})],
    ["an expired certificate", (mesh) => mesh.issuer().issue({ identity: rawIdentity(), days: -1 })],
    [
      "a certificate of another trust domain",
      (mesh) => mesh.issuer().issue({ identity: "spiffe://other.example/ns/demo/sa/raw" }),
    ],
    ["a certificate without a SPIFFE identity", (mesh) => mesh.issuer().issue({})],
    [
      "a certificate of another root",
      (mesh) => OpensslAuthority.create(join(mesh.lab.directory, "stranger")).issue({ identity: rawIdentity() }),
    ],
  ];
  for (const [label, certificate] of badPeers) {
    test(`a peer with ${label} never gets a byte through`, async () => {
      const mesh = shared();
      const port = 8100 + badPeers.findIndex(([name]) => name === label);
      const server = mesh.serve("server", port, doubling);
      let status: number | undefined;
      try {
        await closing(await peerOf(mesh, certificate(mesh)), async (peer) => {
          status = (await peer.connect(`${mesh.lab.pod("server").ip}:${port}`)).status;
        });
      } catch (error) {
        expect(error).toBeInstanceOf(ConversationError);
      }
      expect(status).toBeUndefined();
      // The next good one is served, so the refusal was the certificate's.
      await closing(await goodPeer(mesh), async (peer) => {
        expect((await peer.connect(`${mesh.lab.pod("server").ip}:${port}`)).status).toBe(200);
      });
      await eventually("the good peer's visit", () => server.visits.length > 0);
      expect(server.visits.length).toBe(1);
    }, TEST_MS);
  }

  /** Something on 15008 that shows the certificate and records what ztunnel says to it. */
  function impostor(mesh: Mesh, certificate: PeerCertificate) {
    const heard: number[] = [];
    let handshakes = 0;
    const { fd } = listenTcp({
      namespace: mesh.lab.pod("impostor").namespace.fd,
      address: { ip: "::", port: 15008 },
      backlog: 16,
      reusePort: false,
      reuseAddress: true,
    });
    const listener = adoptListener<undefined>({
      fd,
      tls: { key: certificate.key, cert: certificate.chain, ca: certificate.roots } as Bun.TLSOptions,
      socket: {
        handshake() {
          handshakes++;
        },
        data(_socket, chunk) {
          heard.push(chunk.length);
        },
      },
    });
    return { heard, handshakes: () => handshakes, close: () => listener.stop(true) };
  }

  const badServers: readonly [string, (mesh: Mesh) => PeerCertificate][] = [
    ["another root", (mesh) =>
      OpensslAuthority.create(join(mesh.lab.directory, "stranger")).issue({
        identity: "spiffe://cluster.local/ns/demo/sa/impostor",
      })],
    ["another identity", (mesh) => mesh.issuer().issue({ identity: "spiffe://cluster.local/ns/demo/sa/other" })],
    [
      "an expired certificate",
      (mesh) => mesh.issuer().issue({ identity: "spiffe://cluster.local/ns/demo/sa/impostor", days: -1 }),
    ],
  ];
  for (const [label, certificate] of badServers) {
    test(`a server with ${label} gets no byte, and the client is cut`, async () => {
      const mesh = shared();
      const fake = impostor(mesh, certificate(mesh));
      try {
        const to = { ip: mesh.lab.pod("impostor").ip, port: PORT };
        const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
        conversation.write("secret");
        expect(await conversation.readToEnd()).toBe("");
        const line = await mesh.ztunnel(0).endOf(conversation.address);
        expect(line.fields["error"]).toMatch(/./);
        expect(line.fields["dst.addr"]).toBe(`${to.ip}:15008`);
        expect(fake.heard).toEqual([]);
      } finally {
        fake.close();
      }
    }, TEST_MS);
  }

  test("trust_domain_mismatch_rejected: the client's application sees a reset", async () => {
    const mesh = shared();
    const server = mesh.serve("server", 8120, doubling);
    const to = { ip: mesh.lab.pod("server").ip, port: 8120 };
    const conversation = await Conversation.open(mesh.lab.pod("foreign").namespace, to);
    conversation.write("hello world");
    expect(await conversation.readToEnd()).toBe("");
    await conversation.untilClosed();
    expect(conversation.failure?.code).toBe("ECONNRESET");
    expect(server.visits.length).toBe(0);
  }, TEST_MS);

  test("plaintext is refused where a policy wants an identity, and a mesh client is served there", async () => {
    const mesh = shared();
    const to = { ip: mesh.lab.pod("strict").ip, port: PORT };
    const outside = await Conversation.open(mesh.lab.pod("raw").namespace, to);
    expect(await outside.write("hello world").readToEnd()).toBe("");
    const denied = "connection closed due to policy rejection: explicitly denied by: demo/strict";
    const line = await mesh.ztunnel(1).endOf(outside.address);
    expect(line.fields["error"]).toBe(denied);
    expect(line.fields["src.identity"]).toBeUndefined();
    const inside = await Conversation.open(mesh.lab.pod("client").namespace, to);
    expect(await inside.write("hello world").read(22)).toBe("x".repeat(22));
    inside.close();
  }, TEST_MS);

  test("malicious_calls_inpod: no call to the proxy's own ports loops or reaches what it should not", async () => {
    const mesh = shared();
    const client = mesh.lab.pod("client");
    const six = client.ip6 === undefined ? [] : [client.ip6, "::1"];
    const targets = [client.node.gateway, client.ip, "127.0.0.1", ...six];
    const ports = [15001, 15006, 15008, 15080, 15000, 15020, 15021];
    const opened = async () =>
      (await mesh.ztunnel(0).metrics())
        .filter((sample) => sample.name === "istio_tcp_connections_opened_total")
        .reduce((sum, sample) => sum + sample.value, 0);
    const before = await opened();
    for (const ip of targets) {
      for (const port of ports) {
        const outcome = await httpRequest(client.namespace, { ip, port }, "/healthz/ready", "GET", {
          deadlineMs: 20_000,
        })
          .then((answer) => `${answer.status}`, (error: Error) => error.name);
        // The node's stats and readiness ports listen on all addresses; nothing else may answer HTTP.
        const open = ip === client.node.gateway && (port === 15020 || port === 15021);
        expect([ip, port, outcome === "DeadlineError"]).toEqual([ip, port, false]);
        if (!open) expect([ip, port, /^\d+$/.test(outcome)]).toEqual([ip, port, false]);
      }
    }
    // A loop would multiply connections: at most one or two for each call.
    expect(await opened() - before).toBeLessThanOrEqual(2 * targets.length * ports.length);
    await eventually("no open sockets to remain", async () => {
      const sockets = (await mesh.ztunnel(0).metrics()).filter((sample) => sample.name === "istio_tcp_sockets_open");
      return sockets.every((sample) => sample.value <= 4);
    });
  }, 180_000);

  test("access log lines carry no identity that was not proven", () => {
    const unproven = (line: LogLine) =>
      line.fields["direction"] === "inbound" && line.fields["dst.hbone_addr"] === undefined &&
      line.fields["src.identity"] !== undefined;
    expect(shared().ztunnels.flatMap((ztunnel) => ztunnel.access.filter(unproven))).toEqual([]);
  });
});
