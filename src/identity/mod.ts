export {
  type CacheEntrySnapshot,
  CertificateCache,
  type CertificateCacheOptions,
  type CertificateFailure,
  type CertificateObserver,
  type CertificateState,
  type ChangeListener,
  type Priority,
} from "./cache.ts";
export {
  type CertificateAuthority,
  CertificateError,
  type CertificateSummary,
  sameSigner,
  usableUntil,
  type WorkloadCertificate,
} from "./certificate.ts";
export type { Clock } from "./clock.ts";
export { DerError } from "./der.ts";
export { EmbeddedCa, type EmbeddedCaOptions } from "./embedded_ca.ts";
export { CREATE_CERTIFICATE } from "./istio_ca.ts";
export { parseCertificate, type ParsedCertificate } from "./parsed_certificate.ts";
export { decodePem, encodePem, pemBlocks } from "./pem.ts";
export { RemoteCa, type RemoteCaOptions, SigningError } from "./remote_ca.ts";
export { formatIdentity, type Identity, parseIdentity } from "./spiffe.ts";
