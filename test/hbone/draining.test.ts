// What the end of a server in good order means for its clients: nothing that was under way is lost.
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { type ConnectFailure, connectFailure, Pool, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { MeshServer } from "./mesh_server.ts";
import { connectPlain, PlainServer } from "./plain_transport.ts";
import { RawPeer } from "./raw_peer.ts";
import { echo, tapeOn, until } from "./tape.ts";

const CONNECT: [string, string][] = [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]];
/** Longer than the time between the two GOAWAYs; ms. */
const BEYOND_GRACE_MS = 1_500;

const ca = new ForgingCa();
afterAll(() => ca.remove());
const certificate = await ca.issue("spiffe://cluster.local/ns/default/sa/server");
const clientCertificate = await ca.issue("spiffe://cluster.local/ns/default/sa/client");

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

describe("a server that drains", () => {
  const serve = (current: () => Promise<typeof certificate> | typeof certificate = () => certificate) => {
    const server = new MeshServer(current, ({ stream }) => {
      stream.respond([[":status", "200"]], false);
      stream.sendData(new TextEncoder().encode("served"), true);
    });
    cleanups.push(() => server.stop());
    return server;
  };
  const peerOf = async (server: MeshServer) => {
    const peer = await RawPeer.connect(server.port, clientCertificate);
    cleanups.push(() => peer.close());
    return peer;
  };

  test("serves what its peers asked for before they knew, and closes then", async () => {
    const server = serve();
    const peer = await peerOf(server);
    await until("admitted", () => server.server.size === 1);
    server.server.drain();
    const empty = server.server.whenEmpty();
    await until("GOAWAY", () => peer.goaway === 0);
    peer.request(1, CONNECT, { end: true });
    peer.request(3, CONNECT, { end: true });
    await until("served", () => peer.text(1) === "served" && peer.text(3) === "served");
    await empty;
    expect(server.requests).toHaveLength(2);
    await until("closed", () => peer.closed);
  });

  test("ends handshakes that have begun, and serves what comes with them", async () => {
    const held = Promise.withResolvers<typeof certificate>();
    const server = serve(() => held.promise);
    const connecting = peerOf(server);
    await until("accepted", () => server.sockets === 1);
    server.server.drain();
    let empty = false;
    const emptied = server.server.whenEmpty().then(() => void (empty = true));
    held.resolve(certificate);
    const peer = await connecting;
    peer.request(1, CONNECT, { end: true });
    await until("served", () => peer.text(1) === "served");
    expect(peer.goaway).toBe(0);
    expect(empty).toBe(false);
    await emptied;
    expect(server.refusals).toEqual([]);
  });

  test("that is told to end at once refuses handshakes", async () => {
    const server = serve(() => new Promise(() => {}));
    peerOf(server).catch(() => {}); // it never is through
    await until("accepted", () => server.sockets === 1);
    server.server.close();
    await until("told", () => server.refusals.length === 1);
    expect(server.refusals).toEqual(["connection draining"]);
  });
});

describe("a pool whose server drains", () => {
  const pooled = (server: PlainServer) => {
    const dials = { count: 0 };
    const limits = { maxStreamsPerConnection: 100, unusedReleaseTimeout: 300_000, waitTimeout: 10_000 };
    const pool = new Pool(limits, (_, owner, done, failed) => {
      dials.count++;
      connectPlain(server.port, owner, done, (error) => failed(connectFailure(error.message)));
    });
    cleanups.push(() => server.stop(), () => pool.close());
    return { pool, dials };
  };
  const connect = (pool: Pool): Promise<StreamEndpoint | ConnectFailure> =>
    new Promise((resolve) => {
      pool.connect(
        {
          sourceIdentity: "spiffe://td/ns/a/sa/b",
          sourceIp: "10.0.0.2",
          expectedIdentities: ["spiffe://td/ns/c/sa/d"],
          destination: { ip: "127.0.0.1", port: 15008 },
        },
        CONNECT as HeaderList,
        { connected: resolve, connectFailed: resolve },
      );
    });

  test("takes to another connection what crossed the last GOAWAY, which nobody looked at", async () => {
    let requests = 0;
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      requests++;
      // The other requests of the same turn are behind this one: as if they came after the last GOAWAY was sent.
      if (requests === 2) {
        transport.drain();
        transport.tick(performance.now() + BEYOND_GRACE_MS);
      }
      echo(stream, endpoint, headers, transport);
    });
    const { pool, dials } = pooled(server);
    const first = await connect(pool) as StreamEndpoint;
    const outcomes = await Promise.all([connect(pool), connect(pool), connect(pool)]) as StreamEndpoint[];
    expect(outcomes.every((outcome) => outcome instanceof StreamEndpoint)).toBe(true);
    expect([requests, dials.count]).toEqual([4, 2]);
    expect(outcomes[0]!.stream!.connection).toBe(first.stream!.connection);
    expect(outcomes[1]!.stream!.connection).not.toBe(first.stream!.connection);
    for (const endpoint of [first, ...outcomes]) {
      const tape = tapeOn(endpoint);
      tape.say("still here");
      await until("echo", () => tape.text === "still here");
    }
  });

  test("loses none of many requests while one connection after the other is drained", async () => {
    let requests = 0;
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      requests++;
      echo(stream, endpoint, headers, transport);
    });
    const { pool, dials } = pooled(server);
    const failures: string[] = [];
    for (let round = 0; round < 40; round++) {
      const waiting = Array.from({ length: 10 }, () => connect(pool));
      const current = server.transports.at(-1);
      for (let turns = round % 4; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      current?.drain();
      for (let turns = round % 3; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      current?.tick(performance.now() + BEYOND_GRACE_MS);
      for (const outcome of await Promise.all(waiting)) {
        if (outcome instanceof StreamEndpoint) outcome.abort();
        else failures.push(outcome.text);
      }
    }
    expect(failures).toEqual([]);
    expect(requests).toBe(400);
    expect(dials.count).toBeGreaterThan(20);
  });
});
