import { afterEach, describe, expect, test } from "bun:test";
import { connectFailure, Pool } from "../../../src/hbone/mod.ts";
import type { RequestHead } from "../../../src/http/mod.ts";
import {
  Connector,
  type PoolLimits,
  type StreamTarget,
  type UpstreamPool,
  UpstreamPools,
} from "../../../src/waypoint/upstream/mod.ts";
import { serveHttp1 } from "../../../src/http/mod.ts";
import { Relay } from "../../../src/net/relay.ts";
import { connectPlain, PlainServer } from "../../hbone/plain_transport.ts";
import { RecordingHandler, requestOf } from "../../http/exchanges.ts";
import { octets, settled } from "../../http/memory_endpoint.ts";
import { Application, PooledResponse, targetOf, until } from "./application.ts";

const LIMITS: PoolLimits = {
  maxConnections: 100,
  maxPendingRequests: 100,
  maxRequestsPerConnection: 0,
  idleTimeoutMs: 0,
  maxConnectionDurationMs: 0,
};

const opened: { stop?(): void; close?(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) {
    one.close?.();
    one.stop?.();
  }
});

function application(...args: ConstructorParameters<typeof Application>): Application {
  const made = new Application(...args);
  opened.push(made);
  return made;
}

/** Pools over loopback; tunnels go without TLS to whatever port the target's tunnel names. */
function pools(): { pools: UpstreamPools; connector: Connector } {
  const tunnels = new Pool(
    { maxStreamsPerConnection: 100, unusedReleaseTimeout: 60_000, waitTimeout: 5_000 },
    (target, owner, done, failed) =>
      connectPlain(target.destination.port, owner, done, (error) => failed(connectFailure(error.message))),
  );
  const connector = new Connector({
    tunnels,
    sourceIdentity: "spiffe://td/ns/shop/sa/waypoint",
    sourceIp: "127.0.0.1",
    dialOptions: {},
  });
  const set = new UpstreamPools(connector);
  opened.push(set, tunnels);
  return { pools: set, connector };
}

function send(pool: UpstreamPool, head: RequestHead = requestOf("GET", "/"), body?: string): PooledResponse {
  const seen = new PooledResponse();
  seen.stream = pool.request(head, body === undefined, seen);
  if (body !== undefined) seen.stream.sendData(octets(body), true);
  return seen;
}

describe.each(["http1", "http2"] as const)("a pool of %s", (protocol) => {
  test("a first request waits for its connection, the next uses it", async () => {
    const app = application(protocol, (request) => request.respond(200, "hello"));
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, LIMITS);
    const first = send(pool);
    expect([first.info, set.stats("c")]).toEqual([undefined, { connections: 1, pending: 1, active: 0 }]);
    await until("first response", () => first.over);
    expect([first.body, first.info?.localAddress.startsWith("127.0.0.1:")]).toEqual(["hello", true]);
    await settled();
    const second = send(pool);
    expect(second.info).toBe(first.info!);
    await until("second response", () => second.over);
    expect([app.connections.length, set.stats("c")]).toEqual([1, { connections: 1, pending: 0, active: 0 }]);
    expect(set.pool("c", targetOf(app.address), protocol, LIMITS)).toBe(pool);
  });

  test("a body that is sent before there is a connection arrives whole", async () => {
    const app = application(protocol, (request) => {
      request.onBody = (_, end) => end && request.respond(200, request.body);
    });
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, LIMITS);
    const seen = new PooledResponse();
    seen.stream = pool.request(requestOf("POST", "/"), false, seen);
    expect(seen.stream.sendData(octets("one "), false)).toBe(false);
    await until("room", () => seen.writable > 0);
    expect(seen.stream.sendData(octets("two"), true)).toBe(true);
    await until("response", () => seen.over);
    expect(seen.body).toBe("one two");

    const whole = send(set.pool("d", targetOf(app.address), protocol, LIMITS), requestOf("POST", "/"), "all");
    await until("response", () => whole.over);
    expect(whole.body).toBe("all");
  });

  test("a head that cannot be written fails its request alone, waiting or not", async () => {
    const app = application(protocol, (request) => request.respond(200));
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, LIMITS);
    // With a code it counts as an error of the connection: a real bug would go on to the process' handler.
    const unfit: RequestHead = Object.defineProperty({ ...requestOf("GET", "/") }, "path", {
      get() {
        throw Object.assign(new Error("bug"), { code: "EXPECTED" });
      },
    });
    for (const state of ["waiting", "with a connection"]) {
      const seen = [send(pool), send(pool, unfit), send(pool)];
      await until(state, () => seen.every(({ over }) => over));
      expect(seen.map(({ head, reset }) => head?.status ?? reset?.reason)).toEqual([200, "local-reset", 200]);
    }
    await settled();
    expect(set.stats("c")).toMatchObject({ pending: 0, active: 0 });
    const { connections } = set.stats("c");
    const last = send(pool);
    await until("another response", () => last.over);
    expect(set.stats("c").connections).toBe(connections); // none was lost
  });

  test("nobody there: every request that waits hears of it, unsent", async () => {
    const app = application(protocol);
    const { address } = app;
    app.stop();
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(address), protocol, LIMITS);
    const seen = [send(pool), send(pool)];
    expect(seen[0]!.reset).toBeUndefined();
    await until("failure", () => seen.every(({ over }) => over));
    expect(seen.map(({ reset }) => reset)).toEqual(
      seen.map(() => ({
        reason: "connection-failure",
        detail: "delayed connect error: Connection refused",
        unsent: true,
      })),
    );
    expect([set.stats("c").connections, set.stats("c").pending, pool.closed]).toEqual([0, 0, true]);
    expect(set.pool("c", targetOf(address), protocol, LIMITS)).not.toBe(pool);
  });

  test("requests beyond the pending limit overflow, later", async () => {
    const app = application(protocol, (request) => request.respond(200));
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, { ...LIMITS, maxPendingRequests: 1 });
    const first = send(pool);
    const second = send(pool);
    expect(second.reset).toBeUndefined();
    await settled();
    expect(second.reset).toEqual({ reason: "overflow", detail: "too many pending requests", unsent: true });
    await until("response", () => first.over);
    expect(first.head?.status).toBe(200);
  });

  test("a request that is taken back while it waits is never sent", async () => {
    const app = application(protocol, (request) => request.respond(200));
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, LIMITS);
    const gone = send(pool);
    const stays = send(pool, requestOf("GET", "/stays"));
    gone.stream!.reset();
    expect(set.stats("c").pending).toBe(1);
    await until("response", () => stays.over);
    expect([gone.over, app.handler.requests.map(({ head }) => head.path)]).toEqual([false, ["/stays"]]);
  });

  test("a number of requests for each connection", async () => {
    const app = application(protocol, (request) => request.respond(200));
    const { pools: set } = pools();
    const limits = { ...LIMITS, maxRequestsPerConnection: 2 };
    for (let i = 0; i < 5; i++) {
      const seen = send(set.pool("c", targetOf(app.address), protocol, limits));
      await until("response", () => seen.over);
      expect(seen.head?.status).toBe(200);
      await settled();
    }
    expect(app.connections.length).toBe(3);
  });

  test("limits of time: idle connections close, old ones drain", async () => {
    const app = application(protocol, (request) => request.head.path === "/" && request.respond(200));
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, { ...LIMITS, idleTimeoutMs: 10_000 });
    const seen = send(pool);
    await until("response", () => seen.over);
    const now = performance.now();
    set.tick(now);
    set.tick(now + 9_000);
    expect(set.stats("c").connections).toBe(1);
    set.tick(now + 10_001);
    expect([set.stats("c").connections, pool.closed]).toEqual([0, true]);

    const aged = set.pool("d", targetOf(app.address), protocol, { ...LIMITS, maxConnectionDurationMs: 10_000 });
    const long = send(aged, requestOf("GET", "/long"));
    await until("request", () => app.handler.requests.length === 2);
    set.tick(performance.now() + 11_000);
    expect(set.stats("d")).toEqual({ connections: 1, pending: 0, active: 1 });
    app.handler.requests[1]!.respond(200, "in order");
    await until("response", () => long.over);
    expect(long.body).toBe("in order");
    await until("end of the connection", () => set.stats("d").connections === 0);
  });

  test("drain: running requests end in order, new ones get another pool", async () => {
    const app = application(protocol);
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), protocol, LIMITS);
    const running = send(pool);
    await until("request", () => app.handler.requests.length === 1);
    set.drain("c");
    expect(pool.closed).toBe(true);
    const next = set.pool("c", targetOf(app.address), protocol, LIMITS);
    expect(next).not.toBe(pool);
    const late = send(pool);
    await settled();
    expect(late.reset?.reason).toBe("connection-failure");
    app.handler.requests[0]!.respond(200, "done");
    await until("response", () => running.over);
    expect(running.body).toBe("done");
    await until("end", () => set.stats("c").connections === 0);
  });

  test("the connection's end under a request", async () => {
    const app = application(protocol);
    const { pools: set } = pools();
    const seen = send(set.pool("c", targetOf(app.address), protocol, LIMITS));
    await until("request", () => app.handler.requests.length === 1);
    app.connections[0]!.close();
    await until("reset", () => seen.over);
    expect([seen.reset?.reason, seen.reset?.unsent]).toEqual(["connection-termination", false]);
    expect(set.stats("c").connections).toBe(0);
  });

  test("an idle connection that its server closes is replaced without a word", async () => {
    const app = application(protocol, (request) => request.respond(200, "x"));
    const { pools: set } = pools();
    const request = () => send(set.pool("c", targetOf(app.address), protocol, LIMITS));
    const first = request();
    await until("response", () => first.over);
    app.connections[0]!.close();
    await until("its end", () => set.stats("c").connections === 0);
    const second = request();
    await until("response", () => second.over);
    expect([second.body, app.connections.length]).toEqual(["x", 2]);
  });

  test("connections that end before they can be used fail requests, and are not made for ever", async () => {
    let connects = 0;
    const server = new PlainServer((stream) => {
      connects++;
      stream.respond([[":status", "200"]], true);
    });
    opened.push(server);
    const { pools: set } = pools();
    const address = { ip: "10.0.0.1", port: 8080 };
    const target = targetOf(address, { kind: "hbone", tunnel: { ip: "127.0.0.1", port: server.port } });
    const pool = set.pool("c", target, protocol, LIMITS);
    const seen = [send(pool), send(pool), send(pool)];
    await until("their ends", () => seen.every(({ over }) => over));
    expect(connects).toBeLessThanOrEqual(seen.length);
    expect([set.stats("c").connections, set.stats("c").pending]).toEqual([0, 0]);
  });

  test("through a tunnel: one tunnel connection, streams inside it", async () => {
    const handler = new RecordingHandler((request) => request.respond(200, request.head.path));
    const authorities: (string | undefined)[] = [];
    const server = new PlainServer((stream, endpoint, headers) => {
      authorities.push(headers.find(([name]) => name === ":authority")?.[1]);
      stream.respond([[":status", "200"]], false);
      new Relay(endpoint, serveHttp1({}, handler), { relayFinished() {} }, { value: 0 }, { value: 0 });
    });
    opened.push(server);
    const { pools: set } = pools();
    const target = targetOf({ ip: "10.0.2.3", port: 8080 }, {
      kind: "hbone",
      tunnel: { ip: "127.0.0.1", port: server.port },
    });
    const pool = set.pool("c", target, "http1", LIMITS);
    const seen = [send(pool, requestOf("GET", "/1")), send(pool, requestOf("GET", "/2"))];
    await until("responses", () => seen.every(({ over }) => over));
    expect(seen.map(({ body }) => body)).toEqual(["/1", "/2"]);
    expect([authorities, server.transports.length]).toEqual([["10.0.2.3:8080", "10.0.2.3:8080"], 1]);
    const again = send(pool, requestOf("GET", "/3"));
    await until("response", () => again.over);
    expect(authorities.length).toBe(2);
  });
});

describe("pools", () => {
  test("HTTP/1: as many connections as requests at a time, the one used last first", async () => {
    const app = application("http1");
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), "http1", LIMITS);
    const seen = [send(pool), send(pool), send(pool)];
    await until("requests", () => app.handler.requests.length === 3);
    expect(set.stats("c")).toEqual({ connections: 3, pending: 0, active: 3 });
    app.handler.requests[1]!.respond(200);
    await until("response", () => seen.filter(({ over }) => over).length === 1);
    app.handler.requests[0]!.respond(200);
    await until("response", () => seen.filter(({ over }) => over).length === 2);
    const used = new Set<unknown>();
    for (let i = 0; i < 5; i++) {
      const next = send(pool);
      used.add(next.info);
      await until("request", () => app.handler.requests.length === 4 + i);
      app.handler.requests[3 + i]!.respond(200);
      await until("response", () => next.over);
    }
    expect([used.size, set.stats("c").connections]).toEqual([1, 3]);
  });

  test("HTTP/1: the limit of connections makes requests wait, and is the cluster's", async () => {
    const app = application("http1");
    const other = application("http1", (request) => request.respond(200));
    const { pools: set } = pools();
    const limits = { ...LIMITS, maxConnections: 2 };
    const pool = set.pool("c", targetOf(app.address), "http1", limits);
    const seen = [send(pool), send(pool), send(pool)];
    await until("requests", () => app.handler.requests.length === 2);
    expect(set.stats("c")).toEqual({ connections: 2, pending: 1, active: 2 });
    // An endpoint without a connection gets one all the same.
    const elsewhere = send(set.pool("c", targetOf(other.address), "http1", limits));
    await until("response elsewhere", () => elsewhere.over);
    app.handler.requests[0]!.respond(200);
    await until("third request", () => app.handler.requests.length === 3);
    app.handler.requests[1]!.respond(200);
    app.handler.requests[2]!.respond(200);
    await until("responses", () => seen.every(({ over }) => over));
    expect(app.connections.length).toBe(2);
  });

  test("HTTP/2: another connection when the streams of the first are used up", async () => {
    const app = application("http2", undefined, { maxConcurrentStreams: 2 });
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), "http2", LIMITS);
    const first = send(pool);
    await until("request", () => app.handler.requests.length === 1);
    const seen = [first, send(pool), send(pool)];
    await until("requests", () => app.handler.requests.length === 3);
    expect([app.connections.length, set.stats("c").connections]).toEqual([2, 2]);
    for (const request of app.handler.requests) request.respond(200);
    await until("responses", () => seen.every(({ over }) => over));
  });

  test("HTTP/2: GOAWAY moves new requests to a new connection, old ones end in order", async () => {
    const app = application("http2");
    const { pools: set } = pools();
    const pool = set.pool("c", targetOf(app.address), "http2", LIMITS);
    const old = send(pool);
    await until("request", () => app.handler.requests.length === 1);
    app.connections[0]!.drain();
    await until("goaway", () => {
      const probe = send(pool);
      if (probe.info === undefined) return true;
      return false;
    });
    await until("second connection", () => app.connections.length === 2);
    app.handler.requests[0]!.respond(200, "old");
    await until("response", () => old.over);
    expect(old.body).toBe("old");
  });

  test("close ends everything", async () => {
    const app = application("http1");
    const { pools: set } = pools();
    const running = send(set.pool("c", targetOf(app.address), "http1", LIMITS));
    await until("request", () => app.handler.requests.length === 1);
    const waiting = send(set.pool("d", targetOf(app.address), "http1", LIMITS));
    set.close();
    expect([running.reset?.reason, waiting.reset?.reason]).toEqual(["connection-termination", "connection-failure"]);
    app.handler.requests[0]!.respond(200); // to nobody
    await until("its end", () => app.handler.closed === app.connections.length);
  });
});

describe.each(["http1", "http2"] as const)("a target of %s that changes", (protocol) => {
  const TLS = { sni: "a.test", subjectAltNames: [], roots: "PEM", certificate: undefined, alpn: [] };
  const LIKE: Partial<StreamTarget> = { kind: "tcp", expectedIdentities: ["spiffe://td/a"], tls: TLS, key: "host" };
  const changes: [string, Partial<StreamTarget>][] = [
    ["TLS off", { tls: undefined }],
    ["not verified", { tls: { ...TLS, roots: undefined } }],
    ["other roots", { tls: { ...TLS, roots: "OTHER" } }],
    ["names asked for", { tls: { ...TLS, subjectAltNames: ["b.test"] } }],
    ["another SNI", { tls: { ...TLS, sni: "b.test" } }],
    ["a certificate of ours", { tls: { ...TLS, certificate: { chainPem: "a", keyPem: "b" } } }],
    ["another identity", { expectedIdentities: ["spiffe://td/b"] }],
    ["another connect timeout", { connectTimeoutMs: 1 }],
    ["keep-alive", { keepAlive: { timeMs: 1, intervalMs: 1, probes: 1 } }],
    ["PROXY header", { perFlow: { sni: false, proxyProtocol: "V1" } }],
  ];

  test.each(changes)("%s: another pool", (_, change) => {
    const { pools: set } = pools();
    const address = { ip: "127.0.0.1", port: 1 };
    const old = set.pool("c", targetOf(address, LIKE), protocol, LIMITS);
    expect(set.pool("c", targetOf(address, LIKE), protocol, { ...LIMITS })).toBe(old);
    const next = set.pool("c", targetOf(address, { ...LIKE, ...change }), protocol, LIMITS);
    expect([next === old, old.closed, next.closed]).toEqual([false, true, false]);
  });

  test("other limits: another pool", () => {
    const { pools: set } = pools();
    const target = targetOf({ ip: "127.0.0.1", port: 1 });
    const old = set.pool("c", target, protocol, LIMITS);
    const next = set.pool("c", target, protocol, { ...LIMITS, keepCase: true });
    expect([next === old, old.closed]).toEqual([false, true]);
  });

  test("the idle connection closes, running and waiting requests end as they began, new ones go the new way", async () => {
    const app = application(protocol, (request) => request.head.path === "/idle" && request.respond(200));
    const { pools: set } = pools();
    const before = targetOf(app.address, { key: "host" });
    const after = targetOf(app.address, { key: "host", connectTimeoutMs: 1_999 });
    const request = (target: StreamTarget, path: string) =>
      send(set.pool("c", target, protocol, LIMITS), requestOf("GET", path));
    const idle = request(before, "/idle");
    await until("response", () => idle.over);
    const running = request(before, "/running");
    await until("request", () => app.handler.requests.length === 2);
    set.review("c", after, LIMITS);
    const late = request(after, "/idle");
    await until("response", () => late.over);
    expect([late.head?.status, running.over]).toEqual([200, false]);
    expect(late.info).not.toEqual(running.info!);
    app.handler.requests[1]!.respond(200, "old");
    await until("response", () => running.over);
    expect(running.body).toBe("old");
    await until("the old connection's end", () => set.stats("c").connections === 1);

    const waiting = send(set.pool("d", before, protocol, LIMITS), requestOf("GET", "/idle"));
    set.review("d", after, LIMITS);
    await until("response", () => waiting.over);
    expect(waiting.head?.status).toBe(200);
    await until("its connection's end", () => set.stats("d").connections === 0);
  });

  test("without requests: a review closes what is idle, and nothing when nothing changed", async () => {
    const app = application(protocol, (request) => request.respond(200));
    const { pools: set } = pools();
    const target = targetOf(app.address);
    const seen = send(set.pool("c", target, protocol, LIMITS));
    await until("response", () => seen.over);
    await settled();
    set.review("c", targetOf(app.address), { ...LIMITS });
    expect(set.pool("c", target, protocol, LIMITS).closed).toBe(false);
    expect(set.stats("c").connections).toBe(1);
    set.review("c", targetOf(app.address, { kind: "hbone" }), LIMITS);
    await until("the connection's end", () => set.stats("c").connections === 0);
  });

  test("a name that leads elsewhere now: connections stay, new ones go there", async () => {
    const [here, there] = [application(protocol), application(protocol)];
    const { pools: set } = pools();
    const limits = { ...LIMITS, maxRequestsPerConnection: 1 };
    const first = send(set.pool("c", targetOf(here.address, { key: "name" }), protocol, limits));
    await until("request", () => here.handler.requests.length === 1);
    const second = send(set.pool("c", targetOf(there.address, { key: "name" }), protocol, limits));
    await until("request", () => there.handler.requests.length === 1);
    here.handler.requests[0]!.respond(200, "here");
    there.handler.requests[0]!.respond(200, "there");
    await until("responses", () => first.over && second.over);
    expect([first.body, second.body]).toEqual(["here", "there"]);
  });

  test("pools of flows to one host are drained together, and by the host's key", () => {
    const { pools: set } = pools();
    const address = { ip: "127.0.0.1", port: 1 };
    const flow = (basis: StreamTarget, name: string) =>
      set.pool("c", { ...basis, basis, key: `${basis.key}|${name}` }, protocol, LIMITS);
    const basis = targetOf(address, { key: "host" });
    const neighbour = flow(targetOf(address, { key: "host|10.0.0.1:15008|" }), "a");
    const old = [flow(basis, "a"), flow(basis, "b")];
    expect(flow(basis, "a")).toBe(old[0]!);
    const next = flow(targetOf(address, { key: "host", connectTimeoutMs: 1 }), "a");
    expect([old.map(({ closed }) => closed), next.closed]).toEqual([[true, true], false]);
    set.drain("c", "host");
    expect([next.closed, neighbour.closed]).toEqual([true, false]);
  });
});

test("a tunnel is not used for another expectation of the same peer", async () => {
  const dialled: (readonly string[])[] = [];
  const server = new PlainServer((stream, endpoint) => {
    stream.respond([[":status", "200"]], false);
    const handler = new RecordingHandler((request) => request.respond(200));
    new Relay(endpoint, serveHttp1({}, handler), { relayFinished() {} }, { value: 0 }, { value: 0 });
  });
  const tunnels = new Pool(
    { maxStreamsPerConnection: 100, unusedReleaseTimeout: 60_000, waitTimeout: 5_000 },
    ({ destination, expectedIdentities }, owner, done, failed) => {
      dialled.push(expectedIdentities);
      if (expectedIdentities[0] === "spiffe://td/b") {
        setImmediate(() => failed(connectFailure("identity verification error")));
      } else connectPlain(destination.port, owner, done, (error) => failed(connectFailure(error.message)));
    },
  );
  const set = new UpstreamPools(
    new Connector({ tunnels, sourceIdentity: "spiffe://td/w", sourceIp: "127.0.0.1", dialOptions: {} }),
  );
  opened.push(server, set, tunnels);
  const ask = async (identity: string) => {
    const target = targetOf({ ip: "10.0.2.3", port: 8080 }, {
      kind: "hbone",
      tunnel: { ip: "127.0.0.1", port: server.port },
      expectedIdentities: [identity],
    });
    const seen = send(set.pool("c", target, "http1", LIMITS));
    await until("outcome", () => seen.over);
    return seen.head?.status ?? seen.reset?.detail;
  };
  expect([await ask("spiffe://td/a"), await ask("spiffe://td/a")]).toEqual([200, 200]);
  expect(await ask("spiffe://td/b")).toBe("identity verification error");
  expect(dialled).toEqual([["spiffe://td/a"], ["spiffe://td/b"]]);
});
