import { Buffer } from "node:buffer";
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { connectFailure, Pool } from "../../../src/hbone/mod.ts";
import { openFdCount } from "../../../src/linux/mod.ts";
import { Relay } from "../../../src/net/relay.ts";
import { Connector, type PoolLimits, type StreamTarget, UpstreamPools } from "../../../src/waypoint/upstream/mod.ts";
import { connectPlain, PlainServer } from "../../hbone/plain_transport.ts";
import { requestOf } from "../../http/exchanges.ts";
import { MemoryEndpoint } from "../../http/memory_endpoint.ts";
import { Application, connect, type Outcome, PooledResponse, silentAddress, targetOf, until } from "./application.ts";
import { type KeyPair, OutsideCa } from "./certificates.ts";

const opened: { stop?(): void; close?(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) {
    one.close?.();
    one.stop?.();
  }
});
const ca = new OutsideCa();
const stranger = new OutsideCa();
afterAll(() => {
  ca.remove();
  stranger.remove();
});
const web = ca.issue("DNS:web.test,DNS:*.wild.test,URI:spiffe://td/ns/a/sa/b,IP:127.0.0.1");

function connector(): Connector {
  const tunnels = new Pool(
    { maxStreamsPerConnection: 100, unusedReleaseTimeout: 60_000, waitTimeout: 5_000 },
    (target, owner, done, failed) =>
      connectPlain(target.destination.port, owner, done, (error) => failed(connectFailure(error.message))),
  );
  opened.push(tunnels);
  return new Connector({ tunnels, sourceIdentity: "spiffe://td/ns/a/sa/w", sourceIp: "127.0.0.1", dialOptions: {} });
}

/** What a TLS server saw, and the way to its port. */
class TlsServer {
  hello = "";
  clientCertificate: string | undefined = undefined;
  serverName = "";
  readonly port: number;
  readonly #listener: Bun.TCPSocketListener<undefined>;

  constructor({ certificate, key }: KeyPair, more: Record<string, unknown> = {}) {
    this.#listener = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      allowHalfOpen: true,
      tls: { cert: certificate, key, ...more },
      socket: {
        handshake: (socket: Bun.Socket<undefined>) => {
          const peer = socket.getPeerX509Certificate() as { subjectAltName?: string } | undefined;
          this.clientCertificate = peer?.subjectAltName;
        },
        data: (socket: Bun.Socket<undefined>, chunk: Uint8Array) => {
          this.hello += chunk.toString();
          if (this.hello.endsWith("\n")) socket.write(`echo ${this.hello}`);
        },
        end: (socket: Bun.Socket<undefined>) => void socket.end(),
      },
    } as unknown as Bun.TCPSocketListenOptions<undefined>);
    this.port = this.#listener.port;
    opened.push(this);
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

/** Where a program listens that says so in words of `ACCEPT 127.0.0.1:PORT`. */
async function portOf(output: ReadableStream<Uint8Array>): Promise<number> {
  let said = "";
  const decoder = new TextDecoder();
  for await (const chunk of output) {
    said += decoder.decode(chunk, { stream: true });
    const port = /^ACCEPT \S*:(\d+)\n/m.exec(said)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`it does not listen: ${said}`);
}

function tlsOf(more: Partial<NonNullable<StreamTarget["tls"]>>): NonNullable<StreamTarget["tls"]> {
  return { sni: "web.test", subjectAltNames: [], roots: ca.root, certificate: undefined, alpn: [], ...more };
}

function outcome(port: number, tls: NonNullable<StreamTarget["tls"]>, more: Partial<StreamTarget> = {}) {
  return connect(connector(), targetOf({ ip: "127.0.0.1", port }, { tls, ...more }));
}

/** Sends a line over what was connected and returns what comes back. */
async function echo(result: Outcome): Promise<string> {
  if (!("endpoint" in result)) return `failed: ${result.detail}`;
  const wire = new MemoryEndpoint().join(result.endpoint);
  wire.arrive("hello\n");
  await until("echo", () => wire.text.endsWith("hello\n") || wire.closed);
  wire.arriveEnd();
  await until("end", () => wire.ended);
  wire.close(false);
  return wire.text;
}

describe("TCP", () => {
  test("connects, and says from where", async () => {
    const app = new Application("raw");
    opened.push(app);
    const result = await connect(connector(), targetOf(app.address));
    expect("info" in result && result.info.localAddress).toMatch(/^127\.0\.0\.1:\d+$/);
    expect("info" in result && result.info.alpn).toBe("");
    if ("endpoint" in result) result.endpoint.abort();
  });

  test("PROXY protocol before everything", async () => {
    for (const version of ["V1", "V2"] as const) {
      const app = new Application("raw");
      opened.push(app);
      const proxyProtocol = {
        version,
        source: { ip: "10.0.0.1", port: 1234 },
        destination: { ip: "10.0.0.2", port: 80 },
      };
      const result = await connect(connector(), targetOf(app.address, { proxyProtocol }));
      if (!("endpoint" in result)) throw new Error(result.detail);
      const client = new MemoryEndpoint().join(result.endpoint);
      client.arrive("payload");
      await until("accept", () => app.endpoints.length === 1);
      const server = new MemoryEndpoint().join(app.endpoints[0]!);
      await until("bytes", () => server.text.endsWith("payload"));
      const header = server.text.slice(0, -"payload".length);
      if (version === "V1") expect(header).toBe("PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n");
      else {
        expect(Buffer.from(header, "latin1").toString("hex")).toBe(
          "0d0a0d0a000d0a515549540a" + "2111000c" + "0a000001" + "0a000002" + "04d2" + "0050",
        );
      }
      expect(client.unread).toBe(0);
      client.close(true);
    }
  });

  test("nobody there", async () => {
    const app = new Application("raw");
    app.stop();
    expect(await connect(connector(), targetOf(app.address))).toEqual({
      detail: "delayed connect error: Connection refused",
      timedOut: false,
    });
  });

  test("several addresses: the next one when the first refuses", async () => {
    const app = new Application("raw", undefined, { ip: "127.0.0.2" });
    opened.push(app);
    const nobody = { ip: "127.0.0.1", port: app.address.port };
    const result = await connect(connector(), targetOf(nobody, { additionalAddresses: [app.address] }));
    expect("endpoint" in result).toBe(true);
    await until("accept", () => app.endpoints.length === 1);
    if ("endpoint" in result) result.endpoint.abort();

    const none = await connect(connector(), targetOf(nobody, { additionalAddresses: [nobody] }));
    expect(none).toEqual({ detail: "delayed connect error: Connection refused", timedOut: false });
  });

  test("several addresses: a silent one does not hold up the others, and leaves no socket", async () => {
    const app = new Application("raw");
    opened.push(app);
    const silent = silentAddress();
    opened.push(silent);
    const before = openFdCount();
    const start = performance.now();
    const target = targetOf(silent.address, { additionalAddresses: [app.address] });
    const result = await connect(connector(), target);
    expect("endpoint" in result).toBe(true);
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(280);
    // Long before its time limit.
    expect(elapsed).toBeLessThan(10_000);
    if ("endpoint" in result) result.endpoint.abort();
    await until("sockets closed", () => openFdCount() <= before + 1); // the application's side may be there a moment
  });

  test("the time to connect is limited", async () => {
    const silent = silentAddress();
    opened.push(silent);
    const result = await connect(connector(), targetOf(silent.address, { connectTimeoutMs: 200 }));
    expect(result).toEqual({ detail: "connection timeout", timedOut: true });
  });

  test("an attempt that is abandoned is not heard of again", async () => {
    const app = new Application("raw");
    opened.push(app);
    let told = 0;
    const pending = connector().connect(targetOf(app.address), {
      connected: () => told++,
      connectFailed: () => told++,
    });
    pending.abandon();
    await until("its socket is gone", () => app.endpoints.length === 1);
    const server = new MemoryEndpoint().join(app.endpoints[0]!);
    await until("end", () => server.ended || server.closed);
    expect(told).toBe(0);
  });

  test("a tunnel inside a tunnel is refused by name", async () => {
    const gateway = targetOf({ ip: "10.0.0.1", port: 80 }, { kind: "double-hbone", authority: "web.shop:80" });
    expect(await connect(connector(), gateway)).toEqual({
      detail: "unsupported feature: network gateway (a tunnel inside a tunnel) to web.shop:80",
      timedOut: false,
    });
  });
});

describe("TLS", () => {
  test("a good certificate: bytes both ways, ALPN is told", async () => {
    const server = new TlsServer(web, { ALPNProtocols: "\x02h2" });
    const result = await outcome(server.port, tlsOf({ alpn: ["h2", "http/1.1"] }));
    expect("info" in result && result.info.alpn).toBe("h2");
    expect("info" in result && result.info.localAddress).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(await echo(result)).toBe("echo hello\n");
  });

  const good: [what: string, tls: Parameters<typeof tlsOf>[0]][] = [
    ["the name of the SNI", {}],
    ["a wildcard", { sni: "a.wild.test" }],
    ["one of several names", { sni: "other.test", subjectAltNames: ["nobody.test", "web.test"] }],
    ["a URI", { sni: undefined, subjectAltNames: ["spiffe://td/ns/a/sa/b"] }],
    ["an address", { sni: "127.0.0.1" }],
    ["only a good chain", { sni: undefined }],
    ["nothing at all", { sni: "whoever.test", roots: undefined, subjectAltNames: ["nobody.test"] }],
  ];
  for (const [what, tls] of good) {
    test(`asking for ${what} is content`, async () => {
      expect(await echo(await outcome(new TlsServer(web).port, tlsOf(tls)))).toBe("echo hello\n");
    });
  }

  const bad: [what: string, pair: () => KeyPair, tls: Parameters<typeof tlsOf>[0], detail: RegExp][] = [
    ["of a stranger", () => stranger.issue("DNS:web.test"), {}, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    ["of a stranger with the wrong name", () => stranger.issue("DNS:x.test"), {}, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    ["of a stranger, names given", () => stranger.issue("DNS:x.test"), { subjectAltNames: ["x.test"] }, /UNABLE_TO/],
    ["that has expired", () => ca.issue("DNS:web.test", -1), {}, /CERT_HAS_EXPIRED/],
    ["that has expired, with the wrong name", () => ca.issue("DNS:x.test", -1), {}, /CERT_HAS_EXPIRED/],
    ["for another name", () => ca.issue("DNS:other.test"), {}, /is for DNS:other.test, not for web.test/],
    ["without the URI", () => web, { subjectAltNames: ["spiffe://td/ns/a/sa/c"] }, /not for spiffe/],
    ["without any of the names", () => web, { subjectAltNames: ["a.test", "b.test"] }, /not for a.test, b.test/],
    ["that the system does not trust", () => web, { roots: "system" }, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
  ];
  for (const [what, pair, tls, detail] of bad) {
    test(`a certificate ${what} is refused, and nothing is sent`, async () => {
      const server = new TlsServer(pair());
      const result = await outcome(server.port, tlsOf(tls));
      if (!("detail" in result)) throw new Error("it was accepted");
      expect(result.detail).toMatch(detail);
      expect(result.detail).toStartWith("TLS error: ");
      expect(result.timedOut).toBe(false);
      expect(server.hello).toBe("");
    });
  }

  test("our own certificate is shown where the server asks", async () => {
    const own = ca.issue("URI:spiffe://td/ns/a/sa/waypoint");
    const server = new TlsServer(web, { ca: ca.root, requestCert: true, rejectUnauthorized: true });
    const tls = tlsOf({ certificate: { chainPem: own.certificate, keyPem: own.key } });
    expect(await echo(await outcome(server.port, tls))).toBe("echo hello\n");
    expect(server.clientCertificate).toBe("URI:spiffe://td/ns/a/sa/waypoint");
  });

  test("a server that speaks no TLS", async () => {
    const app = new Application("raw");
    opened.push(app);
    const pending = outcome(app.address.port, tlsOf({}));
    await until("accept", () => app.endpoints.length === 1);
    const wire = new MemoryEndpoint().join(app.endpoints[0]!);
    wire.arrive("SSH-2.0-x\r\n");
    const result = await pending;
    expect("detail" in result && result.detail).toStartWith("TLS error: ");
    wire.close(true);
  });

  test("a server that says nothing runs into the time limit", async () => {
    const app = new Application("raw");
    opened.push(app);
    const result = await outcome(app.address.port, tlsOf({}), { connectTimeoutMs: 300 });
    expect(result).toEqual({ detail: "connection timeout", timedOut: true });
  });

  test("against openssl's server", async () => {
    const directory = ca.directory;
    await Bun.write(`${directory}/web.crt`, web.certificate);
    await Bun.write(`${directory}/web.key`, web.key);
    const files = ["-cert", `${directory}/web.crt`, "-key", `${directory}/web.key`];
    const server = Bun.spawn(["openssl", "s_server", "-accept", "127.0.0.1:0", ...files, "-rev"], {
      stdout: "pipe",
      stderr: "ignore",
    });
    try {
      const result = await outcome(await portOf(server.stdout), tlsOf({}));
      if (!("endpoint" in result)) throw new Error(result.detail);
      const wire = new MemoryEndpoint().join(result.endpoint);
      wire.arrive("hello\n");
      await until("the line, reversed", () => wire.text === "olleh\n");
      wire.close(true);
    } finally {
      server.kill();
      await server.exited;
    }
  });

  test("inside a tunnel: the stream carries TLS, half-close and end included; no socket is left", async () => {
    const inner = new TlsServer(web);
    const server = new PlainServer((stream, endpoint) => {
      stream.respond([[":status", "200"]], false);
      // The other end of the tunnel passes it on to the TLS server.
      connect(connector(), targetOf({ ip: "127.0.0.1", port: inner.port })).then((result) => {
        if (!("endpoint" in result)) throw new Error(result.detail);
        new Relay(endpoint, result.endpoint, { relayFinished() {} }, { value: 0 }, { value: 0 });
      });
    });
    opened.push(server);
    const target = targetOf({ ip: "10.0.2.3", port: 443 }, {
      kind: "hbone",
      tunnel: { ip: "127.0.0.1", port: server.port },
      tls: tlsOf({}),
    });
    const tunnelled = connector();
    const first = await connect(tunnelled, target);
    expect(await echo(first)).toBe("echo hello\n");
    const before = openFdCount();
    inner.hello = "";
    expect(await echo(await connect(tunnelled, target))).toBe("echo hello\n");
    await until("sockets closed", () => openFdCount() <= before);

    const liar = { ...target, tls: tlsOf({ sni: "liar.test" }) };
    const refused = await connect(tunnelled, liar);
    expect("detail" in refused && refused.detail).toMatch(/not for liar.test/);
    await until("sockets closed", () => openFdCount() <= before);
  });

  test("HTTP over TLS in a pool; a server that agrees to another version is refused", async () => {
    const limits: PoolLimits = {
      maxConnections: 10,
      maxPendingRequests: 10,
      maxRequestsPerConnection: 0,
      idleTimeoutMs: 0,
      maxConnectionDurationMs: 0,
    };
    const server = new TlsServer(web, { ALPNProtocols: "\x08http/1.1" });
    const pools = new UpstreamPools(connector());
    opened.push(pools);
    const target = targetOf({ ip: "127.0.0.1", port: server.port }, { tls: tlsOf({ alpn: ["h2", "http/1.1"] }) });
    const seen = new PooledResponse();
    pools.pool("c", target, "http2", limits).request(requestOf("GET", "/"), true, seen);
    await until("refusal", () => seen.over);
    expect(seen.reset).toEqual({
      reason: "connection-failure",
      detail: "TLS error: the server agreed to http/1.1 only",
      unsent: true,
    });
  });
});
