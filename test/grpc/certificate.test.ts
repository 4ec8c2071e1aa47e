import { afterAll, describe, expect, test } from "bun:test";
import type { GrpcChannelOptions } from "../../src/grpc/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { ForgingCa, openssl } from "../identity/forging_ca.ts";
import { fixture, outcome, plainListener } from "./fixture.ts";
import { echo, type TestServer, type TestServerOptions } from "./server.ts";

const { authority, certificate, channel, later, roots, ...made } = await fixture();
const stranger = new ForgingCa();
afterAll(() => stranger.remove());
const forge = (...names: string[]) => authority.forge([`subjectAltName = ${names.join(",")}`]);
const serverOf = (of: WorkloadCertificate, options: TestServerOptions = {}) =>
  made.server({ message: echo, ...options }, of);
const meet = (server: TestServer, options: Partial<GrpcChannelOptions> = {}) => outcome(channel(server.port, options));

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
    [["DNS:other.test"], ["istiod.test", ""], "istiod.test, but for DNS:other.test"],
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
    expect(await outcome(to)).toContain("none of the trusted roots");
    current = roots;
    expect(await outcome(to)).toBe("answered hello");
  });
});

describe("TLS", () => {
  const names = { names: [] as unknown[] };

  test("sends the first name as SNI, and none for an address", async () => {
    names.names = [];
    for (const serverNames of [["istiod.test", "x.test"], ["127.0.0.1", "istiod.test"]] as [string, ...string[]][]) {
      const node = await sniServer(certificate);
      expect(await outcome(channel(node.port, { serverNames }))).toContain("connect 14: ");
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

  test("with a server that wants a certificate of ours says so", async () => {
    const tls = { ca: roots, requestCert: true, rejectUnauthorized: true };
    expect(await meet(serverOf(certificate, { tls }))).toMatch(
      /^connect 14: HTTP\/2 with .* did not start: .*CERTIFICATE_REQUIRED/,
    );
  });

  test("with a server without TLS", async () => {
    const { port } = plainListener(later, "HTTP/1.1 400 Bad Request\r\n\r\n", false);
    expect(await outcome(channel(port))).toMatch(/^connect 14: TLS with .* failed: .*WRONG_VERSION_NUMBER/);
  });

  test("with a server that leaves", async () => {
    const { port } = plainListener(later, "", true);
    expect(await outcome(channel(port))).toMatch(
      /^connect 14: TLS with .* failed: the server closed the connection during the handshake$/,
    );
  });
});

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
  later(() => server.close());
  return { port: (server.address() as { port: number }).port, name };
}
