import { Buffer } from "node:buffer";
import { SortedList } from "../admin/mod.ts";
import type { CacheEntrySnapshot, CertificateCache, CertificateSummary } from "../identity/mod.ts";
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

/** `Initializing`, `Available` or `Unavailable: <error>`. */
function stateText({ state, error }: CacheEntrySnapshot): string {
  const text = state.charAt(0).toUpperCase() + state.slice(1);
  return state === "unavailable" && error !== undefined ? `${text}: ${error}` : text;
}

function entryDump(entry: CacheEntrySnapshot): Json {
  return {
    identity: entry.identity,
    state: stateText(entry),
    certChain: entry.certificate?.certificates.map(certificate) ?? [],
    rootCerts: entry.certificate?.roots.map(certificate) ?? [],
  };
}

/** `certificates` of the configuration dump, as istioctl reads them (spec/ztunnel.md §11.2). */
export function dumpCertificates(cache: CertificateCache): Json {
  return SortedList.of(cache.snapshot(), ({ identity }) => identity, entryDump);
}
