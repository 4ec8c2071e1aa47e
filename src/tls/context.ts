import type { WorkloadCertificate } from "../identity/mod.ts";
import { keyExchangeGroups, minimumVersion, TLS_1_2_CIPHERS, TLS_1_3, type TlsPolicy } from "./policy.ts";

/** ALPN of HBONE in wire form: one length byte, then the name. */
const ALPN_H2 = "\x02h2";

/**
 * SSL_OP_NO_TICKET. A resumed session keeps the verdict of its first handshake: a client whose certificate expired
 * meanwhile would come in with the ticket alone, without presenting it again. Not making tickets saves work too.
 */
const NO_SESSION_TICKETS = 0x4000;

/** TLS options of Bun's sockets, with those that its type declarations leave out. */
export interface TlsContext extends Bun.TLSOptions {
  readonly ecdhCurve: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

interface Contexts {
  readonly policy: TlsPolicy;
  server?: TlsContext;
  client?: TlsContext;
}

/**
 * Contexts live as long as the certificate that they were made from. Bun itself keeps one SSL_CTX for options of equal
 * content as long as a connection uses it, so nothing native needs to be held here: an upgrade with options it knows
 * costs 14 µs, with new ones 90 µs.
 */
const contexts = new WeakMap<WorkloadCertificate, Contexts>();

/**
 * Options for `socket.upgradeTLS({ isServer: true, tls })`: a client without a certificate gets the alert
 * certificate_required, one whose chain is bad is closed by Bun after `handshake`, before any `data`. One object per
 * certificate and policy.
 */
export function serverContext(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  const cached = contextsOf(certificate, policy);
  return cached.server ??= { ...options(certificate, policy), requestCert: true, rejectUnauthorized: true };
}

/**
 * Options for `Bun.connect({ tls })` and `socket.upgradeTLS({ tls })`: no SNI. Bun would refuse a SPIFFE certificate
 * for its lack of a DNS name, so the verdict is all verifyServer's. One object per certificate and policy.
 */
export function clientContext(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  const cached = contextsOf(certificate, policy);
  return cached.client ??= { ...options(certificate, policy), serverName: "", rejectUnauthorized: false };
}

function options(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    ca: certificate.rootsPem,
    ALPNProtocols: ALPN_H2,
    ecdhCurve: keyExchangeGroups(policy),
    ciphers: TLS_1_2_CIPHERS,
    minVersion: minimumVersion(policy),
    maxVersion: TLS_1_3,
    secureOptions: NO_SESSION_TICKETS,
  };
}

function contextsOf(certificate: WorkloadCertificate, policy: TlsPolicy): Contexts {
  let cached = contexts.get(certificate);
  if (cached === undefined || cached.policy.tls12 !== policy.tls12 || cached.policy.pqc !== policy.pqc) {
    cached = { policy };
    contexts.set(certificate, cached);
  }
  return cached;
}
