/**
 * What the original's tests/direct.rs checks of one ztunnel by itself (spec/ztunnel.md §12.2), and its dedicated mode: a
 * proxy in the pod's own namespace, without an agent.
 */
import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { parseExposition } from "../telemetry/exposition.ts";
import { labSuite, Mesh, PREPARATION_MS, sharedMesh, TEST_MS } from "./fixture.ts";
import { ADMIN_PORT, hostnameOf, identityOf, READINESS_PORT, STATS_PORT, total, type Ztunnel } from "./mesh/mod.ts";
import { eventually, type Lab, LAB_DEADLINE_MS } from "./topology/mod.ts";
import { Conversation, doubling, http1, openThroughSocks, PodServer } from "./traffic/mod.ts";

const PORT = 8080;
const VIP = "10.96.0.10";
const DNS_PORT = 15053;
/** 11 bytes out, 22 back. */
const REQUEST = "hello world";

const plan = {
  pods: [
    { name: "client", node: 0, captured: true },
    { name: "server", node: 1, captured: true },
    { name: "plain", node: 1, captured: false },
    { name: "outsider", node: 0, captured: false },
  ],
  configuration: (lab: Lab) => ({
    workloads: [
      { pod: lab.pod("client"), hbone: true },
      { pod: lab.pod("server"), hbone: true, services: { server: { 80: PORT } } },
      { pod: lab.pod("plain"), hbone: false, services: { plain: { 80: PORT } } },
    ],
    services: [
      { name: "server", vip: VIP, ports: { 80: PORT } },
      { name: "plain", vip: "10.96.0.11", ports: { 80: PORT } },
    ],
  }),
};

/** Runs one ztunnel in the client's pod, with an application in a pod outside the mesh to talk to. */
async function alone(
  environment: Record<string, string>,
  body: (mesh: Mesh, ztunnel: Ztunnel) => Promise<void>,
): Promise<void> {
  const mesh = new Mesh({ ...plan, meshed: [] });
  try {
    mesh.serve("plain", PORT, doubling);
    const ztunnel = mesh.dedicate("client", environment);
    await ztunnel.untilReady();
    await body(mesh, ztunnel);
  } finally {
    await mesh.close();
  }
}

async function hold(mesh: Mesh): Promise<Conversation> {
  const to = { ip: mesh.lab.pod("plain").ip, port: PORT };
  const held = await Conversation.open(mesh.lab.pod("client").namespace, to);
  expect(await held.write(REQUEST).read(22)).toBe("x".repeat(22));
  return held;
}

labSuite("life of a process", () => {
  test(
    "shutdown lifecycle: SIGTERM without connections ends it with 0, and nothing stays bound",
    () =>
      alone({ CONNECTION_TERMINATION_DEADLINE: "60s" }, async (mesh, ztunnel) => {
        // Long before the deadline, or it is killed and ends with another status.
        expect(await ztunnel.process.stop("SIGTERM", LAB_DEADLINE_MS)).toBe(0);
        expect(mesh.lab.pod("client").namespace.run(["ss", "-Hltn"]).trim()).toBe("");
      }),
    PREPARATION_MS,
  );

  test(
    "drain: it ends as soon as its last connection has, long before the deadline",
    () =>
      alone({ CONNECTION_TERMINATION_DEADLINE: "60s" }, async (mesh, ztunnel) => {
        const held = await hold(mesh);
        ztunnel.process.signal("SIGTERM");
        await eventually("the probes to be refused", async () => {
          const asked = await ztunnel.ask(READINESS_PORT, "/healthz/ready").catch((error) => error.code);
          return asked === "ECONNREFUSED";
        });
        expect(await held.write(REQUEST).read(22)).toBe("x".repeat(22));
        expect(ztunnel.process.exitCode).toBeUndefined();
        held.finish();
        expect(await ztunnel.process.exited).toBe(0);
      }),
    PREPARATION_MS,
  );

  test(
    "forced drain: what is still open at the deadline is cut, and its line says why",
    () =>
      alone({ CONNECTION_TERMINATION_DEADLINE: "200ms" }, async (mesh, ztunnel) => {
        const held = await hold(mesh);
        const start = performance.now();
        ztunnel.process.signal("SIGTERM");
        expect(await ztunnel.process.exited).toBe(0);
        // Where nothing is said, it is 5 s.
        expect(performance.now() - start).toBeLessThan(4000);
        expect(await held.readToEnd()).toBe("");
        const line = await ztunnel.endOf(held.address);
        expect(line.message).toBe("connection complete");
        expect(line.fields["error"]).toBe("connection closed due to connection drain");
        const forced = "drain duration expired with pending connections, forcefully shutting down";
        expect(ztunnel.process.lines.some((text) => text.includes(forced))).toBe(true);
      }),
    PREPARATION_MS,
  );

  test("/quitquitquit: POST ends it gracefully, other methods are refused", () =>
    alone({}, async (_, ztunnel) => {
      expect((await ztunnel.ask(ADMIN_PORT, "/quitquitquit")).status).toBe(405);
      const answer = await ztunnel.ask(ADMIN_PORT, "/quitquitquit", "POST");
      expect([answer.status, answer.body]).toEqual([200, "shutdown now\n"]);
      expect(await ztunnel.process.exited).toBe(0);
    }), PREPARATION_MS);
});

labSuite("a port that is taken ends the start", () => {
  const shared = () => new Mesh({ ...plan, meshed: [] });
  const cases: readonly [label: string, port: number][] = [
    ["inbound", 15008],
    ["inbound plaintext", 15006],
    ["outbound", 15001],
    ["admin", ADMIN_PORT],
    ["stats", STATS_PORT],
    ["readiness", READINESS_PORT],
    ["DNS proxy", DNS_PORT],
  ];
  test("bind conflicts: each of its ports", async () => {
    const mesh = shared();
    try {
      for (const [label, port] of cases) {
        const { namespace } = mesh.lab.pod("client");
        const thief = new PodServer(
          namespace,
          port,
          () => {},
          port === ADMIN_PORT || port === DNS_PORT ? "127.0.0.1" : "::",
        );
        const ztunnel = mesh.dedicate("client");
        expect([label, await ztunnel.process.exited]).toEqual([label, 1]);
        const said = ztunnel.process.lines.filter((line) => line.includes(`${port}`));
        expect([label, said.at(-1)]).toEqual([
          label,
          expect.stringMatching(/EADDRINUSE|address already in use|is taken/i),
        ]);
        thief.close();
      }
    } finally {
      await mesh.close();
    }
  }, PREPARATION_MS);
});

labSuite("dedicated mode", () => {
  const proxies = new Map<string, Ztunnel>();
  const shared = sharedMesh({ ...plan, meshed: [], start: false }, async (mesh) => {
    mesh.serve("plain", PORT, doubling);
    for (const pod of ["client", "server"]) proxies.set(pod, mesh.dedicate(pod));
    await Promise.all([...proxies.values()].map((proxy) => proxy.untilReady()));
  });
  const proxy = (pod: string) => proxies.get(pod) as Ztunnel;

  /** One exchange with a new application on `port` of a pod. @returns who visited it, and the client's address */
  async function exchange(from: string, to: string, port: number) {
    const { lab } = shared();
    const server = shared().serve(to, port, doubling);
    const conversation = await Conversation.open(lab.pod(from).namespace, { ip: lab.pod(to).ip, port });
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    conversation.finish();
    expect(await conversation.readToEnd()).toBe("");
    return { visitors: server.visits.map(({ ip }) => ip), address: conversation.address };
  }

  test("cross_node_captured_dedicated: HBONE between two proxies, each in its pod", async () => {
    const { lab } = shared();
    const { visitors, address } = await exchange("client", "server", 8081);
    expect(visitors).toEqual([lab.pod("client").ip]);
    const identities = {
      "src.identity": identityOf({ pod: lab.pod("client"), hbone: true }),
      "dst.identity": identityOf({ pod: lab.pod("server"), hbone: true }),
    };
    const out = await proxy("client").endOf(address);
    expect(out.message).toBe("connection complete");
    expect(out.fields).toMatchObject({ ...identities, direction: "outbound", bytes_sent: "11", bytes_recv: "22" });
    const into = await proxy("server").accessLine(({ message, fields }) =>
      message === "connection complete" && fields["dst.hbone_addr"] === `${lab.pod("server").ip}:8081`
    );
    expect(into.fields).toMatchObject({ ...identities, direction: "inbound", bytes_sent: "22", bytes_recv: "11" });
  }, TEST_MS);

  test("server_uncaptured_dedicated: plain TCP to a pod outside the mesh", async () => {
    const { lab } = shared();
    const { visitors, address } = await exchange("client", "plain", 8082);
    expect(visitors).toEqual([lab.pod("client").ip]);
    const line = await proxy("client").endOf(address);
    expect(line.message).toBe("connection complete");
    expect(line.fields).toMatchObject({ "dst.addr": `${lab.pod("plain").ip}:8082`, "dst.workload": "plain" });
    expect(line.fields["src.identity"]).toBeUndefined();
  }, TEST_MS);

  test("client_uncaptured_dedicated: plaintext from outside the mesh", async () => {
    const { lab } = shared();
    const { visitors, address } = await exchange("outsider", "server", 8083);
    expect(visitors).toEqual([lab.pod("outsider").ip]);
    const line = await proxy("server").endOf(address);
    expect(line.message).toBe("connection complete");
    expect(line.fields).toMatchObject({ direction: "inbound", "dst.workload": "server" });
    expect(line.fields["src.identity"]).toBeUndefined();
  }, TEST_MS);
});

for (const local of [true, false]) {
  labSuite(`asked by SOCKS5 ${local ? "with" : "without"} a local node`, () => {
    const shared = sharedMesh({
      ...plan,
      meshed: ["client", "server"],
      environment: { UNSTABLE_ENABLE_SOCKS5: "true" },
      unnamedNodes: !local,
    }, (mesh) => {
      for (const pod of ["server", "plain", "outsider"]) mesh.serve(pod, PORT, doubling);
    });

    /** One exchange, and the source's line of it. */
    async function ask(host: string, port: number, source = "127.0.0.2") {
      const mesh = shared();
      const conversation = await openThroughSocks(mesh.lab.pod("client").namespace, { host, port }, { source });
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.finish();
      const line = await mesh.ztunnel(0).endOf(conversation.address);
      expect(line.message).toBe("connection complete");
      return line.fields;
    }

    test("a request to an HBONE target", async () => {
      const { ip } = shared().lab.pod("server");
      expect(await ask(ip, PORT)).toMatchObject({
        "src.identity": identityOf({ pod: shared().lab.pod("client"), hbone: true }),
        "dst.addr": `${ip}:15008`,
        "dst.hbone_addr": `${ip}:${PORT}`,
        bytes_sent: "11",
        bytes_recv: "22",
      });
    }, TEST_MS);

    test("a request to a TCP target, known and unknown", async () => {
      const known = shared().lab.pod("plain").ip;
      expect(await ask(known, PORT)).toMatchObject({ "dst.addr": `${known}:${PORT}`, "dst.workload": "plain" });
      const unknown = shared().lab.pod("outsider").ip;
      const fields = await ask(unknown, PORT);
      expect(fields["dst.addr"]).toBe(`${unknown}:${PORT}`);
      expect(fields["dst.workload"]).toBeUndefined();
    }, TEST_MS);

    test("an address that is sent as a name; no method that will do", async () => {
      const { namespace } = shared().lab.pod("client");
      const { ip } = shared().lab.pod("server");
      const conversation = await Conversation.open(namespace, { ip: "127.0.0.1", port: 15080 });
      const name = [3, ip.length, ...Buffer.from(ip)];
      conversation.write(Buffer.from([5, 1, 0, 5, 1, 0, ...name, PORT >> 8, PORT & 0xff]));
      expect((await conversation.readBytes(12)).toString("hex")).toBe("050005000001000000000000");
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.close();
      const other = await Conversation.open(namespace, { ip: "127.0.0.1", port: 15080 });
      expect((await other.write(Buffer.from([5, 1, 2])).readBytes(2)).toString("hex")).toBe("05ff");
      other.close();
    }, TEST_MS);

    test("a request to a VIP of HBONE and of TCP endpoints", async () => {
      const { ip } = shared().lab.pod("server");
      expect(await ask(VIP, 80)).toMatchObject({
        "dst.addr": `${ip}:15008`,
        "dst.hbone_addr": `${ip}:${PORT}`,
        "dst.service": hostnameOf("server"),
      });
      expect(await ask("10.96.0.11", 80)).toMatchObject({
        "dst.addr": `${shared().lab.pod("plain").ip}:${PORT}`,
        "dst.service": hostnameOf("plain"),
      });
    }, TEST_MS);
  });
}

labSuite("metrics of a process", () => {
  const shared = sharedMesh(
    { ...plan, meshed: ["client", "server"] },
    (mesh) => void mesh.serve("server", PORT, doubling),
  );
  /** Families whose meaning is promised; all others say that they may change (spec/ztunnel.md §10.1). */
  const STABLE =
    /^(istio_build|istio_tcp_connections_(opened|closed)|istio_tcp_(received|sent)_bytes|process_(open|max)_fds|tokio_.*)$/;

  async function exchange(): Promise<void> {
    const { lab } = shared();
    const to = { ip: lab.pod("server").ip, port: PORT };
    const conversation = await Conversation.open(lab.pod("client").namespace, to);
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    conversation.finish();
    await conversation.readToEnd();
  }

  const scrape = (acceptEncoding: string) =>
    http1(shared().ztunnel(0).namespace, { ip: "127.0.0.1", port: STATS_PORT }, {
      path: "/metrics",
      fields: acceptEncoding === "" ? [] : [["Accept-Encoding", acceptEncoding]],
    });

  test("stats exist, and all that are not promised are called unstable", async () => {
    await exchange();
    const families = parseExposition((await scrape("")).body.toString());
    for (
      const name of [
        "istio_build",
        "istio_tcp_connections_opened",
        "istio_tcp_connections_closed",
        "istio_tcp_received_bytes",
        "istio_tcp_sent_bytes",
        "istio_tcp_sockets_open",
        "process_open_fds",
        "process_max_fds",
        "workload_manager_active_proxy_count",
        "workload_manager_proxies_started",
      ]
    ) expect([...families.keys()]).toContain(name);
    for (const { name, help } of families.values()) {
      if (!STABLE.test(name)) expect([name, help]).toEqual([name, expect.stringContaining("unstable")]);
    }
  }, TEST_MS);

  test("connection and byte counters: live while the connection is open, closed when it ends", async () => {
    const mesh = shared();
    const labels = { reporter: "source", destination_workload: "server" };
    const read = async () => {
      const samples = await mesh.ztunnel(0).metrics();
      return ["connections_opened", "connections_closed", "received_bytes", "sent_bytes"]
        .map((name) => total(samples, `istio_tcp_${name}_total`, labels));
    };
    // Earlier connections may be ending still.
    const base = await eventually("earlier connections to be closed", async () => {
      const now = await read();
      return now[0] === now[1] && now;
    });
    const delta = async () => (await read()).map((value, index) => value - (base[index] ?? 0));
    const to = { ip: mesh.lab.pod("server").ip, port: PORT };
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
    await conversation.write(REQUEST).read(22);
    await eventually("the bytes of the open connection", async () => `${await delta()}` === "1,0,11,22");
    await conversation.write(REQUEST).read(22);
    conversation.finish();
    await eventually("the bytes of the whole connection", async () => `${await delta()}` === "1,1,22,44");
  }, TEST_MS);

  test("metrics come in gzip, deflate, br and zstd, and decode to the same length", async () => {
    await exchange();
    const decoders: Readonly<Record<string, (body: Buffer<ArrayBuffer>) => Uint8Array>> = {
      gzip: gunzipSync,
      deflate: inflateSync,
      br: brotliDecompressSync,
      zstd: (body) => Bun.zstdDecompressSync(body),
    };
    for (const [encoding, decode] of Object.entries(decoders)) {
      // What is open may differ between two scrapes, but not for long.
      await eventually(`${encoding} of the same length`, async () => {
        const [plain, packed] = [await scrape(""), await scrape(encoding)];
        expect(packed.fields.find(([name]) => name.toLowerCase() === "content-encoding")?.[1]).toBe(encoding);
        expect(packed.body.length).toBeLessThan(plain.body.length);
        return decode(Buffer.from(packed.body)).length === plain.body.length;
      });
    }
  }, TEST_MS);
});
