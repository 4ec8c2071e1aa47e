import { Buffer } from "node:buffer";
import { afterAll, describe, expect, test } from "bun:test";
import { decodePem } from "../../src/identity/pem.ts";
import { readRevocationFile } from "../../src/tls/revocation_file.ts";
import { type RevocationList, RevocationListError } from "../../src/tls/revocation_list.ts";
import { serialKey } from "../../src/tls/serial_set.ts";
import { OpensslPki } from "./openssl_pki.ts";

const pki = new OpensslPki();
afterAll(() => pki.remove());
const root = pki.authority("root");

function read(content: string | Uint8Array): RevocationList[] {
  const steps = readRevocationFile(typeof content === "string" ? Buffer.from(content) : content);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

function der(pem: string): Uint8Array {
  return decodePem(pem) as Uint8Array;
}

/** Why a file is refused. */
function refusal(content: string | Uint8Array): string {
  try {
    read(content);
  } catch (error) {
    if (error instanceof RevocationListError) return error.message;
    throw error;
  }
  return "accepted";
}

const plain = pki.list(root, ["01", "FF00FF", "7F".repeat(20)]);

describe("what OpenSSL writes is read", () => {
  const holds = ([list]: RevocationList[], ...serials: string[]) => {
    expect(list?.serials.size).toBe(serials.length);
    for (const serial of serials) expect(list?.serials.has(serialKey(serial))).toBe(true);
    expect(list?.serials.has(serialKey("02"))).toBe(false);
  };

  test("as PEM and as DER", () => {
    holds(read(plain), "01", "FF00FF", "7F".repeat(20));
    holds(read(der(plain)), "01", "FF00FF", "7F".repeat(20));
    expect(read(plain)[0]?.issuer).toBe("55040a=root;");
  });

  test("of version 1, without entries, with reasons, long ago expired", () => {
    holds(read(pki.list(root, ["0A"], { extensions: [] })), "0A");
    holds(read(pki.list(root, [])));
    holds(read(pki.list(root, ["0A", "0B"], { reason: "keyCompromise" })), "0A", "0B");
    const times = ["-crl_lastupdate", "200101000000Z", "-crl_nextupdate", "200201000000Z"];
    holds(read(pki.list(root, ["0A"], { arguments: times })), "0A");
  });

  test("that says it is about a part of the certificates", () => {
    const extensions = ["issuingDistributionPoint=critical,@point"];
    holds(read(pki.list(root, ["0A"], { extensions, sections: ["[point]", "onlyuser=TRUE"] })), "0A");
  });

  test("several in a file, between other blocks and text", () => {
    const text = `words\n${root.pem}${plain}\n# more\n${root.pem}${pki.list(root, ["0A"])}end`;
    expect(read(text).map(({ serials }) => serials.size)).toEqual([3, 1]);
    expect(read(text.replaceAll("\n", "\r\n"))).toHaveLength(2);
  });

  test("nothing: no lists", () => {
    expect(read("")).toEqual([]);
    expect(read("\n \r\n")).toEqual([]);
    expect(read(root.pem)).toEqual([]);
  });

  for (
    const [name, key, signing] of [
      ["ecdsa-with-SHA384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], ["-md", "sha384"]],
      ["sha256WithRSAEncryption", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], []],
      ["RSASSA-PSS", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:32",
      ]],
      ["Ed25519", ["-algorithm", "ED25519"], []],
    ] as const
  ) {
    test(`signed with ${name}`, () => {
      const authority = pki.authority("signer", undefined, { key });
      const [list] = read(pki.list(authority, ["0A"], { arguments: signing }));
      expect(list?.algorithm.name).toBe(name);
    });
  }
});

/** By a library in JavaScript, which gives each entry an empty list of extensions; OpenSSL takes it too. */
const LENIENT = `-----BEGIN X509 CRL-----
MIHtMIGUAgEBMAoGCCqGSM49BAMCMBkxFzAVBgNVBAoTDmludGVybWVkaWF0ZSAw
Fw0yNjExMjEyMDMwMjdaFw0yNjExMjgyMDMxMjdaMCUwIwIQR8WECkGJUgQcfy1L
Ah27yBcNMjYxMTIxMjAzMDI3WjAAoCMwITAfBgNVHSMEGDAWgBTl30l8IdZacYnT
JqyDnMOcxba9UjAKBggqhkjOPQQDAgNIADBFAiEAm0xfpvhzu0fVYKW/Yf0UXdwW
x40c+A/GfG5Do/946iICIDK1yUzeZ29/ocS0ymuTRwN9Us0m4J0bK7cN9Sg2lO6l
-----END X509 CRL-----
`;

test("an entry with an empty list of extensions is an entry", () => {
  const [list] = read(LENIENT);
  expect(list?.serials.size).toBe(1);
  expect(list?.serials.has(serialKey("47C5840A418952041C7F2D4B021DBBC8"))).toBe(true);
});

test("an issuer's name is the same in whatever kind of string and case it is written", () => {
  const issuer = "55040a=root;"; // UTF8String
  const bytes = der(plain);
  const at = Buffer.from(bytes).indexOf(Buffer.from([0x0c, 4, ...Buffer.from("root")]));
  bytes[at] = 0x13; // PrintableString
  bytes[at + 2] = 0x52; // R
  expect(read(bytes)[0]?.issuer).toBe(issuer);
});

describe("a file is refused", () => {
  test("that is something else", () => {
    expect(refusal("not a list")).toBe("the file is neither PEM nor DER");
    expect(refusal(der(root.pem))).toMatch(/^the list: has /);
    expect(refusal(plain.slice(0, 80))).toBe('the block "X509 CRL" at octet 0 has no end');
    expect(refusal(plain.replace("MI", "M!"))).toBe("list 1, at octet 0: is not base64");
    expect(refusal(`${plain}${plain.replace("\nM", "\nN")}`)).toStartWith(`list 2, at octet ${plain.length}: `);
    expect(refusal("-----BEGIN X509 CRL-----\n-----END X509 CRL-----")).toContain("ends within an element");
  });

  test("with a list that says something else than it seems to", () => {
    const extended = (...extensions: string[]) =>
      refusal(pki.list(root, ["0A"], { extensions, sections: ["[point]", "indirectCRL=TRUE"] }));
    expect(extended("2.5.29.27=critical,DER:020101")).toContain("is a delta list");
    expect(extended("issuingDistributionPoint=critical,@point")).toContain("is an indirect list");
    expect(extended("1.2.3.4=critical,DER:0500")).toContain("critical extension that is not known");
    expect(extended("1.2.3.4=DER:0500")).toBe("accepted");
    const attributes = { extensions: ["issuingDistributionPoint=critical,@point"] };
    expect(refusal(pki.list(root, [], { ...attributes, sections: ["[point]", "onlyAA=TRUE"] })))
      .toContain("attribute certificates");
    expect(refusal(pki.list(root, ["0A"], { reason: "removeFromCRL" }))).toContain("removeFromCRL");
  });

  test("with a signature of yesterday", () => {
    const rsa = pki.authority("old", undefined, { key: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] });
    expect(refusal(pki.list(rsa, [], { arguments: ["-md", "sha1"] }))).toContain("algorithm that is not known");
  });

  test("that is cut anywhere, or has octets too many", () => {
    const whole = der(plain);
    for (let size = 1; size < whole.length; size++) expect(refusal(whole.slice(0, size))).not.toBe("accepted");
    expect(refusal(Buffer.concat([whole, Buffer.of(0)]))).toContain("octets too many");
  });
});

test("whatever is changed in a list, it is read or refused", () => {
  const whole = der(pki.list(root, ["01", "FF00FF", "0A"], { reason: "superseded" }));
  for (let at = 0; at < whole.length; at++) {
    for (const change of [0x01, 0x80, 0x7f, 0xff]) {
      const bytes = whole.slice();
      bytes[at]! ^= change;
      refusal(bytes);
    }
  }
  for (let round = 0; round < 3000; round++) {
    const bytes = whole.slice();
    for (let i = 0; i < 4; i++) bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
    refusal(bytes);
    refusal(bytes.subarray(Math.floor(Math.random() * bytes.length)));
  }
});

test("a hundred thousand entries are read in small steps", () => {
  const serials = Array.from(
    { length: 100_000 },
    (_, i) => (0x1000000 + i).toString(16).toUpperCase().padStart(32, "4"),
  );
  const bytes = Buffer.from(pki.list(root, serials, { reason: "keyCompromise" }));
  const steps = readRevocationFile(bytes);
  let count = 0;
  for (;; count++) {
    const step = steps.next();
    if (!step.done) continue;
    const [list] = step.value;
    expect(list?.serials.size).toBe(100_000);
    for (const serial of serials.slice(0, 5000)) expect(list?.serials.has(serialKey(serial))).toBe(true);
    expect(list?.serials.has(serialKey(`4${"0".repeat(31)}`))).toBe(false);
    break;
  }
  expect(count).toBeGreaterThan(80); // of some 40 ms of work
});
