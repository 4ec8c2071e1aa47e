export { type CacheEntrySnapshot, CertificateCache, type CertificateState, type Priority } from "./cache.ts";
export {
  type CertificateAuthority,
  CertificateError,
  type CertificateSummary,
  type WorkloadCertificate,
  workloadCertificate,
} from "./certificate.ts";
export { EmbeddedCa, type EmbeddedCaOptions } from "./embedded_ca.ts";
export { formatIdentity, type Identity, parseIdentity } from "./spiffe.ts";
export type { Clock } from "./clock.ts";
export { DerError } from "./der.ts";
export { parseCertificate, type ParsedCertificate } from "./parsed_certificate.ts";
export { encodePem, pemBlocks } from "./pem.ts";
