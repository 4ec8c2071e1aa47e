import type { CertificateFailure, CertificateObserver, WorkloadCertificate } from "../identity/mod.ts";
import type { LogScope, MetricRegistry } from "../telemetry/mod.ts";

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
    failed({ identity, error, failures, retryMs, usableMs }: CertificateFailure) {
      requests.labels(["failure"]).value++;
      log.warn(
        usableMs > 0 ? "certificate cannot be renewed, the present one serves on" : "certificate cannot be fetched",
        [
          ["identity", identity],
          ["error", error.message],
          ["failures", failures],
          ["retry", { display: seconds(retryMs) }],
          ...(usableMs > 0 ? [["usable", { display: seconds(usableMs) }] as const] : []),
        ],
      );
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
