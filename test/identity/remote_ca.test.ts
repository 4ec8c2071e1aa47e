import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { createCsr } from "../../src/identity/csr.ts";
import { newKey } from "../../src/identity/issuance.ts";
import { issuedCertificate } from "../../src/identity/issued_certificate.ts";
import {
  CertificateError,
  parseCertificate,
  RemoteCa,
  type RemoteCaOptions,
  type WorkloadCertificate,
} from "../../src/identity/mod.ts";
import { openssl } from "./forging_ca.ts";
import { derOf, SigningService } from "./signing_service.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
const OTHER = "spiffe://cluster.local/ns/kube-system/sa/admin";
const DAY = 24 * 3600_000;

let service: SigningService;
let root: string;
beforeAll(async () => {
  service = new SigningService();
  root = await service.rootPem();
});
afterAll(() => service.remove());
const good = (csr: string): readonly string[] => [service.sign(csr, []), root];
beforeEach(() => {
  service.requests.length = 0;
  service.chain = good;
});

function remoteCa(options: Partial<RemoteCaOptions> = {}): RemoteCa {
  return new RemoteCa({ call: service.call, ttlMs: DAY, impersonate: true, ...options });
}

/** Asks for ID and gets what the answer is refused with. */
async function refusal(chain: typeof service.chain, options?: Partial<RemoteCaOptions>): Promise<string> {
  service.chain = chain;
  const error = await remoteCa(options).fetch(ID).then(() => "it was taken", (error: unknown) => error);
  expect(error).toBeInstanceOf(CertificateError);
  return (error as Error).message;
}

describe("the request", () => {
  test("names the identity it impersonates, the life it wants, and holds a request that verifies", async () => {
    await remoteCa({ ttlMs: 3_600_900 }).fetch(ID);
    const [request] = service.requests;
    expect(request?.validityDuration).toBe(3600n);
    expect(request?.metadata).toEqual({ ImpersonatedIdentity: ID });
    expect(request?.$unknown).toBeUndefined();
    expect(request?.csr).toMatch(
      /^-----BEGIN CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE REQUEST-----\n$/,
    );
  });

  test("for oneself has no metadata, or the signer's name only", async () => {
    await remoteCa({ impersonate: false }).fetch(ID);
    await remoteCa({ impersonate: false, certSigner: "acme/signer" }).fetch(ID);
    await remoteCa({ certSigner: "acme/signer" }).fetch(ID);
    expect(service.requests.map(({ metadata }) => metadata)).toEqual([
      undefined,
      { CertSigner: "acme/signer" },
      { ImpersonatedIdentity: ID, CertSigner: "acme/signer" },
    ]);
  });

  test("has a key of its own each time", async () => {
    const [a, b] = await Promise.all([remoteCa().fetch(ID), remoteCa().fetch(ID)]);
    expect(a.keyPem).not.toBe(b.keyPem);
    expect(service.requests[0]?.csr).not.toBe(service.requests[1]?.csr);
  });

  test("asks for a second at least", async () => {
    await remoteCa({ ttlMs: 1 }).fetch(ID);
    expect(service.requests[0]?.validityDuration).toBe(1n);
  });

  test("is not made for what is no identity", async () => {
    const error = await remoteCa().fetch(`${ID}\n`).then(() => undefined, (error: Error) => error.message);
    expect(error).toBe(`invalid spiffe identity: "${ID}\\n"`);
    expect(service.requests).toEqual([]);
  });
});

describe("a good answer", () => {
  function check(certificate: WorkloadCertificate): void {
    const leaf = new X509Certificate(certificate.chainPem);
    expect(leaf.checkPrivateKey(createPrivateKey(certificate.keyPem))).toBe(true);
    expect(certificate.identity).toBe(ID);
    expect(certificate.notBefore).toBe(Date.parse(leaf.validFrom));
    expect(certificate.notAfter).toBe(Date.parse(leaf.validTo));
    expect(certificate.serialNumber).toBe("5");
    expect(certificate.certificates.map(({ pem }) => pem).join("")).toBe(certificate.chainPem);
    expect(certificate.roots.map(({ pem }) => pem).join("")).toBe(certificate.rootsPem);
    service.verify(certificate.chainPem, certificate.rootsPem);
  }

  test("leaf and root", async () => {
    const certificate = await remoteCa().fetch(ID);
    check(certificate);
    expect(certificate.certificates.length).toBe(1);
    expect(certificate.rootsPem).toBe(root);
  });

  test("intermediates, an element each or together, are presented in their order", async () => {
    const presented: string[][] = [];
    for (const join of [(a: string, b: string) => [a, b], (a: string, b: string) => [a + b]]) {
      let made: string[] = [];
      service.chain = (csr) => {
        const [leaf, lower, upper] = service.signBelowTwo(csr);
        made = [leaf, lower, upper];
        return [leaf, ...join(lower, upper), root];
      };
      const certificate = await remoteCa().fetch(ID);
      check(certificate);
      expect(certificate.certificates.map(({ pem }) => pem)).toEqual(made);
      presented.push(made);
    }
    expect(presented.length).toBe(2);
  });

  test("several roots in the last element are all trusted", async () => {
    const other = await service.otherRootPem();
    service.chain = (csr) => [service.sign(csr, []), `${other}# comment\n\n${root.trimEnd()}`];
    const certificate = await remoteCa().fetch(ID);
    check(certificate);
    expect(certificate.roots.map(({ pem }) => pem)).toEqual([other, root]);
  });

  test("a root among the intermediates is not presented", async () => {
    service.chain = (csr) => [service.sign(csr, []), root, root];
    const certificate = await remoteCa().fetch(ID);
    check(certificate);
    expect(certificate.certificates.length).toBe(1);
  });

  test("PEM with text around it, CRLF and no final newline", async () => {
    service.chain = (
      csr,
    ) => [`Certificate:\n  Data: x\n${service.sign(csr, [])}`, root.trimEnd().replaceAll("\n", "\r\n")];
    check(await remoteCa().fetch(ID));
  });

  test("fields that are not known here are passed over", async () => {
    const call = async (request: Uint8Array) => {
      const unknown = new BinaryWriter().tag(9, WireType.LengthDelimited).string("new").tag(10, WireType.Varint).int32(
        1,
      );
      return Buffer.concat([unknown.finish(), await service.call(request)]);
    };
    check(await remoteCa({ call }).fetch(ID));
  });

  test("of one's own token may be about another name", async () => {
    service.chain = (csr) => [service.sign(csr, [`subjectAltName = critical,URI:${OTHER}`]), root];
    expect((await remoteCa({ impersonate: false }).fetch(ID)).identity).toBe(ID);
  });
});

describe("an answer that cannot be used is refused", () => {
  const garbage = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
  const root0 = "root of the CA's answer (cert_chain[1])";
  const leaf0 = "certificate of the CA's answer (cert_chain[0])";
  const table: [what: string, chain: (csr: string) => readonly string[], error: string][] = [
    ["nothing", () => [], `chain returned from CA is empty for: ${ID}`],
    [
      "the leaf alone",
      (csr) => [service.sign(csr, [])],
      `chain returned from CA is empty for: ${ID}: it is the leaf alone, without a root`,
    ],
    ["empty texts", () => ["", ""], `${ID}: ${leaf0}: holds no PEM certificate`],
    ["no PEM at all", (csr) => [service.sign(csr, []), "root"], `${ID}: ${root0}: holds no PEM certificate`],
    [
      "an empty element among the intermediates",
      (csr) => [service.sign(csr, []), "", root],
      `${ID}: certificate of the CA's answer (cert_chain[1]): holds no PEM certificate`,
    ],
    ["no base64", () => [garbage.replace("MAAA", "M!A"), root], `${ID}: ${leaf0}: not a certificate: not base64`],
    ["no DER", () => [garbage, root], `${ID}: ${leaf0}: not a certificate: ends at 0`],
    [
      "a broken root",
      (csr) => [service.sign(csr, []), root + garbage],
      `${ID}: ${root0}: not a certificate: ends at 0`,
    ],
    [
      "a cut leaf",
      (csr) => [pem(derOf(service.sign(csr, [])).subarray(0, 200)), root],
      `${ID}: ${leaf0}: not a certificate: element ends at `,
    ],
    [
      "another identity",
      (csr) => [service.sign(csr, [`subjectAltName = critical,URI:${OTHER}`]), root],
      `did not find expected SAN: ${ID}, got ${OTHER}`,
    ],
    [
      "our identity as the second name",
      (csr) => [service.sign(csr, [`subjectAltName = critical,URI:${OTHER},URI:${ID}`]), root],
      `did not find expected SAN: ${ID}, got ${OTHER}`,
    ],
    [
      "our identity as a DNS name",
      (csr) => [service.sign(csr, [`subjectAltName = DNS:${ID}`]), root],
      `did not find expected SAN: ${ID}, got no URI`,
    ],
    [
      "our identity within a longer name",
      (csr) => [service.sign(csr, ["subjectAltName = @names", "[names]", `URI.1 = "${ID}, URI:${OTHER}"`]), root],
      `did not find expected SAN: ${ID}, got "${ID}, URI:${OTHER}"`,
    ],
    [
      "no name",
      (csr) => [service.sign(csr, ["subjectKeyIdentifier = hash"]), root],
      `did not find expected SAN: ${ID}, got no URI`,
    ],
    [
      "another key",
      () => [service.signOwnKey(ID), root],
      `${ID}: the CA's certificate is for another key than that of our request`,
    ],
    ["the root first", (csr) => [root, service.sign(csr, [])], `did not find expected SAN: ${ID}, got no URI`],
    [
      "a leaf that ends before it begins",
      (csr) => [service.sign(csr, [], -1), root],
      `${ID}: ${leaf0}: ends before it begins`,
    ],
  ];
  test.each(table)("%s", async (_, chain, error) => {
    expect(await refusal(chain)).toStartWith(error);
  });

  test("a chain that does not lead to its roots: every peer would refuse it", async () => {
    const other = await service.otherRootPem();
    const none = `${ID}: the CA's certificate leads to none of the roots in its answer`;
    expect(await refusal((csr) => [service.sign(csr, []), other])).toBe(none);
    expect(
      await refusal((csr) => {
        const [leaf, , upper] = service.signBelowTwo(csr);
        return [leaf, upper, root];
      }),
    ).toBe(none);
  });

  test("another key also where the name is not looked at", async () => {
    expect(await refusal(() => [service.signOwnKey(ID), root], { impersonate: false }))
      .toBe(`${ID}: the CA's certificate is for another key than that of our request`);
  });

  test("an RSA certificate is one for another key", async () => {
    const csr = openssl(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/O=rsa"]);
    expect(await refusal(() => [service.sign(csr, [`subjectAltName = URI:${ID}`]), root])).toEndWith(
      "that of our request",
    );
  });
});

describe("a call that fails or answers rubbish", () => {
  test("is told with identity and cause", async () => {
    const cause = new Error("UNAUTHENTICATED: token expired");
    const error: unknown = await remoteCa({ call: () => Promise.reject(cause) }).fetch(ID).catch((error) => error);
    expect(error).toBeInstanceOf(CertificateError);
    expect((error as Error).message).toBe(`${ID}: signing gRPC error: UNAUTHENTICATED: token expired`);
    expect((error as Error).cause).toBe(cause);
  });

  test("also when it throws at once", async () => {
    const call = () => {
      throw new Error("closed");
    };
    expect(await refusal(() => [], { call })).toBe(`${ID}: signing gRPC error: closed`);
  });

  const rubbish: [what: string, bytes: Uint8Array, error: string][] = [
    ["no bytes", new Uint8Array(), `chain returned from CA is empty for: ${ID}`],
    ["a length beyond the end", Uint8Array.of(0x0a, 0x7f, 1), `${ID}: the answer is no IstioCertificateResponse: `],
    ["an endless varint", new Uint8Array(20).fill(0xff), `${ID}: the answer is no IstioCertificateResponse: `],
    [
      "the wrong wire type",
      Uint8Array.of(0x08, 1),
      `${ID}: the answer is no IstioCertificateResponse: cert_chain has wire type 0`,
    ],
    ["field 0", Uint8Array.of(0x00, 1), `${ID}: the answer is no IstioCertificateResponse: `],
    ["half an unknown field", Uint8Array.of(0x4a, 5), `${ID}: the answer is no IstioCertificateResponse: `],
    ["an open group", Uint8Array.of(0x4b), `${ID}: the answer is no IstioCertificateResponse: `],
    ["text that is no UTF-8", Uint8Array.of(0x0a, 1, 0xff, 0x0a, 0), `${ID}: `],
  ];
  test.each(rubbish)("%s", async (_, bytes, error) => {
    expect(await refusal(() => [], { call: () => Promise.resolve(bytes) })).toStartWith(error);
  });
});

test("changed anywhere, an answer is refused or still is about our key and name", async () => {
  const key = await newKey();
  const [leaf, lower, upper] = service.signBelowTwo(await createCsr(ID, key));
  const good = [leaf, lower, upper, root];
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  const outcomes = { refused: 0, taken: 0 };
  for (let i = 0; i < 2000; i++) {
    const chain = [...good];
    const at = random(chain.length);
    const der = derOf(chain[at]!);
    for (let n = random(3); n >= 0; n--) der[random(der.length)] = random(256);
    chain[at] = pem(random(20) === 0 ? der.subarray(0, random(der.length)) : der);
    try {
      const certificate = issuedCertificate({ identity: ID, key, chain, checkName: true });
      const parsed = parseCertificate(derOf(certificate.certificates[0]!.pem));
      expect([parsed.uris[0], hex(parsed.publicKey)]).toEqual([ID, hex(key.publicKey)]);
      expect(certificate.notAfter).toBeGreaterThanOrEqual(certificate.notBefore);
      outcomes.taken++;
    } catch (error) {
      expect(error).toBeInstanceOf(CertificateError);
      expect((error as Error).message).toContain(ID);
      outcomes.refused++;
    }
  }
  expect(Math.min(outcomes.refused, outcomes.taken)).toBeGreaterThan(50);
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function pem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
}
