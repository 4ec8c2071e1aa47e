import type { WorkloadCertificate } from "../identity/mod.ts";
import type { Reporter } from "../telemetry/mod.ts";
import type { ChainSocket, PeerChain } from "./peer_chain.ts";

/** Why a tunnel that was trusted is cut, as the access log and the metrics say it. */
export interface CutReason {
  readonly text: string;
  readonly flag: "CERT_REVOKED";
}

/** What can be cut. Called at most once, and not after the peer was released. */
export interface TrustedTunnel {
  revoke(reason: CutReason): void;
}

/** A peer whose handshake was good. Its tunnel tells it when it begins and when it ends. */
export interface TrackedPeer {
  /** From here on the tunnel may be cut. */
  track(tunnel: TrustedTunnel): void;
  /** The connection is closed. */
  release(): void;
}

/** What PeerTrust knows of a peer: some 300 octets. */
export class Peer implements TrackedPeer {
  /** SPIFFE id as which we met it. */
  readonly own: string;
  readonly reporter: Reporter;
  readonly socket: ChainSocket;
  /** Roots that it was last judged by. */
  rootsPem: string;
  /** Read when it is first needed: without lists, and while roots stay, never. */
  chain: PeerChain | undefined = undefined;
  /** It was counted as one that no list can cut. */
  untracked = false;
  #tunnel: TrustedTunnel | undefined = undefined;
  readonly #peers: Set<Peer>;

  /** @param peers where it is while it can be cut */
  constructor(peers: Set<Peer>, { identity, rootsPem }: WorkloadCertificate, socket: ChainSocket, reporter: Reporter) {
    this.#peers = peers;
    this.own = identity;
    this.rootsPem = rootsPem;
    this.socket = socket;
    this.reporter = reporter;
  }

  get open(): boolean {
    return this.#tunnel !== undefined;
  }

  track(tunnel: TrustedTunnel): void {
    this.#tunnel = tunnel;
    this.#peers.add(this);
  }

  release(): void {
    this.#tunnel = undefined;
    this.#peers.delete(this);
  }

  cut(reason: CutReason): void {
    const tunnel = this.#tunnel;
    this.release();
    tunnel?.revoke(reason);
  }
}
