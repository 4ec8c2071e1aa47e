/** istio.v1.auth.IstioCertificateService: who may have which certificate, and how it fails when told to. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from "../../../proto/gen/ca_pb.ts";
import type { CaSettings, CertificateRequest, Token } from "../protocol.ts";
import type { Authority } from "./authority.ts";
import { type Call, Status } from "./call.ts";
import { readCsr } from "./certificates.ts";
import { saw } from "./output.ts";
import type { Settings } from "./settings.ts";

/** istiod's, where a request names none: 24 hours. */
const DEFAULT_SECONDS = 86_400;
const MAX_REQUEST_BYTES = 4 << 20;

/** What becomes of one request. */
interface Outcome {
  readonly status: number;
  readonly message: string;
  readonly chain?: readonly string[];
  readonly serial?: string;
  readonly csr?: CertificateRequest["csr"];
}

export class CertificateService {
  readonly #authority: Authority;
  readonly #settings: Settings;
  readonly #trustDomain: string;

  constructor(authority: Authority, settings: Settings, trustDomain: string) {
    this.#authority = authority;
    this.#settings = settings;
    this.#trustDomain = trustDomain;
  }

  serve(call: Call, token: Token): void {
    let request: IstioCertificateRequest | undefined;
    call.receive(() => MAX_REQUEST_BYTES, (message) => {
      try {
        request = fromBinary(IstioCertificateRequestSchema, message);
      } catch (error) {
        call.end(Status.internal, `grpc: error unmarshalling request: ${String(error)}`);
      }
    }, () => {
      if (request === undefined) return call.end(Status.internal, "no request message");
      this.#answer(call, request, token).catch((error: unknown) => call.end(Status.internal, String(error)));
    });
  }

  async #answer(call: Call, request: IstioCertificateRequest, token: Token): Promise<void> {
    const settings = this.#settings.ca;
    if (settings.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, settings.delayMs));
    const outcome = settings.silent ? undefined : this.#refusal(settings) ?? await this.#sign(request, token, settings);
    const { metadata } = request;
    saw({
      kind: "csr",
      stream: call.id,
      pem: request.csr,
      validitySeconds: Number(request.validityDuration),
      metadata: metadata ?? null,
      impersonated: impersonatedBy(request),
      csr: outcome?.csr ?? (await attemptToRead(request.csr)),
      status: outcome?.status,
      message: outcome?.message ?? "",
      serial: outcome?.serial,
    });
    if (outcome === undefined) return;
    if (outcome.status !== Status.ok) return call.end(outcome.status, outcome.message);
    call.send(toBinary(
      IstioCertificateResponseSchema,
      create(IstioCertificateResponseSchema, { certChain: [...outcome.chain ?? []] }),
    ));
    call.end(Status.ok, "");
  }

  #refusal({ refuse, refusals }: CaSettings): Outcome | undefined {
    if (refuse === undefined || refusals === 0) return undefined;
    if (refusals !== undefined) this.#settings.ca = { ...this.#settings.ca, refusals: refusals - 1 };
    return { status: refuse.code, message: refuse.message };
  }

  async #sign(request: IstioCertificateRequest, token: Token, settings: CaSettings): Promise<Outcome> {
    const impersonated = impersonatedBy(request);
    const mayAsk = token.impersonates !== false && !settings.forbidden.includes(impersonated ?? "");
    if (impersonated !== undefined && !mayAsk) {
      return { status: Status.unauthenticated, message: "request impersonation authentication failure" };
    }
    const identity = impersonated ?? token.identity ?? `spiffe://${this.#trustDomain}/ns/istio-system/sa/ztunnel`;
    const seconds = Number(request.validityDuration);
    const read = await attempt(() => readCsr(request.csr));
    if (read instanceof Error) {
      return { status: Status.invalidArgument, message: `CSR signing error (${read.message})` };
    }
    const { seen: csr, publicKey } = read;
    if (!csr.signatureGood) {
      return { status: Status.invalidArgument, message: "CSR signing error (the signature is not its key's)", csr };
    }
    if (seconds > settings.maxTtlSeconds) {
      const message =
        `CSR signing error (requested TTL ${seconds}s is greater than the max allowed TTL ${settings.maxTtlSeconds}s)`;
      return { status: Status.invalidArgument, message, csr };
    }
    const ttl = seconds > 0 ? seconds : DEFAULT_SECONDS;
    const { chain, serial } = await this.#authority.sign(publicKey, identity, ttl, settings);
    return { status: Status.ok, message: "", chain, serial, csr };
  }
}

function impersonatedBy({ metadata }: IstioCertificateRequest): string | undefined {
  const identity = metadata?.["ImpersonatedIdentity"];
  return typeof identity === "string" && identity !== "" ? identity : undefined;
}

async function attemptToRead(pem: string): Promise<CertificateRequest["csr"]> {
  const read = await attempt(() => readCsr(pem));
  return read instanceof Error ? undefined : read.seen;
}

/** The value, or why there is none: what clients send may be anything. */
async function attempt<T>(action: () => Promise<T>): Promise<T | Error> {
  try {
    return await action();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
