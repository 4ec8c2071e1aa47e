import { Buffer } from "node:buffer";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "bun:test";
import { parseIdentity, pemBlocks, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { clientContext, DEFAULT_TLS_POLICY, serverContext, verifyClient, verifyServer } from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { listen, Observer, type Side } from "./encounter.ts";

const SERVER = "spiffe://cluster.local/ns/default/sa/server";
const CLIENT = "spiffe://cluster.local/ns/default/sa/client";

const mesh = new ForgingCa();
const meshRoot = await mesh.ca.rootPem();
const stranger = new ForgingCa();
afterAll(() => {
  mesh.remove();
  stranger.remove();
});
const own = parseIdentity(SERVER) ?? { trustDomain: "", namespace: "", serviceAccount: "" };

/** Arguments that make openssl show a certificate and trust its roots. */
function files(name: string, certificate: WorkloadCertificate): string[] {
  const path = (kind: string) => join(mesh.directory, `${name}.${kind}`);
  writeFileSync(path("crt"), certificate.chainPem);
  writeFileSync(path("key"), certificate.keyPem);
  writeFileSync(path("roots"), meshRoot);
  return ["-cert", path("crt"), "-key", path("key"), "-CAfile", path("roots")];
}

/** Runs `openssl s_client` against our server: it sends a line of six bytes and gets one. */
async function sClient(...args: string[]) {
  const observer = new Observer((socket, ok, error) => verifyClient(socket, ok, error, own), Buffer.from("seen.\n"));
  const listener = listen(serverContext(await mesh.issue(SERVER), DEFAULT_TLS_POLICY), observer.handlers());
  const command = ["openssl", "s_client", "-connect", `127.0.0.1:${listener.port}`, "-verify_return_error", "-quiet"];
  const run = Bun.spawn([...command, ...args], { stdin: new Blob(["hello\n"]), stdout: "pipe", stderr: "pipe" });
  const [output, complaint] = await Promise.all([run.stdout.text(), run.stderr.text(), observer.closed]);
  await run.exited;
  listener.stop(true);
  return { side: observer.side, answered: output.includes("seen."), complaint };
}

describe("openssl as the client", () => {
  test("with a good certificate is served", async () => {
    const { side, answered } = await sClient(...files("client", await mesh.issue(CLIENT)), "-alpn", "h2");
    expect(side).toMatchObject({ verdict: { ok: true, identity: CLIENT }, alpn: "h2", received: 6 });
    expect(answered).toBe(true);
  });

  for (
    const [what, certificate, handshake] of [
      ["of another CA", () => stranger.issue(CLIENT), "true UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      ["that has expired", () => mesh.issueAt(CLIENT, -7200_000), "true CERT_HAS_EXPIRED"],
      ["of another trust domain", () => mesh.issue("spiffe://elsewhere/ns/default/sa/client"), "true"],
    ] as const
  ) {
    test(`with a certificate ${what} is not heard`, async () => {
      const { side, answered } = await sClient(...files("client", await certificate()));
      expect(side).toMatchObject({ handshake, verdict: { ok: false }, received: 0 });
      expect(answered).toBe(false);
    });
  }

  for (
    const [what, args, alert] of [
      ["without a certificate", [], "alert certificate required"],
      ["with TLS 1.2 only", ["-tls1_2"], "alert protocol version"],
      ["with another ALPN only", ["-alpn", "http/1.1"], "alert no application protocol"],
      ["with P-521 only", ["-groups", "P-521"], "alert handshake failure"],
    ] as const
  ) {
    test(`${what} gets ${alert}`, async () => {
      const certificate = what === "without a certificate"
        ? ["-CAfile", join(mesh.directory, "ca", "root.pem")]
        : files("client", await mesh.issue(CLIENT));
      const { side, complaint } = await sClient(...certificate, ...args);
      expect(side).toMatchObject({ verdict: { ok: false }, received: 0 });
      expect(complaint).toContain(alert);
    });
  }

  test("with P-256 or P-384 only is served", async () => {
    for (const group of ["P-256", "P-384"]) {
      const { side } = await sClient(...files("client", await mesh.issue(CLIENT)), "-groups", group);
      expect(side.verdict).toEqual({ ok: true, identity: CLIENT });
    }
  });

  test("gets no session that it could resume", async () => {
    const session = join(mesh.directory, "session");
    rmSync(session, { force: true });
    const client = files("client", await mesh.issue(CLIENT));
    const { side, answered } = await sClient(...client, "-sess_out", session);
    expect(side.verdict).toEqual({ ok: true, identity: CLIENT });
    expect(answered).toBe(true);
    expect(await Bun.file(session).exists()).toBe(false);
  });
});

/** Lets our client connect to `openssl s_server`, which answers a line with its letters in reverse. */
async function sServer(...args: string[]): Promise<Side> {
  const observer = new Observer(
    (socket, ok, error) => verifyServer(socket, ok, error, [SERVER]),
    Buffer.from("hello\n"),
  );
  const command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-rev", ...args];
  const run = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  try {
    await Bun.connect({
      hostname: "127.0.0.1",
      port: await portOf(run.stdout),
      allowHalfOpen: true,
      tls: clientContext(await mesh.issue(CLIENT), DEFAULT_TLS_POLICY),
      socket: observer.handlers(),
    });
    await observer.closed;
  } finally {
    run.kill();
    await run.exited;
  }
  return observer.side;
}

/** The port that s_server chose, out of its `ACCEPT 127.0.0.1:port` line. */
async function portOf(output: ReadableStream<Uint8Array>): Promise<number> {
  let text = "";
  for await (const chunk of output) {
    text += new TextDecoder().decode(chunk);
    const port = /ACCEPT \S+:(\d+)\n/.exec(text)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`s_server ended: ${text}`);
}

describe("openssl as the server", () => {
  const demand = ["-Verify", "3", "-verify_return_error"];

  test("that demands our certificate is talked to", async () => {
    const side = await sServer(...files("server", await mesh.issue(SERVER)), ...demand, "-alpn", "h2");
    expect(side).toMatchObject({
      verdict: { ok: true, identity: SERVER },
      alpn: "h2",
      version: "TLSv1.3",
      received: 6,
    });
  });

  test("with a chain through an intermediate CA is talked to", async () => {
    const certificate = await mesh.issueBelowIntermediate(SERVER);
    const [leaf = "", above = ""] = pemBlocks("CERTIFICATE", certificate.chainPem);
    const args = files("server", { ...certificate, chainPem: leaf });
    const chain = join(mesh.directory, "server.chain");
    writeFileSync(chain, above);
    const side = await sServer(...args, "-cert_chain", chain);
    expect(side).toMatchObject({ verdict: { ok: true, identity: SERVER }, received: 6 });
  });

  test("without the intermediate certificate gets nothing", async () => {
    const certificate = await mesh.issueBelowIntermediate(SERVER);
    const [leaf = ""] = pemBlocks("CERTIFICATE", certificate.chainPem);
    const side = await sServer(...files("server", { ...certificate, chainPem: leaf }));
    expect(side).toMatchObject({
      handshake: "false UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      verdict: { ok: false },
      received: 0,
    });
  });

  test("of another CA, expired or with another name gets nothing", async () => {
    const other = await sServer(...files("server", await stranger.issue(SERVER)));
    expect(other).toMatchObject({
      handshake: "false UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      verdict: { ok: false },
      received: 0,
    });
    const expired = await sServer(...files("server", await mesh.issueAt(SERVER, -7200_000)));
    expect(expired).toMatchObject({ handshake: "false CERT_HAS_EXPIRED", verdict: { ok: false }, received: 0 });
    const named = await sServer(...files("server", await mesh.issue(CLIENT)));
    expect(named).toMatchObject({ verdict: { ok: false }, received: 0 });
  });

  test("with TLS 1.2 only gets nothing", async () => {
    const side = await sServer(...files("server", await mesh.issue(SERVER)), "-tls1_2");
    expect(side).toMatchObject({ handshake: "false EPROTO", verdict: { ok: false }, received: 0 });
  });
});
