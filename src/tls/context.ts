import type { WorkloadCertificate } from "../identity/mod.ts";
import { keyExchangeGroups, minimumVersion, TLS_1_3, type TlsPolicy } from "./policy.ts";

/** ALPN of HBONE in wire form: one length byte, then the name. */
const ALPN_H2 = "\x02h2";

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

/** Contexts live as long as the certificate they were made from. */
const contexts = new WeakMap<WorkloadCertificate, Contexts>();

/** Options for `socket.upgradeTLS({ isServer: true, tls })`: asks the client for a certificate. One object per certificate. */
export function serverContext(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  const cached = contextsOf(certificate, policy);
  return cached.server ??= { ...common(certificate, policy), requestCert: true, rejectUnauthorized: false };
}

/** Options for `Bun.connect({ tls })` and `socket.upgradeTLS({ tls })`. One object per certificate. */
export function clientContext(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  const cached = contextsOf(certificate, policy);
  return cached.client ??= { ...common(certificate, policy), rejectUnauthorized: false };
}

function common(certificate: WorkloadCertificate, policy: TlsPolicy): TlsContext {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    ca: certificate.rootsPem,
    ALPNProtocols: ALPN_H2,
    ecdhCurve: keyExchangeGroups(policy),
    minVersion: minimumVersion(policy),
    maxVersion: TLS_1_3,
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
