/** Where the certificates of a process come from, as its settings say. */
import type { CertificateSettings } from "../config/mod.ts";
import { GrpcError, statusName } from "../grpc/mod.ts";
import {
  type CertificateAuthority,
  type CertificateCache,
  CREATE_CERTIFICATE,
  EmbeddedCa,
  RemoteCa,
  SigningError,
} from "../identity/mod.ts";
import type { LogScope } from "../telemetry/mod.ts";
import { controlPlaneChannel, watchRoots } from "./control_plane.ts";

/** Longest wait for the CA's answer to one request, ms. */
const CREATE_CERTIFICATE_MS = 10_000;

/** The source of certificates, with what must be closed at the end. */
export interface Authority {
  readonly ca: CertificateAuthority;
  /** What cannot be used must show at the start and not at the first connection. Rejects with the reason. */
  check(): Promise<void>;
  /** From now on a change of the trusted roots renews what the cache holds. */
  follow(cache: CertificateCache): void;
  close(): void;
}

export interface AuthorityOptions {
  readonly settings: CertificateSettings;
  /** Of the certificates that the embedded CA makes. */
  readonly trustDomain: string;
  /** We ask for the identities of others: a node's proxy for its pods (spec/ztunnel.md §3.4). */
  readonly impersonate: boolean;
  readonly log: LogScope;
}

export function openAuthority(options: AuthorityOptions): Authority {
  return options.settings.authority.kind === "embedded"
    ? embeddedAuthority(options, options.settings.authority.directory)
    : remoteAuthority(options, options.settings.authority.address);
}

function embeddedAuthority({ settings, trustDomain }: AuthorityOptions, directory: string): Authority {
  const ca = EmbeddedCa.open({ directory, trustDomain, ttlMs: settings.secretTtl });
  return {
    ca,
    check: async () => void await ca.rootPem(),
    follow() {},
    close() {},
  };
}

/** With whom, which only failures to connect say themselves, and the status apart. */
function signingError(error: GrpcError, host: string): SigningError {
  const code = statusName(error.code);
  const text = error.message.startsWith(`${code}: `) ? error.message.slice(code.length + 2) : error.message;
  return new SigningError(code, error.kind === "connect" ? text : `${host}: ${text}`, { cause: error });
}

function remoteAuthority({ settings, impersonate, log }: AuthorityOptions, address: string): Authority {
  const { caRootCertificate: root, altCaHostname: altHostname, caHeaders: headers } = settings;
  const { authToken: token, clusterId, pqc, tls12, secretTtl: ttlMs } = settings;
  const certSigner = settings.proxyMetadata["CERT_SIGNER"];
  const channel = controlPlaneChannel(
    { address, root, altHostname, headers },
    { token, clusterId, tlsPolicy: { tls12, pqc } },
  );
  const ca = new RemoteCa({
    call: async (request) => {
      try {
        return await channel.unary(CREATE_CERTIFICATE, request, { timeoutMs: CREATE_CERTIFICATE_MS });
      } catch (error) {
        throw error instanceof GrpcError ? signingError(error, new URL(address).host) : error;
      }
    },
    ttlMs,
    impersonate,
    ...(certSigner === undefined ? {} : { certSigner }),
  });
  let watch: { close(): void } | undefined;
  return {
    ca,
    check: () => Promise.resolve(), // it may come up after us: whoever needs a certificate hears why there is none
    follow(cache) {
      watch = watchRoots(root, log, () => {
        channel.renew();
        cache.refreshAll();
      });
    },
    close() {
      watch?.close();
      channel.close();
    },
  };
}
