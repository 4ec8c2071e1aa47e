import { expect, test } from "bun:test";
import { CertificateError, type CertificateFailure, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { observeCertificates } from "../../src/process/certificate_observer.ts";
import { Logger, MetricRegistry } from "../../src/telemetry/mod.ts";

const CERTIFICATE: WorkloadCertificate = {
  identity: "spiffe://cluster.local/ns/default/sa/web",
  keyPem: "",
  chainPem: "",
  rootsPem: "",
  notBefore: 0,
  notAfter: 1_000_000_000_000,
  serialNumber: "1",
  certificates: [],
  roots: [],
};

test("failures are told with what they mean, and not each of them", () => {
  const lines: string[] = [];
  const log = new Logger({ write: (text: string) => void lines.push(text), flush() {} });
  const observer = observeCertificates(new MetricRegistry(), log.scope("ztunnel::identity"));
  const failure: CertificateFailure = {
    identity: CERTIFICATE.identity,
    error: new CertificateError("the CA is down"),
    failures: 1,
    retryMs: 1_500,
    certificate: undefined,
    usableMs: 0,
  };
  const told = (change: Partial<CertificateFailure>): string => {
    lines.length = 0;
    observer.failed?.({ ...failure, ...change });
    return lines.join("").replace(/^\S+\t/, "");
  };
  const common = `identity="${CERTIFICATE.identity}" error="the CA is down" failures=`;
  expect(told({})).toBe(`warn\tidentity\tcertificate cannot be fetched\t${common}1 retry=1.5s\n`);
  expect(told({ failures: 3 })).toBe("");
  expect(told({ failures: 4 })).toStartWith("warn\tidentity\tcertificate cannot be fetched");
  expect(told({ certificate: CERTIFICATE, usableMs: 60_000 }))
    .toBe(
      `warn\tidentity\tcertificate cannot be renewed, the present one serves on\t${common}1 retry=1.5s usable=60.0s\n`,
    );
  expect(told({ certificate: CERTIFICATE, usableMs: -12_000, failures: 3 }))
    .toBe(
      `error\tidentity\tcertificate expired, and the CA gives no other\t${common}3 retry=1.5s expired_since=12.0s\n`,
    );
});
