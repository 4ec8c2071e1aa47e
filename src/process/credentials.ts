import type { CertificateSettings } from "../config/mod.ts";
import { CertificateCache, sameSigner } from "../identity/mod.ts";
import { type LogScope, type MetricRegistry, registerCrlMetrics } from "../telemetry/mod.ts";
import { PeerTrust } from "../tls/mod.ts";
import { type Authority, openAuthority } from "./authority.ts";
import { observeCertificates } from "./certificate_observer.ts";
import { watchFile } from "./watched_file.ts";

export interface CredentialsOptions {
  readonly settings: CertificateSettings;
  /** Of the certificates that the embedded CA makes. */
  readonly trustDomain: string;
  /** We ask for the identities of others: a node's proxy for its pods (spec/ztunnel.md §3.4). */
  readonly impersonate: boolean;
  readonly registry: MetricRegistry;
  readonly logs: { readonly identity: LogScope; readonly tls: LogScope };
}

/** What a process shows to its peers, and by what it knows them: certificates, roots and revocation lists. */
export class Credentials {
  readonly certificates: CertificateCache;
  readonly trust: PeerTrust;
  readonly #authority: Authority;

  constructor({ settings, trustDomain, impersonate, registry, logs }: CredentialsOptions) {
    this.#authority = openAuthority({ settings, trustDomain, impersonate, log: logs.identity });
    this.certificates = new CertificateCache(this.#authority.ca, {
      observer: observeCertificates(registry, logs.identity),
    });
    this.trust = new PeerTrust({
      crlPath: settings.crlPath,
      metrics: registerCrlMetrics(registry),
      log: logs.tls,
      watch: watchFile,
    });
  }

  /**
   * From here on changes of roots and revocation lists are followed. Rejects with the reason where the authority cannot be
   * used.
   *
   * @param renew makes the identity's next connections go over new tunnels
   */
  async start(renew: (identity: string) => void): Promise<void> {
    await this.#authority.check();
    this.#authority.follow(this.certificates);
    followRoots(this.certificates, this.trust, renew);
    await this.trust.start();
  }

  close(): void {
    this.certificates.close();
    this.#authority.close();
    this.trust.close();
  }
}

/**
 * Follows a change of roots, which goes in three steps: both are trusted, the new one signs, the old one is trusted no
 * more. At the second `renew` makes the identity's next connections go over tunnels with the new certificate, so that few
 * are left on those with the old one at the third, when peers are asked about again. Where roots and signer change at once
 * the old tunnels are the only ones that peers take before they have the new roots too: those are kept.
 */
function followRoots(cache: CertificateCache, trust: PeerTrust, renew: (identity: string) => void): void {
  cache.onChange((identity, certificate, before) => {
    if (before === undefined) return;
    if (before.rootsPem !== certificate.rootsPem) trust.rootsChanged(identity, certificate.rootsPem);
    else if (!sameSigner(before, certificate)) renew(identity);
  });
}
