/** The whole way of a certificate: cache, remote CA, gRPC, TLS, and an istiod that shares no code with them. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { copyFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CertificateCache, type CertificateFailure, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { type Authority, openAuthority } from "../../src/process/authority.ts";
import { Logger } from "../../src/telemetry/mod.ts";
import { type Istiod, startIstiod } from "../istiod/mod.ts";

const HOUR = 3600_000;
const id = (name: string) => `spiffe://cluster.local/ns/default/sa/${name}`;
const ID = id("web");
/** Longest wait for what must happen; ms. */
const PATIENCE = 30_000;

let istiod: Istiod;
let authority: Authority;
let cache: CertificateCache;
let failures: CertificateFailure[];
/** Told of each new certificate. */
let changed: (certificate: WorkloadCertificate) => void;
/** Told of each that ended without another. */
let expired: (certificate: WorkloadCertificate) => void;

/** Our own file of the root: the handle writes its at once, kubelet replaces it. */
const rootPath = () => join(istiod.directory, "trusted.pem");

function open(impersonate = true): void {
  authority = openAuthority({
    settings: {
      authority: { kind: "remote", address: istiod.url },
      caRootCertificate: { kind: "file", path: rootPath() },
      altCaHostname: undefined,
      caHeaders: [],
      authToken: { kind: "file", path: istiod.tokenPath },
      clusterId: "Kubernetes",
      secretTtl: HOUR,
      crlPath: undefined,
      pqc: false,
      tls12: false,
      proxyMetadata: {},
    },
    trustDomain: "cluster.local",
    impersonate,
    log: new Logger({ write() {}, flush() {} }).scope("ztunnel::identity"),
  });
  cache = new CertificateCache(authority.ca, {
    observer: {
      failed: (failure) => failures.push(failure),
      expired: (certificate) => expired(certificate),
    },
  });
  cache.onChange((_, certificate) => changed(certificate));
  authority.follow(cache);
}

beforeEach(async () => {
  failures = [];
  changed = () => {};
  expired = () => {};
  istiod = await startIstiod({ portSettings: { clusterId: "Kubernetes" } });
  copyFileSync(istiod.rootPath, rootPath());
  open();
}, PATIENCE);
afterEach(async () => {
  cache.close();
  authority.close();
  await istiod.close();
}, PATIENCE);

const refusal = (promise: Promise<unknown>) => promise.then(() => "not refused", (error: Error) => error.message);

/** Waits for the next certificate of ID that fits. */
function next(fits: (certificate: WorkloadCertificate) => boolean): Promise<WorkloadCertificate> {
  return new Promise((resolve) => {
    changed = (certificate) => {
      if (certificate.identity === ID && fits(certificate)) resolve(certificate);
    };
  });
}

describe("from istiod", () => {
  test("comes what was asked for: leaf and intermediate to present, roots to trust", async () => {
    const certificate = await cache.get(ID);
    expect(certificate.certificates.length).toBe(2);
    expect(certificate.rootsPem).toBe(await istiod.roots());
    expect(certificate.notAfter - Date.now()).toBeWithin(HOUR - PATIENCE, HOUR + 1_000);
    await istiod.caughtUp();
    const [request] = istiod.seen.certificateRequests();
    expect(request).toMatchObject({ validitySeconds: 3600, impersonated: ID, status: 0 });
    expect(request?.csr).toEqual({
      subject: "",
      signatureGood: true,
      key: "ECDSA P-256",
      signature: "ECDSA SHA-256",
      uris: [ID],
      otherNames: [],
      sanCritical: true,
      extensions: ["2.5.29.17"],
    });
  }, PATIENCE);

  test("come many at once", async () => {
    const identities = Array.from({ length: 50 }, (_, i) => id(`many-${i}`));
    const certificates = await Promise.all(identities.map((identity) => cache.get(identity)));
    expect(certificates.map(({ identity }) => identity)).toEqual(identities);
    expect(new Set(certificates.map(({ serialNumber }) => serialNumber)).size).toBe(50);
  }, PATIENCE);

  test("in dedicated mode the identity is that of the token", async () => {
    cache.close();
    authority.close();
    open(false);
    await cache.get(ID);
    await istiod.caughtUp();
    expect(istiod.seen.certificateRequests().at(-1)?.impersonated).toBeUndefined();
  }, PATIENCE);
});

describe("a CA that fails is told with identity and cause", () => {
  const table: [what: string, fault: () => Promise<unknown>, error: string][] = [
    ["token refused", () => istiod.setPort({ refuseTokens: true }), `${ID}: signing gRPC error (UNAUTHENTICATED): `],
    [
      "identity refused",
      () => istiod.setCa({ refuse: { code: 7, message: "not on this node" } }),
      `${ID}: signing gRPC error (PERMISSION_DENIED): 127.0.0.1:`,
    ],
    ["no root", () => istiod.setCa({ chain: "leaf" }), `chain returned from CA is empty for: ${ID}`],
    ["empty answer", () => istiod.setCa({ chain: "empty" }), `chain returned from CA is empty for: ${ID}`],
    ["garbage", () => istiod.setCa({ chain: "garbage" }), `${ID}: `],
    [
      "another identity",
      () => istiod.setCa({ identity: id("admin") }),
      `did not find expected SAN: ${ID}, got ${id("admin")}`,
    ],
    ["another key", () => istiod.setCa({ foreignKey: true }), `${ID}: the CA's certificate is for another key`],
    [
      "expired",
      () => istiod.setCa({ shiftSeconds: -2 * 3600 }),
      `${ID}: the CA issued a certificate that ended at`,
    ],
    [
      "of the future",
      () => istiod.setCa({ shiftSeconds: 2 * 3600 }),
      `${ID}: the CA issued a certificate that begins at`,
    ],
    ["empty token file", () => Promise.resolve(writeFileSync(istiod.tokenPath, "")), `${ID}: signing gRPC error (`],
    ["nobody listens", () => istiod.kill("lost"), `${ID}: signing gRPC error (`],
  ];
  test.each(table)("%s", async (_, fault, error) => {
    await fault();
    const message = await refusal(cache.get(ID));
    expect(message).toStartWith(error);
    expect(message.length).toBeGreaterThan(`${ID}: signing gRPC error (`.length);
    expect(failures.at(-1)?.error.message).toBe(message);
  }, PATIENCE);

  test("and asked again until it is well", async () => {
    await istiod.setCa({ refuse: { code: 14, message: "starting" }, refusals: 2 });
    expect(await refusal(cache.get(ID))).toMatch(/signing gRPC error \(UNAVAILABLE\): \S+: starting$/);
    const certificate = await next(() => true);
    expect(cache.peek(ID)).toBe(certificate);
    expect(failures.map(({ failures }) => failures)).toEqual([1, 2]);
  }, PATIENCE);
});

test("short certificates are renewed before they end, and serve until they do", async () => {
  await istiod.setCa({ ttlSeconds: 6, backdateSeconds: 0 });
  const first = await cache.get(ID);
  const second = await next(() => true);
  expect(Date.now()).toBeLessThan(first.notAfter);
  expect(cache.peek(ID)).toBe(second);
  await istiod.setCa({ refuse: { code: 14, message: "down" } });
  const ended = await new Promise<WorkloadCertificate>((resolve) => {
    expired = resolve;
  });
  expect(ended).toBe(second);
  expect(Date.now()).toBeGreaterThanOrEqual(second.notAfter);
  expect(cache.peek(ID)).toBeUndefined();
  expect(await refusal(cache.get(ID))).toMatch(/signing gRPC error \(UNAVAILABLE\): \S+: down$/);
  await istiod.setCa({ refuse: undefined, ttlSeconds: undefined });
  await next(() => true);
}, PATIENCE);

test("new roots in our file: what we have is fetched anew, over a connection that trusts them", async () => {
  const first = await cache.get(ID);
  const generation = await istiod.rotateRoot("both");
  await istiod.setPort({ serverIssuer: generation });
  const renewed = next((certificate) => certificate.roots.length === 2);
  writeFileSync(`${rootPath()}.new`, await istiod.roots());
  renameSync(`${rootPath()}.new`, rootPath());
  const second = await renewed;
  expect(second.roots.map(({ pem }) => pem)).toContain(first.roots[0]!.pem);
  expect(cache.peek(ID)).toBe(second);
}, PATIENCE);
