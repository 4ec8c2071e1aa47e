import { afterAll, afterEach, expect, test } from "bun:test";
import { type ConnectFailure, connectFailure, Pool, StreamEndpoint, tunnelDialer } from "../../src/hbone/mod.ts";
import { CertificateCache } from "../../src/identity/mod.ts";
import { openFdCount } from "../../src/linux/mod.ts";
import { DEFAULT_TLS_POLICY } from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { MeshServer } from "./mesh_server.ts";
import { SETTINGS } from "./plain_transport.ts";
import { hurried, until } from "./tape.ts";

const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const SERVER = "spiffe://cluster.local/ns/default/sa/server";

const ca = new ForgingCa();
afterAll(() => ca.remove());
const serverCertificate = await ca.issue(SERVER);
const certificates = new CertificateCache(ca.ca);
await certificates.get(CLIENT, "realtime");
afterAll(() => certificates.close());

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function connect(
  port: number,
  changes: { sourceIdentity?: string; expectedIdentities?: string[] } = {},
): Promise<StreamEndpoint | ConnectFailure> {
  const dial = tunnelDialer({ certificates, tlsPolicy: DEFAULT_TLS_POLICY, settings: SETTINGS });
  const pool = new Pool(
    { maxStreamsPerConnection: 100, unusedReleaseTimeout: 300_000, waitTimeout: 10_000 },
    (target, owner, done, failed) => dial(target, {}, owner, done, failed),
  );
  cleanups.push(() => pool.close());
  return new Promise((resolve) => {
    pool.connect(
      {
        sourceIdentity: CLIENT,
        sourceIp: "127.0.0.1",
        expectedIdentities: [SERVER],
        destination: { ip: "127.0.0.1", port },
        ...changes,
      },
      [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]],
      { connected: resolve, connectFailed: resolve },
    );
  });
}

function meshServer(): MeshServer {
  const server = new MeshServer(serverCertificate, ({ stream }) => stream.respond([[":status", "200"]], false));
  cleanups.push(() => server.stop());
  return server;
}

/** A port where this happens to what is accepted. */
function plainServer(open: (socket: Bun.Socket<undefined>) => void): number {
  const listener = Bun.listen<undefined>({ hostname: "127.0.0.1", port: 0, socket: { open, data() {} } });
  cleanups.push(() => listener.stop(true));
  return listener.port;
}

test("a good peer", async () => {
  const server = meshServer();
  expect(await connect(server.port)).toBeInstanceOf(StreamEndpoint);
  expect(server.requests[0]!.peer.identityText).toBe(CLIENT);
});

const failures: [
  what: string,
  port: () => number,
  changes: { sourceIdentity?: string; expectedIdentities?: string[] },
  text: string,
  flag: ConnectFailure["flag"],
  retryable: boolean,
][] = [
  [
    "nobody listens",
    () => {
      const listener = Bun.listen<undefined>({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
      listener.stop(true);
      return listener.port;
    },
    {},
    "io error: Connection refused (os error 111)",
    "CONNECT",
    true,
  ],
  [
    "another identity",
    () => meshServer().port,
    { expectedIdentities: ["spiffe://a/ns/b/sa/c"] },
    `io error: identity verification error: peer did not present the expected SAN (spiffe://a/ns/b/sa/c), got ${SERVER}`,
    "CONNECT",
    true,
  ],
  [
    "nobody is expected",
    () => meshServer().port,
    { expectedIdentities: [] },
    `io error: identity verification error: peer did not present the expected SAN (), got ${SERVER}`,
    "CONNECT",
    false,
  ],
  [
    "the peer leaves at once",
    () => plainServer((socket) => void socket.end()),
    {},
    "io error: tls handshake eof",
    "CONNECT",
    true,
  ],
  [
    "no certificate of ours",
    () => meshServer().port,
    { sourceIdentity: "nobody" },
    "identity error: invalid spiffe identity: nobody",
    "IDENTITY_ERROR",
    false,
  ],
];
for (const [what, port, changes, text, flag, retryable] of failures) {
  test(`${what}: ${text}`, async () => {
    const destination = port();
    const before = openFdCount();
    expect(await connect(destination, changes)).toEqual({ text, flag, retryable });
    await until("no descriptor is left", () => openFdCount() <= before);
  });
}

test("a peer that says nothing: after 10 s", async () => {
  const port = plainServer(() => {});
  expect(await hurried(() => connect(port))).toEqual(
    connectFailure("io error: tls handshake timed out", "CONNECT", true),
  );
});
