import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { GrpcChannel, type GrpcChannelOptions } from "../../src/grpc/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { closeFd, connectTcp, listenTcp, openFdCount } from "../../src/linux/mod.ts";
import { ForgingCa, openssl } from "../identity/forging_ca.ts";
import { Random } from "../http2/random.ts";
import { bytesOf, joined } from "./bytes.ts";
import { channelTo, failure, ManualClock, Recorder } from "./client.ts";
import { echo, TestServer, type TestServerOptions } from "./server.ts";

const authority = new ForgingCa();
const stranger = new ForgingCa();
const roots = await authority.ca.rootPem();
const forge = (...names: string[]) =>
  authority.forge(names.length === 0 ? [] : [`subjectAltName = ${names.join(",")}`]);
const certificate = await forge("DNS:istiod.test");

const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});
afterAll(() => {
  authority.remove();
  stranger.remove();
});

function serverOf(of: WorkloadCertificate, options: TestServerOptions = {}): TestServer {
  const server = new TestServer(of, { message: echo, ...options });
  open.push(() => server.stop());
  return server;
}

function channel(port: number, options: Partial<GrpcChannelOptions> = {}): GrpcChannel {
  const made = channelTo(port, roots, options);
  open.push(() => made.close());
  return made;
}

const call = (to: GrpcChannel) => failure(to.unary("/t.S/M", bytesOf("hello"), { timeoutMs: 15_000 }));
const meet = (server: TestServer, options: Partial<GrpcChannelOptions> = {}) => call(channel(server.port, options));

/** A listener that speaks no TLS; it says `greeting` and counts. */
function plainListener(greeting = "", hostname = "127.0.0.1", end = false): { port: number; sockets: Bun.Socket[] } {
  const sockets: Bun.Socket[] = [];
  const listener = Bun.listen({
    hostname,
    port: 0,
    socket: {
      open(socket) {
        sockets.push(socket);
        if (greeting !== "") socket.write(greeting);
        if (end) socket.end();
      },
      data() {},
    },
  });
  open.push(() => listener.stop(true));
  return { port: listener.port, sockets };
}

describe("the server's certificate", () => {
  const tls = /^connect 14: TLS with 127\.0\.0\.1:\d+ failed: /;

  test("of another CA is refused, with its issuer's name", async () => {
    const told = await meet(serverOf(await stranger.forge(["subjectAltName = DNS:istiod.test"])));
    expect(told).toMatch(tls);
    expect(told).toMatch(
      /the server's certificate leads to none of the trusted roots: its issuer is ".+" \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\)$/,
    );
  });

  test("that signed itself is refused", async () => {
    const key = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    const path = `${authority.directory}/self.key`;
    await Bun.write(path, key);
    const self = openssl([
      "req",
      "-x509",
      "-new",
      "-key",
      path,
      "-subj",
      "/CN=istiod.test",
      "-days",
      "1",
      "-addext",
      "subjectAltName=DNS:istiod.test",
    ]);
    const told = await meet(serverOf({ ...certificate, keyPem: key, chainPem: self }));
    expect(told).toContain(
      'leads to none of the trusted roots: its issuer is "CN=istiod.test" (DEPTH_ZERO_SELF_SIGNED_CERT)',
    );
  });

  test("that has expired is refused, with the time", async () => {
    const told = await meet(serverOf(await authority.issueAt("spiffe://cluster.local/ns/a/sa/b", -2 * 3600_000)));
    expect(told).toMatch(tls);
    expect(told).toMatch(
      /the server's certificate expired at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z \(CERT_HAS_EXPIRED\)$/,
    );
  });

  test("that is not valid yet is refused, with the time", async () => {
    const told = await meet(serverOf(await authority.issueAt("spiffe://cluster.local/ns/a/sa/b", 2 * 3600_000)));
    expect(told).toMatch(/the server's certificate is not valid before .*Z \(CERT_NOT_YET_VALID\)$/);
  });

  test("that is for clients only is refused", async () => {
    const client = await authority.forge(["subjectAltName = DNS:istiod.test", "extendedKeyUsage = clientAuth"]);
    expect(await meet(serverOf(client))).toMatch(/\(INVALID_PURPOSE\)$/);
  });

  test.each<[string[], [string, ...string[]]]>([
    [["DNS:istiod.test"], ["istiod.test"]],
    [["DNS:istiod.test"], ["ISTIOD.test."]],
    [["DNS:other", "DNS:istiod.test"], ["istiod.test"]],
    [["DNS:alt.test"], ["istiod.test", "alt.test"]],
    [["DNS:*.istio-system.svc"], ["istiod.istio-system.svc"]],
    [["IP:127.0.0.1"], ["127.0.0.1"]],
    [["IP:fd00::1"], ["fd00:0::1"]],
    [["URI:spiffe://cluster.local/ns/a/sa/b", "DNS:istiod.test"], ["istiod.test"]],
  ])("for %p is good for %p", async (names, serverNames) => {
    expect(await meet(serverOf(await forge(...names)), { serverNames })).toBe("answered hello");
  });

  test.each<[string[], [string, ...string[]], string]>([
    [["DNS:other.test"], ["istiod.test"], "istiod.test, but for DNS:other.test"],
    [
      ["DNS:other.test", "IP:10.0.0.1"],
      ["a.test", "b.test"],
      "a.test or b.test, but for DNS:other.test, IP Address:10.0.0.1",
    ],
    [["DNS:*.test"], ["a.istiod.test"], "a.istiod.test, but for DNS:*.test"],
    [["DNS:i*.test"], ["istiod.test"], "istiod.test, but for DNS:i*.test"],
    [["DNS:*.test"], ["test"], "test, but for DNS:*.test"],
    [["DNS:127.0.0.1"], ["127.0.0.1"], "127.0.0.1, but for DNS:127.0.0.1"],
    [["IP:10.0.0.1"], ["127.0.0.1"], "127.0.0.1, but for IP Address:10.0.0.1"],
    [
      ["URI:spiffe://cluster.local/ns/istio-system/sa/istiod"],
      ["istiod.test"],
      "istiod.test, but for URI:spiffe://cluster.local/ns/istio-system/sa/istiod",
    ],
    [["DNS:istiod.test.evil"], ["istiod.test"], "istiod.test, but for DNS:istiod.test.evil"],
  ])("for %p is not for %p", async (names, serverNames, text) => {
    const server = serverOf(await forge(...names));
    expect(await meet(server, { serverNames })).toMatch(tls);
    expect(await meet(server, { serverNames })).toEndWith(`the server's certificate is not for ${text}`);
    expect(server.calls.length).toBe(0);
  });

  test("without names is good for none, whatever its subject is", async () => {
    const server = serverOf(await authority.forge(["keyUsage = digitalSignature"]));
    expect(await meet(server, { serverNames: ["forged"] })).toMatch(
      /not for forged, but for no name at all \(subject "O=forged \d+"\)$/,
    );
  });

  test("is judged by the roots given and no others", async () => {
    const server = serverOf(certificate);
    expect(await meet(server, { roots: async () => await stranger.ca.rootPem() + roots })).toBe("answered hello");
    expect(await meet(server, { roots: async () => roots + await stranger.ca.rootPem() })).toBe("answered hello");
    expect(await meet(server, { roots: () => stranger.ca.rootPem() })).toContain("none of the trusted roots");
    expect(await meet(server, { roots: () => undefined })).toMatch(
      /none of the trusted roots|no file of trusted roots/,
    );
  });

  test("is not asked for where the roots are no roots", async () => {
    const server = serverOf(certificate);
    const said = (text: string) => `connect 14: no trusted roots to verify 127.0.0.1:${server.port} with: ${text}`;
    expect(await meet(server, { roots: () => "" })).toBe(said("trusted roots: it is empty"));
    expect(await meet(server, { roots: () => "rubbish" })).toBe(said("trusted roots: it holds no PEM certificate"));
    const unreadable = () => Promise.reject(new Error("roots file /r cannot be read"));
    expect(await meet(server, { roots: unreadable })).toBe(said("roots file /r cannot be read"));
    expect(server.connections.length).toBe(0);
  });

  test("roots are read anew at each connect", async () => {
    const server = serverOf(certificate);
    let current = await stranger.ca.rootPem();
    const to = channel(server.port, { roots: () => current });
    expect(await call(to)).toContain("none of the trusted roots");
    current = roots;
    expect(await call(to)).toBe("answered hello");
  });
});

describe("TLS", () => {
  const names = { names: [] as unknown[] };

  test("sends the first name as SNI, and none for an address", async () => {
    names.names = [];
    for (const serverNames of [["istiod.test", "x.test"], ["127.0.0.1", "istiod.test"]] as [string, ...string[]][]) {
      const node = await sniServer(certificate);
      expect(await call(channel(node.port, { serverNames }))).toContain("connect 14: ");
      names.names.push(await node.name);
    }
    expect(names.names).toEqual(["istiod.test", false]);
  });

  test("1.2 only where the policy allows it", async () => {
    const old = serverOf(certificate, { tls: { minVersion: 0x303, maxVersion: 0x303 } as Bun.TLSOptions });
    expect(await meet(old)).toMatch(/^connect 14: TLS with .* failed: /);
    expect(await meet(old, { tlsPolicy: { tls12: true, pqc: false } })).toBe("answered hello");
  });

  test("with a server of another protocol", async () => {
    const other = serverOf(certificate, { tls: { ALPNProtocols: "\x08http/1.1" } as Bun.TLSOptions });
    expect(await meet(other)).toMatch(/^connect 14: TLS with .* failed: /);
  });

  test("with a server without TLS", async () => {
    const { port } = plainListener("HTTP/1.1 400 Bad Request\r\n\r\n");
    expect(await call(channel(port))).toMatch(/^connect 14: TLS with .* failed: .*WRONG_VERSION_NUMBER/);
  });

  test("with a server that leaves", async () => {
    const { port } = plainListener("", "127.0.0.1", true);
    expect(await call(channel(port))).toMatch(
      /^connect 14: TLS with .* failed: the server closed the connection during the handshake$/,
    );
  });
});

describe("a server that is not there", () => {
  /** A port where nobody listens. */
  function freePort(): number {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = listener;
    listener.stop(true);
    return port;
  }

  test("is told with address and reason", async () => {
    const port = freePort();
    expect(await call(channel(port))).toBe(
      `connect 14: cannot connect to 127.0.0.1:${port}: 127.0.0.1:${port}: Connection refused (os error 111)`,
    );
  });

  test("at some of its addresses is found at another", async () => {
    const { port } = serverOf(certificate);
    const lookup = () => Promise.resolve(["127.0.0.2", "::1", "127.0.0.2", "127.0.0.1"]);
    expect(await call(channel(port, { target: { host: "istiod.test", port }, lookup }))).toBe("answered hello");
    const nowhere = () => Promise.resolve(["127.0.0.2", "127.0.0.3"]);
    expect(await call(channel(port, { target: { host: "istiod.test", port }, lookup: nowhere }))).toBe(
      `connect 14: cannot connect to istiod.test:${port}: 127.0.0.2:${port}: Connection refused (os error 111); ` +
        `127.0.0.3:${port}: Connection refused (os error 111)`,
    );
  });

  test("without a name that can be looked up", async () => {
    const of = (lookup: () => Promise<readonly string[]>) =>
      call(channel(1, { target: { host: "istiod.test", port: 1 }, lookup }));
    const unknown = Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "DNS_ENOTFOUND" });
    expect(await of(() => Promise.reject(unknown))).toBe(
      "connect 14: cannot look up istiod.test: there is no such name (ENOTFOUND)",
    );
    expect(await of(() => Promise.resolve([]))).toBe(
      "connect 14: cannot look up istiod.test: the name has no addresses",
    );
    expect(await of(() => Promise.reject(new Error("boom")))).toBe("connect 14: cannot look up istiod.test: boom");
  });

  test("name servers that do not answer are waited for 5 s", async () => {
    const clock = new ManualClock();
    let asked = () => {};
    const asking = new Promise<void>((resolve) => asked = resolve);
    const lookup = () => (asked(), new Promise<never>(() => {}));
    const told = call(channel(1, { target: { host: "istiod.test", port: 1 }, lookup, clock }));
    await asking;
    await turns();
    clock.advance(5_000);
    expect(await told).toBe("connect 14: cannot look up istiod.test: no answer within 5000 ms");
  });

  test("for the system's resolver", async () => {
    expect(await call(channel(1, { target: { host: "istiod.invalid", port: 1 } }))).toStartWith(
      "connect 14: cannot look up istiod.invalid: ",
    );
  });

  test("and swallows packets is given up after 5 s", async () => {
    const full = blackHole();
    const clock = new ManualClock();
    const told = call(channel(full, { clock }));
    await until(() => clock.pending.includes(5_000));
    clock.advance(4_999);
    expect(clock.pending).toContain(1);
    clock.advance(1);
    expect(await told).toBe(
      `connect 14: cannot connect to 127.0.0.1:${full}: 127.0.0.1:${full}: no answer within 5000 ms`,
    );
  });

  test("after the deadline of the call is told so", async () => {
    const clock = new ManualClock();
    const to = channel(blackHole(), { clock });
    const told = failure(to.unary("/t.S/M", bytesOf("x"), { timeoutMs: 2_000 }));
    await until(() => clock.pending.includes(5_000));
    clock.advance(2_000);
    expect(await told).toBe("connect 4: no connection within 2000 ms");
  });

  test("that stalls in the TLS handshake is given up", async () => {
    const clock = new ManualClock();
    const { port, sockets } = plainListener();
    const told = call(channel(port, { clock }));
    await until(() => sockets.length === 1 && clock.pending.includes(5_000));
    clock.advance(5_000);
    clock.advance(5_000);
    expect(await told).toMatch(/failed: the handshake was not completed within 10000 ms$/);
  });

  test("that stalls before its SETTINGS is given up", async () => {
    const clock = new ManualClock();
    const server = serverOf(certificate, { mute: true });
    const told = call(channel(server.port, { clock }));
    await server.until(() => server.connections.length === 1);
    await until(() => clock.pending.length === 2);
    clock.advance(5_000);
    expect(await told).toBe(
      `connect 14: HTTP/2 with 127.0.0.1:${server.port} did not start: no SETTINGS within 5 s`,
    );
    await server.until(() => server.connections[0]?.closed === true);
  });

  /** A port whose accept queue is full: the kernel drops further SYNs. */
  function blackHole(): number {
    const { fd, address } = listenTcp({
      address: { ip: "127.0.0.1", port: 0 },
      backlog: 0,
      reusePort: false,
      reuseAddress: true,
    });
    const fillers = [1, 2, 3].map(() => connectTcp({ destination: address })).filter((x) => typeof x === "number");
    open.push(() => [fd, ...fillers].forEach(closeFd));
    return address.port;
  }
});

describe("keepalive", () => {
  /** A stream on a connection whose time we make. */
  async function streaming(options: TestServerOptions = {}) {
    const clock = new ManualClock();
    const server = serverOf(certificate, { serve: (it) => it.path === "/t.S/Stream" && it.accept(), ...options });
    const to = channel(server.port, { clock });
    const seen = new Recorder();
    const stream = to.stream("/t.S/Stream", seen);
    await seen.until(() => seen.events.includes("open"));
    await server.until(() => server.calls.length === 1);
    return { clock, server, to, seen, stream, connection: server.connections[0]! };
  }

  test("asks after 30 s of silence while there are streams, again and again", async () => {
    const { clock, server, seen, connection } = await streaming();
    clock.advance(29_000);
    await turns();
    expect(connection.pings).toBe(0);
    for (let i = 1; i <= 3; i++) {
      clock.advance(30_000);
      await server.until(() => connection.pings === i);
      await until(() => clock.pending.length > 0);
      await pong(clock);
    }
    expect(seen.over).toBe(false);
  });

  test("asks nothing where there are no streams", async () => {
    const { clock, server, stream, seen, connection } = await streaming();
    stream.cancel();
    await seen.ended();
    await server.until(() => server.calls[0]?.reset !== undefined);
    clock.advance(300_000);
    await turns();
    expect(connection.pings).toBe(0);
    expect(clock.pending).toEqual([]);
  });

  test("gives up a server that does not answer within 10 s; the next call finds another", async () => {
    const { clock, server, to, seen, connection } = await streaming();
    const { socket } = connection;
    socket.pause(); // deaf from here on
    clock.advance(30_000);
    await turns();
    clock.advance(10_000);
    await seen.ended();
    expect(seen.events.at(-1)).toMatch(/^end protocol 14: lost the connection to .*: keepalive timed out$/);
    expect(await call(to)).toBe("answered hello");
    expect(server.connections.length).toBe(2);
  });

  test("a call that nothing answers costs its connection the trust", async () => {
    const { clock, server, to, stream, seen, connection } = await streaming();
    stream.cancel();
    await seen.ended();
    await server.until(() => server.calls[0]?.reset !== undefined);
    connection.socket.pause();
    const told = failure(to.unary("/t.S/M", bytesOf("x"), { timeoutMs: 5_000 }));
    await turns();
    clock.advance(5_000);
    expect(await told).toBe("protocol 4: no answer within 5000 ms");
    expect(await call(to)).toBe("answered hello");
    expect(server.connections.length).toBe(2);
  });

  /** Lets the answer to a PING arrive: the clock must have moved for it to count. */
  async function pong(clock: ManualClock): Promise<void> {
    clock.advance(1);
    await turns();
  }
});

test("servers that speak rubbish inside TLS fail their calls, and cost nothing else", async () => {
  const random = new Random(11);
  const settings = Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
  const server = serverOf(certificate, {
    mute: true,
    greet(socket) {
      const garbage = random.bytes(20 + random.below(400));
      socket.write(random.chance(50) ? joined([settings, garbage]) : garbage);
      socket.end();
    },
  });
  for (let round = 0; round < 60; round++) expect(await meet(server)).toMatch(/^(connect|protocol) \d+: /);
  await server.until(() => server.connections.every(({ closed }) => closed));
});

test("200 connects that fail leave no descriptor behind", async () => {
  const refusing = plainListener("", "127.0.0.1", true);
  const garbage = plainListener("SSH-2.0-x\r\n");
  const strange = serverOf(await stranger.forge(["subjectAltName = DNS:istiod.test"]));
  const other = serverOf(await forge("DNS:other.test"));
  const ports = [1, refusing.port, garbage.port, strange.port, other.port];
  for (const port of ports) await call(channel(port));
  await turns();
  const before = openFdCount();
  for (let i = 0; i < 40; i++) {
    for (const port of ports) expect(await call(channel(port))).toStartWith("connect 14: ");
  }
  await until(() => openFdCount() <= before + 5);
});

test("calls and connections that end leave no descriptor behind", async () => {
  const server = serverOf(certificate);
  const to = channel(server.port);
  await call(to);
  const before = openFdCount();
  for (let i = 0; i < 50; i++) {
    to.renew();
    expect(await call(to)).toBe("answered hello");
  }
  await until(() => openFdCount() <= before + 2);
});

/** Some turns of the event loop, in which I/O that is due is done. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A TLS server of node:tls that tells which name it was asked for, and says no HTTP/2. */
async function sniServer(of: WorkloadCertificate): Promise<{ port: number; name: Promise<unknown> }> {
  const { createServer } = await import("node:tls");
  let told: (name: unknown) => void = () => {};
  const name = new Promise((resolve) => told = resolve);
  const server = createServer({ key: of.keyPem, cert: of.chainPem, ALPNProtocols: ["h2"] }, (socket) => {
    told(socket.servername);
    socket.on("error", () => {});
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(() => server.close());
  return { port: (server.address() as { port: number }).port, name };
}
