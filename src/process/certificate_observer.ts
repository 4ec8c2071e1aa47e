import type { CertificateFailure, CertificateObserver, WorkloadCertificate } from "../identity/mod.ts";
import type { Field, LogScope, MetricRegistry } from "../telemetry/mod.ts";

const SECOND = 1_000;

/**
 * Says in the log and counts what becomes of certificates: above all that one cannot be renewed while it still serves,
 * and that one has ended without another.
 */
export function observeCertificates(registry: MetricRegistry, log: LogScope): CertificateObserver {
  const requests = registry.family({
    name: "ambient_certificate_requests",
    type: "counter",
    help: "Certificates asked for, by outcome (unstable).",
    labelNames: ["result"],
  });
  const expired = registry.family({
    name: "ambient_certificates_expired",
    type: "counter",
    help: "Certificates that ended before another one could be had (unstable).",
  }).labels();
  return {
    fetched(certificate: WorkloadCertificate, tookMs: number) {
      requests.labels(["success"]).value++;
      log.debug("certificate fetched", [
        ["identity", certificate.identity],
        ["serial", certificate.serialNumber],
        ["until", { display: new Date(certificate.notAfter).toISOString() }],
        ["took", { display: `${Math.round(tookMs)}ms` }],
      ]);
    },
    failed({ identity, error, failures, retryMs, certificate, usableMs }: CertificateFailure) {
      requests.labels(["failure"]).value++;
      const fields: Field[] = [
        ["identity", identity],
        ["error", error.message],
        ["failures", failures],
        ["retry", { display: seconds(retryMs) }],
      ];
      if (certificate !== undefined && usableMs <= 0) {
        log.error("certificate expired, and the CA gives no other", [
          ...fields,
          ["expired_since", { display: seconds(-usableMs) }],
        ]);
        return;
      }
      const text = usableMs > 0
        ? "certificate cannot be renewed, the present one serves on"
        : "certificate cannot be fetched";
      if (usableMs > 0) fields.push(["usable", { display: seconds(usableMs) }]);
      // A CA that is down fails for all identities of a node, each for hours: the 1st, 2nd, 4th … is enough.
      if (isPowerOfTwo(failures)) log.warn(text, fields);
      else log.debug(text, fields);
    },
    expired({ identity, notAfter }: WorkloadCertificate, error) {
      expired.value++;
      log.error("certificate expired and there is no other: connections of this identity are refused", [
        ["identity", identity],
        ["expired", { display: new Date(notAfter).toISOString() }],
        ["error", error?.message ?? "none was fetched in time"],
      ]);
    },
  };
}

function seconds(ms: number): string {
  return `${(ms / SECOND).toFixed(1)}s`;
}

function isPowerOfTwo(n: number): boolean {
  return (n & (n - 1)) === 0;
}
