import { afterAll, describe, expect, test } from "bun:test";
import type { GrpcChannelOptions } from "../../src/grpc/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { closeFd, connectTcp, listenTcp, openFdCount } from "../../src/linux/mod.ts";
import { Random } from "../http2/random.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { bytesOf, joined } from "./bytes.ts";
import { failure, ManualClock } from "./client.ts";
import { fixture, outcome, plainListener, turns, until } from "./fixture.ts";
import { echo, type TestServer, type TestServerOptions } from "./server.ts";

const { authority, certificate, channel, later, ...made } = await fixture();
const stranger = new ForgingCa();
afterAll(() => stranger.remove());
const forge = (...names: string[]) => authority.forge([`subjectAltName = ${names.join(",")}`]);
const serverOf = (of: WorkloadCertificate, options: TestServerOptions = {}) =>
  made.server({ message: echo, ...options }, of);
const meet = (server: TestServer, options: Partial<GrpcChannelOptions> = {}) => outcome(channel(server.port, options));

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
    expect(await outcome(channel(port))).toBe(
      `connect 14: cannot connect to 127.0.0.1:${port}: 127.0.0.1:${port}: Connection refused (os error 111)`,
    );
  });

  test("at some of its addresses is found at another", async () => {
    const { port } = serverOf(certificate);
    const lookup = () => Promise.resolve(["127.0.0.2", "::1", "127.0.0.2", "127.0.0.1"]);
    expect(await outcome(channel(port, { target: { host: "istiod.test", port }, lookup }))).toBe("answered hello");
    const nowhere = () => Promise.resolve(["127.0.0.2", "127.0.0.3"]);
    expect(await outcome(channel(port, { target: { host: "istiod.test", port }, lookup: nowhere }))).toBe(
      `connect 14: cannot connect to istiod.test:${port}: 127.0.0.2:${port}: Connection refused (os error 111); ` +
        `127.0.0.3:${port}: Connection refused (os error 111)`,
    );
  });

  test("without a name that can be looked up", async () => {
    const of = (lookup: () => Promise<readonly string[]>) =>
      outcome(channel(1, { target: { host: "istiod.test", port: 1 }, lookup }));
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
    const told = outcome(channel(1, { target: { host: "istiod.test", port: 1 }, lookup, clock }));
    await asking;
    await turns();
    clock.advance(5_000);
    expect(await told).toBe("connect 14: cannot look up istiod.test: no answer within 5000 ms");
  });

  test("for the system's resolver", async () => {
    expect(await outcome(channel(1, { target: { host: "istiod.invalid", port: 1 } }))).toStartWith(
      "connect 14: cannot look up istiod.invalid: ",
    );
  });

  test("and swallows packets is given up after 5 s", async () => {
    const full = blackHole();
    const clock = new ManualClock();
    const told = outcome(channel(full, { clock }));
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
    const { port, sockets } = plainListener(later, "", false);
    const told = outcome(channel(port, { clock }));
    await until(() => sockets.length === 1 && clock.pending.includes(5_000));
    clock.advance(5_000);
    clock.advance(5_000);
    expect(await told).toMatch(/failed: the handshake was not completed within 10000 ms$/);
  });

  test("that stalls before its SETTINGS is given up", async () => {
    const clock = new ManualClock();
    const server = serverOf(certificate, { mute: true });
    const told = outcome(channel(server.port, { clock }));
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
    later(() => [fd, ...fillers].forEach(closeFd));
    return address.port;
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
  const refusing = plainListener(later, "", true);
  const garbage = plainListener(later, "SSH-2.0-x\r\n", false);
  const strange = serverOf(await stranger.forge(["subjectAltName = DNS:istiod.test"]));
  const other = serverOf(await forge("DNS:other.test"));
  const ports = [1, refusing.port, garbage.port, strange.port, other.port];
  for (const port of ports) await outcome(channel(port));
  await turns();
  const before = openFdCount();
  for (let i = 0; i < 40; i++) {
    for (const port of ports) expect(await outcome(channel(port))).toStartWith("connect 14: ");
  }
  await until(() => openFdCount() <= before + 5);
});

test("calls and connections that end leave no descriptor behind", async () => {
  const server = serverOf(certificate);
  const to = channel(server.port);
  await outcome(to);
  const before = openFdCount();
  for (let i = 0; i < 50; i++) {
    to.renew();
    expect(await outcome(to)).toBe("answered hello");
  }
  await until(() => openFdCount() <= before + 2);
});
