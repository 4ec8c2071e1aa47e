/** X.509 by @peculiar/x509 and Web Crypto: roots, intermediates, leaves, requests, revocation lists. */
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  type PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from "@peculiar/x509";
import type { CsrSeen } from "../protocol.ts";

cryptoProvider.set(webcrypto as unknown as Crypto);

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const subtle = webcrypto.subtle as unknown as SubtleCrypto;
const SUBJECT_ALT_NAME = "2.5.29.17";
const AUTHORITY_LIFETIME_MS = 10 * 365 * 86_400_000;
const CRL_LIFETIME_MS = 7 * 86_400_000;

export interface Signer {
  readonly certificate: X509Certificate;
  readonly keys: CryptoKeyPair;
}

/** Seconds of the epoch; certificates have no fractions. */
export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export type SubjectName = { readonly type: "url" | "dns" | "ip"; readonly value: string };

export function newKeys(): Promise<CryptoKeyPair> {
  return subtle.generateKey(ECDSA, true, ["sign", "verify"]) as Promise<CryptoKeyPair>;
}

/** Positive, 128 bits; hex, lower case, as X509Certificate tells it. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

export async function createRoot(name: string): Promise<Signer> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: `O=${name}`,
    ...lasting(AUTHORITY_LIFETIME_MS),
    signingAlgorithm: ECDSA,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate, keys };
}

export async function createIntermediate(root: Signer, name: string): Promise<Signer> {
  const keys = await newKeys();
  const certificate = await sign(root, keys.publicKey, `O=${name}`, lasting(AUTHORITY_LIFETIME_MS), [
    new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ]);
  return { certificate, keys };
}

/** Client and server at once, empty subject, as istiod's workload certificates. */
export function issueLeaf(
  signer: Signer,
  key: PublicKey | CryptoKey,
  names: readonly SubjectName[],
  validity: Validity,
): Promise<X509Certificate> {
  return sign(signer, key, "", validity, [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension([...names], true),
  ]);
}

async function sign(
  signer: Signer,
  key: PublicKey | CryptoKey,
  subject: string,
  validity: Validity,
  extensions: readonly Extension[],
): Promise<X509Certificate> {
  return await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject,
    issuer: signer.certificate.subject,
    ...validity,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: ECDSA,
    publicKey: key,
    extensions: [...extensions, await AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey)],
  });
}

/** A revocation list of one issuer, PEM. */
export async function createCrl(signer: Signer, serials: readonly string[]): Promise<string> {
  const { notBefore, notAfter } = lasting(CRL_LIFETIME_MS);
  const crl = await X509CrlGenerator.create({
    issuer: signer.certificate.subject,
    thisUpdate: notBefore,
    nextUpdate: notAfter,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: ECDSA,
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: notBefore })),
    extensions: [await AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey)],
  });
  // The library's own label for it is not the one of RFC 7468.
  return `${PemConverter.encode(crl.rawData, "X509 CRL")}\n`;
}

export function pemOf(...certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => `${certificate.toString("pem")}\n`).join("");
}

export function subjectNames(texts: readonly string[]): SubjectName[] {
  return texts.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }));
}

/** From a minute ago on. */
function lasting(milliseconds: number): Validity {
  return { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + milliseconds) };
}

export interface ReadCsr {
  readonly seen: CsrSeen;
  readonly publicKey: PublicKey;
}

/** @throws Error where it is no PKCS#10 request */
export async function readCsr(pem: string): Promise<ReadCsr> {
  const csr = new Pkcs10CertificateRequest(pem);
  const extension = csr.getExtension(SUBJECT_ALT_NAME);
  const names = extension instanceof SubjectAlternativeNameExtension ? extension.names.items : [];
  const key = csr.publicKey.algorithm as { name: string; namedCurve?: string };
  const signature = csr.signatureAlgorithm as { name: string; hash?: { name: string } };
  return {
    publicKey: csr.publicKey,
    seen: {
      subject: csr.subject,
      signatureGood: await csr.verify(),
      key: [key.name, key.namedCurve].filter(Boolean).join(" "),
      signature: [signature.name, signature.hash?.name].filter(Boolean).join(" "),
      uris: names.filter(({ type }) => type === "url").map(({ value }) => value),
      otherNames: names.filter(({ type }) => type !== "url").map(({ type, value }) => `${type}:${value}`),
      sanCritical: extension?.critical ?? false,
      extensions: csr.extensions.map(({ type }) => type),
    },
  };
}

export async function keyPem(key: CryptoKey): Promise<string> {
  return `${PemConverter.encode(await subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

/** What a signer is kept as over the end of the process. */
export interface SignerText {
  readonly certificate: string;
  readonly key: string;
}

export async function signerText({ certificate, keys }: Signer): Promise<SignerText> {
  return { certificate: pemOf(certificate), key: await keyPem(keys.privateKey) };
}

export async function signerOf(text: SignerText): Promise<Signer> {
  const certificate = new X509Certificate(text.certificate);
  const der = PemConverter.decodeFirst(text.key);
  const privateKey = await subtle.importKey("pkcs8", der, ECDSA, true, ["sign"]);
  return { certificate, keys: { privateKey, publicKey: await certificate.publicKey.export() } };
}
