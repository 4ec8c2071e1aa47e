/** Certificates of the istiod for tests, with requests by openssl and chains judged by openssl. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, must } from "../lab/topology/mod.ts";
import { Caller, CallError, type Channel } from "./caller.ts";
import { type Istiod, startIstiod } from "./mod.ts";

const IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart";
const HOUR = 3600;
const GOOD = { authorization: "Bearer good", clusterid: "Kubernetes" };

describe("certificates", () => {
  let istiod: Istiod;
  let caller: Caller;
  let channel: Channel;
  let directory: string;
  let csr: string;
  let key: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "ambient-istiod-"));
    key = join(directory, "key.pem");
    must(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]);
    csr = must([
      "openssl",
      "req",
      "-new",
      "-key",
      key,
      "-subj",
      "/",
      "-addext",
      `subjectAltName=critical,URI:${IDENTITY}`,
    ]);
    caller = new Caller();
    istiod = await startIstiod({
      portSettings: {
        clusterId: "Kubernetes",
        tokens: [{ token: "good" }, {
          token: "pod",
          identity: "spiffe://cluster.local/ns/a/sa/b",
          impersonates: false,
        }],
      },
    });
    channel = caller.channel({ port: istiod.port, roots: readFileSync(istiod.rootPath, "utf8") });
  });
  afterAll(async () => {
    rmSync(directory, { recursive: true, force: true });
    await istiod?.close();
    await caller?.stop();
  });

  const ask = (seconds = HOUR, metadata: Readonly<Record<string, string>> = GOOD, request = csr) =>
    channel.certify(
      { csr: request, validityDuration: BigInt(seconds), metadata: { ImpersonatedIdentity: IDENTITY } },
      metadata,
    );
  const refused = async (call: Promise<unknown>) => {
    const error: unknown = await call.then(() => undefined, (thrown: unknown) => thrown);
    if (!(error instanceof CallError)) throw new Error(`not refused: ${error}`);
    return error.code;
  };

  /** What openssl says of a chain: "OK", or its error. */
  function judge(chain: readonly string[], roots: string, crl?: string): string {
    const file = (name: string, text: string) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const leaf = file("leaf.pem", chain[0] ?? "");
    const middle = file("middle.pem", chain.slice(1, -1).join(""));
    const judged = attempt([
      "openssl",
      "verify",
      "-CAfile",
      file("roots.pem", roots),
      ...(chain.length < 3 ? [] : ["-untrusted", middle]),
      ...(crl === undefined ? [] : ["-crl_check_all", "-CRLfile", file("crl.pem", crl)]),
      leaf,
    ]);
    return judged.ok
      ? "OK"
      : /error \d+ at [^:]*: ?(.*)|error .* lookup: ?(.*)/.exec(judged.stderr)?.[1] ?? judged.stderr;
  }

  test("leaf, intermediate and root, for the identity and the key that asked, as long as was asked for", async () => {
    const chain = await ask(2 * HOUR);
    expect(chain).toHaveLength(3);
    expect(judge(chain, chain[2] ?? "")).toBe("OK");
    expect(chain[2]).toBe(await istiod.roots());
    const leaf = new X509Certificate(chain[0] ?? "");
    expect(leaf.subjectAltName).toBe(`URI:${IDENTITY}`);
    expect(leaf.publicKey.export({ type: "spki", format: "pem" }).toString())
      .toBe(must(["openssl", "ec", "-in", key, "-pubout"]));
    const from = Date.parse(leaf.validFrom);
    const to = Date.parse(leaf.validTo);
    expect((to - from) / 1000).toBe(2 * HOUR + 120);
    expect(Math.abs(to - Date.now() - 2 * HOUR * 1000)).toBeLessThan(60_000);
    await istiod.caughtUp();
    const seen = istiod.seen.certificateRequests().at(-1);
    expect(seen).toMatchObject({
      validitySeconds: 2 * HOUR,
      impersonated: IDENTITY,
      status: 0,
      serial: leaf.serialNumber.toLowerCase(),
    });
    expect(seen?.csr).toEqual({
      subject: "",
      signatureGood: true,
      key: "ECDSA P-256",
      signature: "ECDSA SHA-256",
      uris: [IDENTITY],
      otherNames: [],
      sanCritical: true,
      extensions: ["2.5.29.17"],
    });
  });

  test("tokens and clusters are checked; only some may impersonate, others get their own identity", async () => {
    expect(await refused(ask(HOUR, {}))).toBe(16);
    expect(await refused(ask(HOUR, { ...GOOD, authorization: "Bearer bad" }))).toBe(16);
    expect(await refused(ask(HOUR, { ...GOOD, clusterid: "other" }))).toBe(16);
    expect(await refused(ask(HOUR, { ...GOOD, authorization: "Bearer pod" }))).toBe(16);
    const own = await channel.certify({ csr, validityDuration: 60n }, { ...GOOD, authorization: "Bearer pod" });
    expect(new X509Certificate(own[0] ?? "").subjectAltName).toBe("URI:spiffe://cluster.local/ns/a/sa/b");
    await istiod.setCa({ forbidden: [IDENTITY] });
    expect(await refused(ask())).toBe(16);
    await istiod.setCa({ forbidden: [] });
    await istiod.setPort({ refuseTokens: true });
    expect(await refused(ask())).toBe(16);
    const stream = channel.discover();
    expect((await stream.ended).code).toBe(16);
    await istiod.setPort({ refuseTokens: false });
  });

  test("requests that are none, or not signed by their key, are refused", async () => {
    expect(await refused(ask(HOUR, GOOD, "no request"))).toBe(3);
    const [begin = "", ...lines] = csr.trim().split("\n");
    const end = lines.pop() ?? "";
    const der = Buffer.from(lines.join(""), "base64");
    // The last byte is of the signature.
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    expect(await refused(ask(HOUR, GOOD, [begin, der.toString("base64"), end, ""].join("\n")))).toBe(3);
    await istiod.caughtUp();
    expect(istiod.seen.certificateRequests().at(-1)?.csr?.signatureGood).toBeFalse();
    expect(await refused(ask(91 * 24 * HOUR))).toBe(3);
  });

  test("certificates of all bad kinds", async () => {
    const with_ = async (settings: Parameters<Istiod["setCa"]>[0]) => {
      const before = await istiod.setCa({});
      await istiod.setCa(settings);
      const chain = await ask();
      await istiod.setCa({ ...before });
      return chain;
    };
    const wrong = await with_({ identity: "spiffe://cluster.local/ns/shop/sa/other" });
    expect(new X509Certificate(wrong[0] ?? "").subjectAltName).toBe("URI:spiffe://cluster.local/ns/shop/sa/other");
    expect(await with_({ chain: "leaf" })).toHaveLength(1);
    expect(await with_({ chain: "empty" })).toHaveLength(0);
    const direct = await with_({ chain: "without intermediate" });
    expect(direct).toHaveLength(2);
    expect(judge(direct, direct[1] ?? "")).toBe("OK");
    expect(() => new X509Certificate("x")).toThrow();
    const garbage = await with_({ chain: "garbage" });
    expect(() => new X509Certificate(garbage[0] ?? "")).toThrow();
    const expired = await with_({ shiftSeconds: -2 * HOUR });
    expect(judge(expired, expired[2] ?? "")).toBe("certificate has expired");
    const future = await with_({ shiftSeconds: 2 * HOUR });
    expect(judge(future, future[2] ?? "")).toBe("certificate is not yet valid");
    const short = new X509Certificate((await with_({ ttlSeconds: 3, backdateSeconds: 0 }))[0] ?? "");
    expect(Date.parse(short.validTo) - Date.parse(short.validFrom)).toBe(3000);
    const foreign = new X509Certificate((await with_({ foreignKey: true }))[0] ?? "");
    expect(foreign.publicKey.export({ type: "spki", format: "pem" }).toString())
      .not.toBe(must(["openssl", "ec", "-in", key, "-pubout"]));
  });

  test("unavailable for a while, or silent", async () => {
    await istiod.setCa({ refuse: { code: 14, message: "not now" }, refusals: 2 });
    expect(await refused(ask())).toBe(14);
    expect(await refused(ask())).toBe(14);
    expect(await ask()).toHaveLength(3);
    await istiod.setCa({ refuse: undefined, refusals: undefined, silent: true });
    const mark = await istiod.caughtUp();
    const unanswered = ask();
    let answered = false;
    unanswered.then(() => answered = true, () => answered = true);
    expect((await istiod.seen.until("csr", () => true, { since: mark })).status).toBeUndefined();
    await istiod.setCa({ silent: false });
    expect(await ask()).toHaveLength(3);
    expect(answered).toBeFalse();
  });

  test("a new root beside the old one, and then alone", async () => {
    const before = await ask();
    const old = await istiod.roots();
    const generation = await istiod.rotateRoot("both");
    const both = await ask();
    expect(both[2]).toBe(`${await istiod.roots([generation])}${old}`);
    expect(judge(both, both[2] ?? "")).toBe("OK");
    expect(judge(before, both[2] ?? "")).toBe("OK");
    expect(judge(both, old)).not.toBe("OK");
    await istiod.setCa({ roots: [generation] });
    const alone = await ask();
    expect(alone[2]).toBe(await istiod.roots([generation]));
    expect(judge(before, alone[2] ?? "")).not.toBe("OK");
  });

  test("revoked leaves and intermediates are in the lists of their issuers", async () => {
    const chain = await ask();
    const roots = chain[2] ?? "";
    const other = await istiod.issue({ identity: "spiffe://cluster.local/ns/a/sa/peer" });
    const otherChain = [...other.chain.split(/(?<=-----END CERTIFICATE-----\n)/), other.roots];
    expect(judge(otherChain, roots, await istiod.revoke({}))).toBe("OK");
    const crl = await istiod.revoke({ identities: ["spiffe://cluster.local/ns/a/sa/peer"] });
    expect(judge(otherChain, roots, crl)).toBe("certificate revoked");
    expect(judge(chain, roots, crl)).toBe("OK");
    const { issuer } = await istiod.setCa({});
    expect(judge(chain, roots, await istiod.revoke({ intermediates: [issuer] }))).toBe("certificate revoked");
  });
});
