import { afterAll, describe, expect, test } from "bun:test";
import { parseIdentity, type WorkloadCertificate } from "../../src/identity/mod.ts";
import {
  clientContext,
  DEFAULT_TLS_POLICY,
  serverContext,
  type TlsContext,
  verifyClient,
  verifyServer,
} from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { encounter, type Judge, MESSAGE, type Side } from "./encounter.ts";

const SERVER = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const HOUR = 3600_000;

const mesh = new ForgingCa();
const meshRoot = await mesh.ca.rootPem();
const stranger = new ForgingCa();
afterAll(() => {
  mesh.remove();
  stranger.remove();
});

const own = parseIdentity(SERVER) ?? { trustDomain: "", namespace: "", serviceAccount: "" };
const trustOwnDomain: Judge = (socket, ok, error) => verifyClient(socket, ok, error, own);
const expect1: Judge = (socket, ok, error) => verifyServer(socket, ok, error, [SERVER]);

type Issued = WorkloadCertificate | Promise<WorkloadCertificate>;

const forge = (...extensions: string[]) => mesh.forge(extensions);
/** A certificate of another CA, in hands that trust the mesh's roots. */
const strange = async (identity: string) => ({ ...await stranger.issue(identity), rootsPem: meshRoot });

async function meet(
  certificates: { server?: Issued; client?: Issued },
  change: { server?: Partial<TlsContext>; client?: Partial<TlsContext>; judge?: Judge } = {},
): Promise<{ server: Side; client: Side }> {
  const atServer = await (certificates.server ?? mesh.issue(SERVER));
  const atClient = await (certificates.client ?? mesh.issue(CLIENT));
  const server = { ...serverContext(atServer, DEFAULT_TLS_POLICY), ...change.server };
  const client = { ...clientContext(atClient, DEFAULT_TLS_POLICY), ...change.client };
  return encounter({ tls: server, judge: trustOwnDomain }, { tls: client, judge: change.judge ?? expect1 });
}

const reasonOf = (side: Side): string =>
  side.verdict === undefined || side.verdict.ok ? "accepted" : side.verdict.error;

test("a good client and a good server accept each other and talk", async () => {
  const { server, client } = await meet({});
  expect(server).toMatchObject({ handshake: "true", alpn: "h2", version: "TLSv1.3", received: MESSAGE.length });
  expect(server.verdict).toEqual({ ok: true, identity: CLIENT });
  expect(client).toMatchObject({ alpn: "h2", version: "TLSv1.3", received: MESSAGE.length });
  expect(client.handshake).toBe("false ERR_TLS_CERT_ALTNAME_INVALID");
  expect(client.verdict).toEqual({ ok: true, identity: SERVER });
});

describe("the server gets no byte of a client", () => {
  const refused = async (
    client: Issued,
    handshake: string,
    reason: string | RegExp,
    change: Partial<TlsContext> = {},
  ) => {
    const outcome = await meet({ client }, { client: change });
    expect(outcome.server.handshake).toBe(handshake);
    expect(reasonOf(outcome.server)).toMatch(reason);
    expect(outcome.server.received).toBe(0);
    expect(outcome.client.received).toBe(0);
    return outcome;
  };

  test("of another CA", async () => {
    const { client } = await refused(
      strange(CLIENT),
      "true UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE: ",
    );
    // It has been through its handshake and sent, before it could know.
    expect(client.verdict).toEqual({ ok: true, identity: SERVER });
  });

  test("whose certificate has expired", () =>
    refused(mesh.issueAt(CLIENT, -2 * HOUR), "true CERT_HAS_EXPIRED", "CERT_HAS_EXPIRED: "));

  test("whose certificate is not valid yet", () =>
    refused(mesh.issueAt(CLIENT, 2 * HOUR), "true CERT_NOT_YET_VALID", "CERT_NOT_YET_VALID: "));

  test("whose certificate is for servers only", () =>
    refused(
      forge(`subjectAltName = URI:${CLIENT}`, "extendedKeyUsage = serverAuth"),
      "true INVALID_PURPOSE",
      "INVALID_PURPOSE: ",
    ));

  test("without a certificate, which is told so by an alert", async () => {
    const { key: _key, cert: _cert, ...bare } = clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY);
    const { server, client } = await encounter(
      { tls: serverContext(await mesh.issue(SERVER), DEFAULT_TLS_POLICY), judge: trustOwnDomain },
      { tls: bare, judge: expect1 },
    );
    expect(server.handshake).toBe("false EPROTO");
    expect(reasonOf(server)).toContain("PEER_DID_NOT_RETURN_A_CERTIFICATE");
    expect(server.received + client.received).toBe(0);
    expect(client.errors.join()).toContain("CERTIFICATE_REQUIRED");
  });

  test("of another trust domain under the same roots", async () => {
    const other = "spiffe://elsewhere/ns/default/sa/client";
    await refused(
      mesh.issue(other),
      "true",
      `identity verification error: peer did not present the expected trustdomain (cluster.local), got ${other}`,
    );
  });

  test("without a SPIFFE name", async () => {
    const none = "identity verification error: peer did not present the expected trustdomain (cluster.local), got ";
    await refused(forge("keyUsage = digitalSignature"), "true", none);
    await refused(forge("subjectAltName = DNS:cluster.local,URI:https://cluster.local/ns/a/sa/b"), "true", none);
    await refused(forge(`subjectAltName = DNS:${CLIENT}`), "true", none);
  });

  test("that speaks TLS 1.2", () =>
    refused(mesh.issue(CLIENT), "false EPROTO", "UNSUPPORTED_PROTOCOL", {
      minVersion: 0x303,
      maxVersion: 0x303,
    }));

  test("that offers another ALPN only", () =>
    refused(mesh.issue(CLIENT), "false EPROTO", "NO_APPLICATION_PROTOCOL", { ALPNProtocols: "\x08http/1.1" }));

  test("that knows no group of ours", () =>
    refused(mesh.issue(CLIENT), "false EPROTO", "NO_SHARED_GROUP", { ecdhCurve: "P-521" }));
});

describe("the server accepts a client", () => {
  test("that offers no ALPN", async () => {
    const { ALPNProtocols: _alpn, ...tls } = clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY);
    const { server } = await encounter(
      { tls: serverContext(await mesh.issue(SERVER), DEFAULT_TLS_POLICY), judge: trustOwnDomain },
      { tls, judge: expect1 },
    );
    expect(server).toMatchObject({ verdict: { ok: true, identity: CLIENT }, alpn: "false", received: MESSAGE.length });
  });

  test("with several names by the first that is a SPIFFE id", async () => {
    const names = `DNS:a.b,URI:https://x,URI:${CLIENT},URI:spiffe://elsewhere/ns/a/sa/b`;
    const { server } = await meet({ client: forge(`subjectAltName = ${names}`) });
    expect(server.verdict).toEqual({ ok: true, identity: CLIENT });
  });

  test("below an intermediate CA, and below the second of two roots", async () => {
    const { server } = await meet({ client: mesh.issueBelowIntermediate(CLIENT) });
    expect(server.verdict).toEqual({ ok: true, identity: CLIENT });
    const both = { ...await mesh.issue(SERVER), rootsPem: await stranger.ca.rootPem() + meshRoot };
    expect((await meet({ server: both })).server.verdict).toEqual({ ok: true, identity: CLIENT });
  });
});

describe("the client sends no byte to a server", () => {
  const refused = async (server: Issued, handshake: string, reason: string, judge: Judge = expect1) => {
    const outcome = await meet({ server }, { judge });
    expect(outcome.client.handshake).toBe(handshake);
    expect(reasonOf(outcome.client)).toStartWith(reason);
    expect(outcome.server.received).toBe(0);
    expect(outcome.client.received).toBe(0);
  };
  const nameOnly = "false ERR_TLS_CERT_ALTNAME_INVALID";

  test("of another CA", () =>
    refused(
      strange(SERVER),
      "false UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE: ",
    ));

  test("whose certificate has expired, or is not valid yet", async () => {
    await refused(mesh.issueAt(SERVER, -2 * HOUR), "false CERT_HAS_EXPIRED", "CERT_HAS_EXPIRED: ");
    await refused(mesh.issueAt(SERVER, 2 * HOUR), "false CERT_NOT_YET_VALID", "CERT_NOT_YET_VALID: ");
  });

  test("whose certificate is for clients only", () =>
    refused(
      forge(`subjectAltName = URI:${SERVER}`, "extendedKeyUsage = clientAuth"),
      "false INVALID_PURPOSE",
      "INVALID_PURPOSE: ",
    ));

  test("with another name than the expected ones", () =>
    refused(
      mesh.issue(SERVER),
      nameOnly,
      `identity verification error: peer did not present the expected SAN (${CLIENT},spiffe://a/ns/b/sa/c), got ${SERVER}`,
      (socket, ok, error) => verifyServer(socket, ok, error, [CLIENT, "spiffe://a/ns/b/sa/c"]),
    ));

  test("that begins like the expected one, where that is no bare trust domain", () =>
    refused(
      mesh.issue(SERVER),
      nameOnly,
      "identity verification error: peer did not present the expected SAN (spiffe://cluster.local/ns/default/sa/,spiffe:///), ",
      (socket, ok, error) => verifyServer(socket, ok, error, ["spiffe://cluster.local/ns/default/sa/", "spiffe:///"]),
    ));

  test("when none is expected", () =>
    refused(
      mesh.issue(SERVER),
      nameOnly,
      `identity verification error: peer did not present the expected SAN (), got ${SERVER}`,
      (socket, ok, error) => verifyServer(socket, ok, error, []),
    ));

  test("with the expected name only inside another one", () =>
    refused(
      forge("subjectAltName = @names", "[names]", `URI.1 = "spiffe://x/ns/a/sa/b, URI:${SERVER}"`),
      nameOnly,
      `identity verification error: peer did not present the expected SAN (${SERVER}), got `,
    ));
});

test("the client accepts a server that has a DNS or IP name too", async () => {
  const { client } = await meet({ server: forge(`subjectAltName = IP:127.0.0.1,DNS:a.b,URI:${SERVER}`) });
  expect(client.verdict).toEqual({ ok: true, identity: SERVER });
});

test("a handshake without an error and without success is no verdict", () => {
  const socket = { getPeerX509Certificate: () => undefined };
  expect(verifyClient(socket, false, null, own)).toEqual({ ok: false, error: "the handshake was not completed" });
  expect(verifyServer(socket, false, null, [SERVER])).toEqual({ ok: false, error: "the handshake was not completed" });
  expect(verifyClient(socket, true, null, own)).toEqual({ ok: false, error: "peer presented no certificate" });
  expect(verifyServer(socket, true, null, [SERVER])).toEqual({ ok: false, error: "peer presented no certificate" });
});
