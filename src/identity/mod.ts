export {
  type CertificateAuthority,
  CertificateError,
  type CertificateSummary,
  type WorkloadCertificate,
  workloadCertificate,
} from "./certificate.ts";
export { defaultCaDirectory, EmbeddedCa, type EmbeddedCaOptions } from "./embedded_ca.ts";
export { formatIdentity, type Identity, parseIdentity } from "./spiffe.ts";
export { subjectAltNameUris } from "./x509.ts";
