// Peers whose certificates are revoked, or whose root is withdrawn, at the handshake and afterwards: our side as server, as
// client, and as client of a tunnel inside a tunnel.
import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type ConnectFailure,
  connectFailure,
  openInnerTunnel,
  Pool,
  StreamEndpoint,
  tunnelDialer,
} from "../../src/hbone/mod.ts";
import { CertificateCache, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { openFdCount } from "../../src/linux/mod.ts";
import { Relay, type RelayError } from "../../src/net/relay.ts";
import { dialTcp } from "../../src/net/tcp.ts";
import { watchFile } from "../../src/process/watched_file.ts";
import { exposition, Logger, MetricRegistry, registerCrlMetrics } from "../../src/telemetry/mod.ts";
import { DEFAULT_TLS_POLICY, PeerTrust } from "../../src/tls/mod.ts";
import { OpensslPki } from "../tls/openssl_pki.ts";
import { MeshServer } from "./mesh_server.ts";
import { connectPlain, PlainServer, SETTINGS } from "./plain_transport.ts";
import { Tape, until } from "./tape.ts";

const SERVER = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const REVOKED = "connection closed: peer certificate revoked by CRL";
const WITHDRAWN = "connection closed: peer certificate leads to no trusted root any more";

const pki = new OpensslPki();
afterAll(() => pki.remove());
const root = pki.authority("root");
const middle = pki.authority("middle", root);
const stranger = pki.authority("middle");
const peers = { client: pki.issue(middle, CLIENT, root.pem), server: pki.issue(middle, SERVER, root.pem) };

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

let files = 0;
/** The process' trust with a file of lists, whose watcher is the test. */
class Watched {
  readonly path = join(pki.directory, `crl-${++files}.pem`);
  readonly lines: string[] = [];
  readonly registry = new MetricRegistry();
  readonly trust: PeerTrust;
  #changed = () => {};

  constructor(withPath = true) {
    const logger = new Logger({ write: (text) => void this.lines.push(text), flush() {} });
    this.trust = new PeerTrust({
      ...(withPath ? { crlPath: this.path } : {}),
      metrics: registerCrlMetrics(this.registry),
      log: logger.scope("ztunnel::tls"),
      watch: (_path, onChange) => {
        this.#changed = onChange;
        return { close() {} };
      },
      handshakeMs: 50,
    });
    cleanups.push(() => this.trust.close());
  }

  /** Replaces the file and waits until it is in force. */
  async put(content: string | undefined): Promise<void> {
    if (content === undefined) rmSync(this.path, { force: true });
    else pki.write(this.path.slice(pki.directory.length + 1), content);
    this.#changed();
    await this.trust.settled();
  }

  /** Samples of the two families. */
  get counts(): string[] {
    return [...exposition(this.registry)].join("").split("\n").filter((line) => line.startsWith("istio_crl"));
  }
}

/** A tunnel with a stream in it whose ends are tapes. */
interface Joined {
  readonly near: Tape;
  /** How the near relay ended; undefined: in order. */
  readonly ended: Promise<RelayError | undefined>;
}

interface Ends {
  readonly server: MeshServer;
  /** At the server, for each stream. */
  readonly far: { readonly tape: Tape; readonly ended: Promise<RelayError | undefined> }[];
  connect(): Promise<Joined | ConnectFailure>;
}

function joined(
  tape: Tape,
  endpoint: StreamEndpoint,
  side: "downstream" | "upstream",
): Promise<RelayError | undefined> {
  return new Promise((resolve) => {
    const owner = { relayFinished: ({ error }: Relay) => resolve(error) };
    const [downstream, upstream] = side === "upstream" ? [tape, endpoint] : [endpoint, tape];
    new Relay(downstream, upstream, owner, { value: 0 }, { value: 0 });
  });
}

type Side = "server" | "client" | "inner client";

/** A server and a client of it. The trust is in the hands of the side that is named. */
function meet(
  side: Side,
  { trust }: Watched,
  certificates: { client: WorkloadCertificate; server: WorkloadCertificate } = peers,
  answer = true,
): Ends {
  const far: Ends["far"] = [];
  const server = new MeshServer(() => certificates.server, ({ stream, endpoint }) => {
    if (!answer) return;
    stream.respond([[":status", "200"]], false);
    const tape = new Tape();
    far.push({ tape, ended: joined(tape, endpoint, "downstream") });
  }, side === "server" ? trust : undefined);
  cleanups.push(() => server.stop());
  const cache = new CertificateCache({ fetch: () => Promise.resolve(certificates.client) });
  cleanups.push(() => cache.close());
  const options = {
    certificates: cache,
    tlsPolicy: DEFAULT_TLS_POLICY,
    settings: SETTINGS,
    trust: side === "server" ? undefined : trust,
  };
  const near = (endpoint: StreamEndpoint): Joined => {
    const tape = new Tape();
    return { near: tape, ended: joined(tape, endpoint, "upstream") };
  };
  const limits = { maxStreamsPerConnection: 100, unusedReleaseTimeout: 300_000, waitTimeout: 10_000 };
  const target = (port: number) => ({
    sourceIdentity: CLIENT,
    sourceIp: "127.0.0.1",
    expectedIdentities: [SERVER],
    destination: { ip: "127.0.0.1", port },
  });
  const open = (pool: Pool, port: number): Promise<StreamEndpoint | ConnectFailure> =>
    new Promise((resolve) => {
      pool.connect(target(port), [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]], {
        connected: resolve,
        connectFailed: resolve,
      });
    });
  if (side !== "inner client") {
    const dial = tunnelDialer(options);
    const pool = new Pool(limits, (to, owner, done, failed) => dial(to, {}, owner, done, failed));
    cleanups.push(() => pool.close());
    return {
      server,
      far,
      async connect() {
        const outcome = await open(pool, server.port);
        return outcome instanceof StreamEndpoint ? near(outcome) : outcome;
      },
    };
  }
  const gateway = new PlainServer((stream, endpoint) => {
    stream.respond([[":status", "200"]], false);
    dialTcp({ ip: "127.0.0.1", port: server.port }, undefined, {}, {
      dialed: (tcp) => void new Relay(endpoint, tcp, { relayFinished() {} }, { value: 0 }, { value: 0 }),
      dialFailed: () => endpoint.abort(),
    });
  });
  const pool = new Pool(
    limits,
    (_, owner, done, failed) =>
      connectPlain(gateway.port, owner, done, (error) => failed(connectFailure(error.message))),
  );
  cleanups.push(() => gateway.stop(), () => pool.close());
  return {
    server,
    far,
    async connect() {
      const outer = await open(pool, gateway.port);
      if (!(outer instanceof StreamEndpoint)) return outer;
      return new Promise((resolve) => {
        openInnerTunnel(options, outer, target(0), [[":method", "CONNECT"], [":authority", "web:80"]], {
          innerConnected: (endpoint) => resolve(near(endpoint)),
          connectFailed: resolve,
        });
      });
    },
  };
}

async function connected(ends: Ends): Promise<Joined> {
  const outcome = await ends.connect();
  if (!("near" in outcome)) throw new Error(outcome.text);
  return outcome;
}

async function talks({ near }: Joined, { far }: Ends, stream = far.length - 1): Promise<void> {
  await until("the stream is there", () => far[stream] !== undefined);
  near.say("hello");
  await until("heard", () => far[stream]!.tape.text.endsWith("hello"));
  const before = near.text.length;
  far[stream]!.tape.say("well");
  await until("answered", () => near.text.length === before + 4);
}

for (const side of ["server", "client", "inner client"] as const) {
  const reporter = side === "server" ? "destination" : "source";
  const peer = side === "server" ? peers.client : peers.server;
  /** The end of the relay on the side that lost its trust, and on the other one. */
  const endings = (joint: Joined, ends: Ends) => side === "server" ? ends.far[0]!.ended : joint.ended;

  describe(`as ${side}`, () => {
    const isRefused = async (watched: Watched, ends: Ends, serial: string) => {
      const failure = await ends.connect();
      if ("near" in failure) throw new Error("not refused");
      const reason = `CERT_REVOKED: certificate revoked (serial 0x${serial.toLowerCase()} of issuer O=`;
      if (side === "server") {
        await until("told", () => ends.server.refusals.length > 0);
        expect(ends.server.refusals[0]).toStartWith(`tls handshake error: ${reason}`);
      } else {
        expect(failure.text).toStartWith(`io error: ${reason}`);
        expect(failure).toMatchObject({ flag: "CONNECT", retryable: true });
      }
      expect(ends.server.requests).toHaveLength(0);
      expect(watched.counts[0]).toMatch(
        new RegExp(`^istio_crl_policy_rejections_total\\{reporter="${reporter}"\\} [1-9]`),
      );
    };

    test("a revoked leaf is refused", async () => {
      const watched = new Watched();
      await watched.put(pki.list(middle, ["01", peer.serial]));
      await watched.trust.start();
      await isRefused(watched, meet(side, watched), peer.serial);
    });

    test("a revoked intermediate is refused, by a list that expired", async () => {
      const watched = new Watched();
      const times = ["-crl_lastupdate", "200101000000Z", "-crl_nextupdate", "200201000000Z"];
      await watched.put(pki.list(middle, ["01"]) + pki.list(root, [middle.serial], { arguments: times }));
      await watched.trust.start();
      await isRefused(watched, meet(side, watched), middle.serial);
    });

    test("what others did is nothing to it: serials of another issuer, and a list with another's signature", async () => {
      const watched = new Watched();
      await watched.put(
        pki.list(root, [peer.serial]) + pki.list(stranger, [peer.serial]) +
          pki.list(pki.authority("elsewhere"), [peer.serial, middle.serial]),
      );
      await watched.trust.start();
      const ends = meet(side, watched);
      await talks(await connected(ends), ends);
      await connected(ends);
      expect(watched.counts).toEqual([]);
      const warnings = watched.lines.filter((line) => line.includes("are not signed by it"));
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain('issuer="O=middle"');
    });

    test("a tunnel is cut when its peer is revoked, and others are not", async () => {
      const watched = new Watched();
      const other = { client: pki.issue(middle, CLIENT, root.pem), server: pki.issue(middle, SERVER, root.pem) };
      const [ends, others] = [meet(side, watched), meet(side, watched, other)];
      await watched.trust.start(); // there is no file yet
      const [cut, stays] = [await connected(ends), await connected(others)];
      await talks(cut, ends);
      await talks(stays, others);
      expect(watched.trust.size).toBe(2);
      await watched.put(pki.list(middle, [peer.serial]));
      expect(await endings(cut, ends)).toEqual({ text: REVOKED, flag: "CERT_REVOKED" });
      await until("the other side hears", () => cut.near.finished || cut.near.closed);
      expect(watched.trust.size).toBe(1);
      await talks(stays, others);
      expect(watched.counts).toEqual([`istio_crl_policy_rejections_total{reporter="${reporter}"} 1`]);
      ends.server.requests.length = 0;
      await isRefused(watched, ends, peer.serial);
    });

    test("a tunnel made under other lists is cut by new ones, intermediates too", async () => {
      const watched = new Watched();
      await watched.put(pki.list(middle, ["01"]));
      await watched.trust.start();
      const ends = meet(side, watched);
      const joint = await connected(ends);
      await talks(joint, ends);
      await watched.put(pki.list(middle, ["01", "02"]));
      await talks(joint, ends);
      await watched.put(pki.list(root, [middle.serial]));
      expect(await endings(joint, ends)).toEqual({ text: REVOKED, flag: "CERT_REVOKED" });
    });

    test("a tunnel is cut when its root is withdrawn, and not before", async () => {
      const watched = new Watched(false);
      const young = pki.authority("young root");
      await watched.trust.start();
      const ends = meet(side, watched);
      const joint = await connected(ends);
      await talks(joint, ends);
      const own = side === "server" ? SERVER : CLIENT;
      watched.trust.rootsChanged(own, root.pem + young.pem);
      await watched.trust.settled();
      await talks(joint, ends);
      watched.trust.rootsChanged(side === "server" ? CLIENT : SERVER, young.pem); // somebody else's
      await watched.trust.settled();
      await talks(joint, ends);
      watched.trust.rootsChanged(own, young.pem);
      expect(await endings(joint, ends)).toEqual({ text: WITHDRAWN, flag: "CERT_REVOKED" });
      await until("the other side hears", () => joint.near.finished || joint.near.closed);
      expect(watched.trust.size).toBe(0);
      expect(watched.counts).toEqual([]);
    });
  });
}

describe("the file", () => {
  let watched: Watched;
  let ends: Ends;
  beforeEach(() => {
    watched = new Watched();
    ends = meet("client", watched);
  });
  const revoking = pki.list(middle, [peers.server.serial]);
  const accepted = async () => "near" in await ends.connect();
  const last = () => watched.lines.at(-1) ?? "";

  test("may be missing, and counts when it is there", async () => {
    await watched.trust.start();
    expect(last()).toContain("are not there yet");
    expect(await accepted()).toBe(true);
    await watched.put(revoking);
    expect(watched.lines.at(-2)).toContain("lists in force");
    expect(last()).toMatch(/tunnels cut: peer certificate revoked\ttunnels=1\n/);
    expect(await accepted()).toBe(false);
  });

  test("that cannot be read at the start revokes nothing until it can", async () => {
    await watched.put("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n");
    await watched.trust.start();
    expect(last()).toMatch(/\twarn\t.*nothing is revoked until they can\t.*error="list 1, at octet 0: /);
    expect(await accepted()).toBe(true);
    expect(watched.trust.status()).toMatchObject({ lists: 0, loaded: undefined });
    await watched.put(revoking);
    expect(await accepted()).toBe(false);
    expect(watched.trust.status()).toMatchObject({ lists: 1, entries: 1, error: undefined });
  });

  test("that becomes bad or vanishes leaves in force what was; an empty one revokes nothing", async () => {
    await watched.put(revoking);
    await watched.trust.start();
    for (const content of ["nonsense", `${revoking}${revoking.slice(0, 100)}`, undefined]) {
      await watched.put(content);
      expect(last()).toContain("those in force stay");
      expect(await accepted()).toBe(false);
    }
    await watched.put("");
    expect(last()).toMatch(/has none any more.*lists=0 entries=0/);
    expect(await accepted()).toBe(true);
  });

  test("must be one", async () => {
    const status = async (crlPath: string) => {
      const registry = new MetricRegistry();
      const log = new Logger({ write() {}, flush() {} }).scope("tls");
      const trust = new PeerTrust({ crlPath, metrics: registerCrlMetrics(registry), log, watch: watchFile });
      cleanups.push(() => trust.close());
      await trust.start();
      return trust.status()?.error;
    };
    expect(await status(pki.directory)).toBe("it is not a file");
    const pipe = join(pki.directory, "pipe");
    Bun.spawnSync(["mkfifo", pipe]);
    expect(await status(pipe)).toBe("it is not a file");
    expect(await status("/dev/zero")).toBe("it is not a file");
    expect(await status(join(pki.directory, "nowhere", "crl.pem"))).toBe("the file is not there");
  });

  test("is watched as Kubernetes changes it: a link to a folder that is replaced", async () => {
    const folder = join(pki.directory, "volume");
    mkdirSync(join(folder, "1"), { recursive: true });
    writeFileSync(join(folder, "1", "crl.pem"), "");
    symlinkSync("1", join(folder, "..data"));
    symlinkSync("..data/crl.pem", join(folder, "crl.pem"));
    const log = new Logger({ write() {}, flush() {} }).scope("tls");
    const trust = new PeerTrust({
      crlPath: join(folder, "crl.pem"),
      metrics: registerCrlMetrics(new MetricRegistry()),
      log,
      watch: (path, onChange) => watchFile(path, onChange, 20),
    });
    cleanups.push(() => trust.close());
    await trust.start();
    expect(trust.status()).toMatchObject({ lists: 0, error: undefined });
    mkdirSync(join(folder, "2"));
    writeFileSync(join(folder, "2", "crl.pem"), revoking);
    symlinkSync("2", join(folder, "..new"));
    renameSync(join(folder, "..new"), join(folder, "..data"));
    await until("in force", () => trust.status()?.entries === 1);
  });

  test("that is the same as before is not read again", async () => {
    await watched.put(revoking);
    await watched.trust.start();
    const { length } = watched.lines;
    await watched.put(revoking);
    expect(watched.lines).toHaveLength(length);
  });
});

test("without a file no chain is read", async () => {
  const watched = new Watched(false);
  await watched.trust.start();
  const ends = meet("client", watched);
  const dial = await connected(ends);
  await talks(dial, ends);
  expect(watched.trust.status()).toBeUndefined();
  expect(watched.lines).toEqual([]);
});

test("a CONNECT that nobody answered yet goes once more, and is refused at the handshake", async () => {
  const watched = new Watched();
  await watched.trust.start();
  const ends = meet("client", watched, peers, false);
  const outcome = ends.connect();
  await until("asked", () => ends.server.requests.length === 1);
  await watched.put(pki.list(middle, [peers.server.serial]));
  expect(await outcome).toMatchObject({ flag: "CONNECT" });
  expect((await outcome as ConnectFailure).text).toStartWith("io error: CERT_REVOKED: ");
  expect(ends.server.requests).toHaveLength(1);
});

test("certificates of a new root under both are undisturbed when the old one goes", async () => {
  const young = pki.authority("young root");
  const both = root.pem + young.pem;
  const rotated = {
    client: pki.issue(pki.authority("young middle", young), CLIENT, both),
    server: pki.issue(middle, SERVER, both),
  };
  const watched = new Watched(false);
  const ends = meet("server", watched, rotated);
  const joint = await connected(ends);
  await talks(joint, ends);
  watched.trust.rootsChanged(SERVER, young.pem);
  await watched.trust.settled();
  await talks(joint, ends);
  // Its own certificate may be of whatever root: that is for the peer to judge.
  watched.trust.rootsChanged(SERVER, root.pem);
  expect((await ends.far[0]!.ended)?.text).toBe(WITHDRAWN);
});

test("a handshake that began with the roots of before and ends after is looked at again", async () => {
  const watched = new Watched(false);
  watched.trust.rootsChanged(SERVER, pki.authority("young root").pem);
  await watched.trust.settled();
  const ends = meet("server", watched); // with a certificate of before
  const joint = await connected(ends);
  await until("the stream is there", () => ends.far.length > 0);
  expect((await ends.far[0]!.ended)?.text).toBe(WITHDRAWN);
  await until("the other side hears", () => joint.near.finished || joint.near.closed);
});

test("a root that was renewed with its key is the same", async () => {
  const renewed = pki.authority("root again", undefined, { organization: "root", keyOf: root });
  const watched = new Watched(false);
  const ends = meet("server", watched);
  const joint = await connected(ends);
  watched.trust.rootsChanged(SERVER, renewed.pem);
  await watched.trust.settled();
  await talks(joint, ends);
  expect(watched.trust.size).toBe(1);
});

test("many tunnels of one authority are cut without holding anything up, and nothing of them stays", async () => {
  const watched = new Watched();
  await watched.put(pki.list(middle, ["01"]));
  await watched.trust.start();
  const server = meet("server", watched);
  await talks(await connected(server), server);
  const before = openFdCount();
  const clients = Array.from({ length: 40 }, () => meet("client", watched));
  for (const ends of clients) await talks(await connected(ends), ends);
  expect(watched.trust.size).toBe(41);
  await watched.put(pki.list(middle, [peers.server.serial, peers.client.serial]));
  expect(watched.trust.size).toBe(0);
  for (const ends of clients) await until("gone", () => ends.server.sockets === 0);
  await until("descriptors are free", () => openFdCount() <= before + 40); // the listeners
});
