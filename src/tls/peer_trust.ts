import type { WorkloadCertificate } from "../identity/mod.ts";
import type { CrlMetrics, LogScope, Reporter, ResponseFlag } from "../telemetry/mod.ts";

/** What is asked of a socket whose handshake is over; Bun.Socket has it. */
export interface ChainSocket {
  /** @param abbreviated false: with the chain up to the root, each certificate's issuer in `issuerCertificate` */
  getPeerCertificate(abbreviated: boolean): unknown;
}

/** Why a tunnel that was trusted is cut, as the access log and metrics say it. */
export interface CutReason {
  readonly text: string;
  readonly flag: ResponseFlag;
}

/** A peer whose handshake was good: what is known of its chain, and how to cut its tunnel. */
export interface TrackedPeer {
  /** SPIFFE id as which we met it. */
  readonly own: string;
  readonly reporter: Reporter;
}

export interface PeerTrustOptions {
  /** CRL_PATH; undefined: nothing is revoked, and only changes of roots are heard. */
  readonly crlPath?: string | undefined;
  readonly metrics: CrlMetrics;
  readonly log: LogScope;
}

/**
 * Who may stay, after the handshake said who may come: peers' certificates against revocation lists, at the handshake
 * and whenever the lists change; and against the roots, whenever those change (spec/ztunnel.md §3.6). One a process.
 */
export class PeerTrust {
  constructor(_options: PeerTrustOptions) {}

  /** Reads the list and watches its directory. Never rejects: what is wrong with the list is logged. */
  async start(): Promise<void> {}

  close(): void {}

  /** Judges a peer right after its handshake. `own`: the certificate that we showed it. */
  check(
    _socket: ChainSocket,
    own: WorkloadCertificate,
    reporter: Reporter,
  ): { readonly ok: true; readonly peer: TrackedPeer } | { readonly ok: false; readonly error: string } {
    return { ok: true, peer: { own: own.identity, reporter } };
  }

  /** From here on `cut` may be called, once, until the peer is released. */
  track(_peer: TrackedPeer, _cut: (reason: CutReason) => void): void {}

  /** The peer's connection is closed. */
  release(_peer: TrackedPeer): void {}

  /**
   * The trusted roots of one of our identities changed: its live tunnels whose chain leads to none of `rootsPem` are cut.
   * To be called with the roots of a new certificate when they differ from those before.
   */
  rootsChanged(_identity: string, _rootsPem: string): void {}
}
