/** What a mesh's administrator may change about TLS. */
export interface TlsPolicy {
  /** TLS12_ENABLED: TLS 1.2 is accepted and offered too. */
  readonly tls12: boolean;
  /** COMPLIANCE_POLICY=pqc: only the post-quantum hybrid key exchange, which exists in TLS 1.3 alone. */
  readonly pqc: boolean;
}

/** TLS 1.3 with the four groups of spec/ztunnel.md §6.1. */
export const DEFAULT_TLS_POLICY: TlsPolicy = { tls12: false, pqc: false };

/** Versions as the wire has them (RFC 8446 §4.2.1), the form that Bun's sockets want. */
const TLS_1_2 = 0x0303;
export const TLS_1_3 = 0x0304;

/**
 * Key exchange groups in the order of preference (spec/ztunnel.md §6.1); P-521 is not among them. Where the original
 * sends a key share for X25519 alone, the runtime adds one for the hybrid: 1.2 KB more in a ClientHello, and a server
 * that accepts only the hybrid needs no HelloRetryRequest.
 */
const GROUPS = "X25519:P-256:P-384:X25519MLKEM768";
const PQC_GROUPS = "X25519MLKEM768";

/**
 * Suites of TLS 1.2 (spec/ztunnel.md §6.1): ephemeral keys and AES-GCM only. Those of TLS 1.3 cannot be chosen in this
 * runtime: ChaCha20 stays possible there (spec/bun.md).
 */
export const TLS_1_2_CIPHERS = [
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES128-GCM-SHA256",
].join(":");

export function keyExchangeGroups(policy: TlsPolicy): string {
  return policy.pqc ? PQC_GROUPS : GROUPS;
}

export function minimumVersion(policy: TlsPolicy): number {
  return policy.tls12 && !policy.pqc ? TLS_1_2 : TLS_1_3;
}
