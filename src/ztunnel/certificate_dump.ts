import { Buffer } from "node:buffer";
import type { CertificateCache, CertificateSummary } from "../identity/mod.ts";
import type { Json } from "./mesh_dump.ts";

/** RFC 3339 in whole seconds. */
function seconds(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

function certificate({ pem, serialNumber, notBefore, notAfter }: CertificateSummary): Json {
  return {
    pem: Buffer.from(pem).toString("base64"),
    serialNumber,
    validFrom: seconds(notBefore),
    expirationTime: seconds(notAfter),
  };
}

/** `certificates` of the configuration dump, as istioctl reads them (spec/ztunnel.md §11.2). */
export function dumpCertificates(cache: CertificateCache): Json {
  return cache.snapshot()
    .sort((a, b) => a.identity < b.identity ? -1 : 1)
    .map(({ identity, state, certificate: held }) => ({
      identity,
      state,
      certChain: held?.certificates.map(certificate) ?? [],
      rootCerts: held?.roots.map(certificate) ?? [],
    }));
}
