import type { Buffer } from "node:buffer";
import { afterAll, describe, expect, test } from "bun:test";
import { parseIdentity } from "../../src/identity/mod.ts";
import {
  clientContext,
  DEFAULT_TLS_POLICY,
  serverContext,
  type TlsContext,
  type TlsPolicy,
  verifyClient,
  verifyServer,
} from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { type ClientHello, EXTENSION, parseClientHello } from "./client_hello.ts";
import { encounter, type Judge, listen, MESSAGE, Observer } from "./encounter.ts";

const SERVER = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const TLS12: TlsPolicy = { tls12: true, pqc: false };
const PQC: TlsPolicy = { tls12: false, pqc: true };
const GROUP = { p256: 23, p384: 24, x25519: 29, x25519mlkem768: 4588 } as const;

const mesh = new ForgingCa();
afterAll(() => mesh.remove());

const own = parseIdentity(SERVER) ?? { trustDomain: "", namespace: "", serviceAccount: "" };
const atServer: Judge = (socket, ok, error) => verifyClient(socket, ok, error, own);
const atClient: Judge = (socket, ok, error) => verifyServer(socket, ok, error, [SERVER]);

/** What a client with this context opens a connection with. */
async function helloOf(tls: TlsContext): Promise<ClientHello> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        resolve(bytes);
        socket.terminate();
      },
    },
  });
  const silent = { open() {}, handshake() {}, data() {}, close() {}, error() {} };
  await Bun.connect({ hostname: "127.0.0.1", port: listener.port, tls, socket: silent });
  const hello = parseClientHello(await promise);
  listener.stop(true);
  return hello;
}

describe("the client's hello", () => {
  test("is TLS 1.3 with h2, our groups, no SNI and no ticket", async () => {
    const hello = await helloOf(clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY));
    expect(hello.versions).toEqual([0x304]);
    expect(hello.alpn).toEqual(["h2"]);
    expect(hello.groups).toEqual([GROUP.x25519, GROUP.p256, GROUP.p384, GROUP.x25519mlkem768]);
    expect(hello.keyShares).toEqual([GROUP.x25519, GROUP.x25519mlkem768]); // the first, and the runtime adds the hybrid
    expect(hello.extensions).not.toContain(EXTENSION.serverName);
    expect(hello.extensions).not.toContain(EXTENSION.preSharedKey);
    expect(hello.extensions).not.toContain(EXTENSION.sessionTicket);
  });

  test("has only the hybrid group for post-quantum compliance, and TLS 1.3 whatever else is enabled", async () => {
    const hello = await helloOf(clientContext(await mesh.issue(CLIENT), { tls12: true, pqc: true }));
    expect(hello.groups).toEqual([GROUP.x25519mlkem768]);
    expect(hello.keyShares).toEqual([GROUP.x25519mlkem768]);
    expect(hello.versions).toEqual([0x304]);
  });

  test("offers TLS 1.2 with ECDHE and AES-GCM only where that is enabled", async () => {
    const hello = await helloOf(clientContext(await mesh.issue(CLIENT), TLS12));
    expect(hello.versions).toEqual([0x304, 0x303]);
    const suites = hello.cipherSuites.filter((suite) => suite >> 8 !== 0x13);
    expect(suites).toEqual([0xc02c, 0xc02b, 0xc030, 0xc02f]);
  });
});

describe("policies meet", () => {
  const versionOf = async (server: TlsPolicy, client: TlsPolicy, change: Partial<TlsContext> = {}) => {
    const outcome = await encounter(
      { tls: serverContext(await mesh.issue(SERVER), server), judge: atServer },
      { tls: { ...clientContext(await mesh.issue(CLIENT), client), ...change }, judge: atClient },
    );
    return outcome.server.verdict?.ok ? outcome.server.version : "refused";
  };

  test("post-quantum only", async () => {
    expect(await versionOf(PQC, PQC)).toBe("TLSv1.3");
    expect(await versionOf(PQC, DEFAULT_TLS_POLICY)).toBe("TLSv1.3");
    expect(await versionOf(DEFAULT_TLS_POLICY, PQC)).toBe("TLSv1.3");
    expect(await versionOf(PQC, DEFAULT_TLS_POLICY, { ecdhCurve: "X25519" })).toBe("refused");
  });

  test("TLS 1.2", async () => {
    const only12 = { maxVersion: 0x303 };
    expect(await versionOf(TLS12, TLS12)).toBe("TLSv1.3");
    expect(await versionOf(TLS12, TLS12, only12)).toBe("TLSv1.2");
    expect(await versionOf(DEFAULT_TLS_POLICY, TLS12, only12)).toBe("refused");
    expect(await versionOf(TLS12, TLS12, { ...only12, ciphers: "ECDHE-ECDSA-CHACHA20-POLY1305" })).toBe("refused");
  });
});

describe("contexts", () => {
  test("are made once for a certificate and a policy", async () => {
    const certificate = await mesh.issue(SERVER);
    expect(serverContext(certificate, DEFAULT_TLS_POLICY)).toBe(serverContext(certificate, { ...DEFAULT_TLS_POLICY }));
    expect(clientContext(certificate, DEFAULT_TLS_POLICY)).toBe(clientContext(certificate, DEFAULT_TLS_POLICY));
    expect(serverContext(certificate, PQC)).not.toBe(serverContext(certificate, DEFAULT_TLS_POLICY));
    expect(serverContext(certificate, PQC).ecdhCurve).not.toBe(serverContext(certificate, TLS12).ecdhCurve);
    expect(serverContext({ ...certificate }, PQC)).not.toBe(serverContext(certificate, PQC));
  });

  test("rotate under a listener: new connections see the new certificate, the old one goes on", async () => {
    let current = await mesh.issue(SERVER);
    const serials: (string | undefined)[] = [];
    const echo: Bun.SocketHandler = {
      data(socket, bytes) {
        socket.write(bytes);
      },
      drain() {},
    };
    const listener = listen(() => serverContext(current, DEFAULT_TLS_POLICY), echo);
    const connect = async () => {
      const { promise, resolve } = Promise.withResolvers<Bun.Socket>();
      const replies: string[] = [];
      let heard = () => {};
      await Bun.connect({
        hostname: "127.0.0.1",
        port: listener.port,
        tls: clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY),
        socket: {
          handshake(socket) {
            serials.push(BigInt(`0x${socket.getPeerX509Certificate().serialNumber}`).toString());
            resolve(socket);
          },
          data(_socket, bytes) {
            replies.push(bytes.toString());
            heard();
          },
          drain() {},
        },
      });
      const socket = await promise;
      return {
        socket,
        ask: (text: string) =>
          new Promise<string | undefined>((answer) => {
            heard = () => answer(replies.at(-1));
            socket.write(text);
          }),
      };
    };
    const before = await connect();
    const old = current;
    current = await mesh.issue(SERVER);
    const after = await connect();
    expect(serials).toEqual([old.serialNumber, current.serialNumber]);
    expect(await before.ask("still here")).toBe("still here");
    expect(await after.ask("here too")).toBe("here too");
    before.socket.terminate();
    after.socket.terminate();
    listener.stop(true);
  });
});

test("a socket that is paused until its certificate is there loses nothing", async () => {
  const server = new Observer(atServer);
  const client = new Observer(atClient);
  const { promise: greeted, resolve: greet } = Promise.withResolvers<void>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.pause();
        greeted.then(() => mesh.issue(SERVER)).then((certificate) => {
          const tls = serverContext(certificate, DEFAULT_TLS_POLICY);
          const options = { isServer: true, tls, socket: server.handlers() };
          socket.upgradeTLS(options);
        });
      },
      drain() {},
    },
  });
  const handlers = client.handlers();
  await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    allowHalfOpen: true,
    tls: clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY),
    socket: {
      ...handlers,
      open() {
        setImmediate(() => setImmediate(greet)); // the hello is on its way
      },
    },
  });
  await Promise.all([server.closed, client.closed]);
  listener.stop(true);
  expect(server.side).toMatchObject({ verdict: { ok: true, identity: CLIENT }, received: MESSAGE.length });
});
