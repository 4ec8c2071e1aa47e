import { type CertificateAuthority, CertificateError, type WorkloadCertificate } from "./certificate.ts";
import { ChainCheck } from "./chain_check.ts";
import { createCsr } from "./csr.ts";
import { issuedCertificate } from "./issued_certificate.ts";
import { type NewKey, newKey } from "./issuance.ts";
import { decodeCertificateResponse, encodeCertificateRequest } from "./istio_ca.ts";
import { parseIdentity, quoteIdentity } from "./spiffe.ts";

/** A call of the CA that failed. */
export class SigningError extends Error {
  override readonly name = "SigningError";
  /** Name of the gRPC status, `UNAVAILABLE`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface RemoteCaOptions {
  /**
   * One unary call of CREATE_CERTIFICATE: the request's bytes, the response's. Settles in bounded time; what it rejects
   * with, a SigningError where the status is known, is told as the cause.
   */
  readonly call: (request: Uint8Array) => Promise<Uint8Array>;
  /** Life that is asked for; ms. SECRET_TTL. The CA may give less. */
  readonly ttlMs: number;
  /**
   * Shared mode: one token, certificates of many identities. The request says which one (`ImpersonatedIdentity`), and
   * the answer must be about it. Otherwise the identity is that of the token.
   */
  readonly impersonate: boolean;
  /** `CertSigner` of the metadata: which of the CA's signers is to sign (ISTIO_META_CERT_SIGNER). */
  readonly certSigner?: string;
}

/** istiod's CA, or whoever speaks its protocol (spec/ztunnel.md §3.4). A new P-256 key for each certificate. */
export class RemoteCa implements CertificateAuthority {
  readonly #options: RemoteCaOptions;
  readonly #chains = new ChainCheck();

  constructor(options: RemoteCaOptions) {
    this.#options = options;
  }

  /**
   * Asks once; there is no retry here. Rejects with CertificateError that names the identity: the id is none, the call
   * failed, or the answer cannot be used (see issuedCertificate, ChainCheck). Whether it is valid at this time is not looked at.
   */
  async fetch(identity: string): Promise<WorkloadCertificate> {
    if (parseIdentity(identity) === undefined) {
      throw new CertificateError(`invalid spiffe identity: ${quoteIdentity(identity)}`);
    }
    const { call, ttlMs, impersonate, certSigner } = this.#options;
    const { key, csr } = await keyAndCsr(identity);
    const request = encodeCertificateRequest({
      csr,
      validity: Math.max(Math.floor(ttlMs / 1000), 1),
      metadata: {
        ...(impersonate && { ImpersonatedIdentity: identity }),
        ...(certSigner !== undefined && { CertSigner: certSigner }),
      },
    });
    let response: Uint8Array;
    try {
      response = await call(request);
    } catch (error) {
      throw new CertificateError(`${identity}: ${callError(error)}`, { cause: error });
    }
    const chain = chainOf(identity, response);
    const certificate = issuedCertificate({ identity, key, chain, checkName: impersonate });
    await this.#chains.check(certificate);
    return certificate;
  }
}

async function keyAndCsr(identity: string): Promise<{ key: NewKey; csr: string }> {
  try {
    const key = await newKey();
    return { key, csr: await createCsr(identity, key) };
  } catch (error) {
    throw new CertificateError(`${identity}: failed to create CSR: ${messageOf(error)}`, { cause: error });
  }
}

function chainOf(identity: string, response: Uint8Array): string[] {
  try {
    return decodeCertificateResponse(response);
  } catch (error) {
    throw new CertificateError(`${identity}: ${messageOf(error)}`, { cause: error });
  }
}

/** The text of spec/ztunnel.md §10.4. */
function callError(error: unknown): string {
  const code = error instanceof SigningError ? ` (${error.code})` : "";
  return `signing gRPC error${code}: ${messageOf(error)}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
