export { type CacheEntrySnapshot, CertificateCache, type CertificateState, type Priority } from "./cache.ts";
export {
  type CertificateAuthority,
  CertificateError,
  type CertificateSummary,
  splitPem,
  type WorkloadCertificate,
  workloadCertificate,
} from "./certificate.ts";
export { defaultCaDirectory, EmbeddedCa, type EmbeddedCaOptions } from "./embedded_ca.ts";
export { formatIdentity, type Identity, parseIdentity } from "./spiffe.ts";
export type { Clock } from "./clock.ts";
export { DerError } from "./der.ts";
export { subjectAltNameUris } from "./x509.ts";
