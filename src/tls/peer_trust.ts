import { pemBlocks, type WorkloadCertificate } from "../identity/mod.ts";
import type { CrlMetrics, LogScope, Reporter } from "../telemetry/mod.ts";
import { type ChainLink, type Crypto, type Issuer, IssuerStore } from "./issuer.ts";
import { type ChainOutcome, type ChainSocket, followChain } from "./peer_chain.ts";
import { RevocationSource } from "./revocation_source.ts";
import { Revocations } from "./revocations.ts";
import { inSlices } from "./slices.ts";
import { type CutReason, Peer, type TrackedPeer } from "./tracked_peer.ts";

export type PeerStanding = { readonly ok: true; readonly peer: TrackedPeer } | {
  readonly ok: false;
  readonly error: string;
};

export interface PeerTrustOptions {
  /** CRL_PATH; undefined: nothing is revoked, and only changes of roots are heard. */
  readonly crlPath?: string | undefined;
  readonly metrics: CrlMetrics;
  readonly log: LogScope;
  /** Calls back after the file changed, or is there at last. */
  readonly watch: (path: string, onChange: () => void) => { close(): void };
  /** ms after which handshakes that began with the roots of before are over */
  readonly handshakeMs?: number;
}

/** What is in force, for dumps. */
export interface RevocationStatus {
  readonly path: string;
  readonly lists: number;
  readonly entries: number;
  /** When the lists in force were read; ms since the epoch. undefined: none were. */
  readonly loaded: number | undefined;
  /** Why the file as it is now is not in force. */
  readonly error: string | undefined;
}

export const REVOKED: CutReason = {
  text: "connection closed: peer certificate revoked by CRL",
  flag: "CERT_REVOKED",
};
export const ROOT_WITHDRAWN: CutReason = {
  text: "connection closed: peer certificate leads to no trusted root any more",
  flag: "CERT_REVOKED",
};

/** Handshakes may take 10 s, for both roles. */
const HANDSHAKE_MS = 12_000;
/** Sets of roots that are kept ready. */
const MAX_ROOT_SETS = 64;

/** node:crypto and what is made with it, loaded when a chain must be looked at for the first time. */
interface Tools {
  readonly crypto: Crypto;
  readonly store: IssuerStore;
  /** By their PEM. */
  readonly roots: Map<string, readonly Issuer[]>;
}

/**
 * Who may stay, after the handshake said who may come: peers' certificates against revocation lists, at the handshake
 * and whenever the lists change; and against the roots, whenever those change (spec/ztunnel.md §3.6). One a process.
 *
 * A tunnel costs an object that refers to its socket; chains are read from live sockets when they are needed. While lists
 * are in force a handshake costs some 0.1 ms more, and a tunnel keeps its leaf's serial number and a reference to the
 * chain above, which all peers of one authority share.
 *
 * Where the lists are in force and a chain cannot be followed by its signatures, the peer is refused: the handshake found
 * a way that nothing was asked about.
 */
export class PeerTrust {
  readonly #options: PeerTrustOptions;
  readonly #source: RevocationSource | undefined;
  readonly #peers = new Set<Peer>();
  #tools: Promise<Tools> | undefined = undefined;
  #ready: Tools | undefined = undefined;
  #lists: Revocations | undefined = undefined;
  #watch: { close(): void } | undefined = undefined;
  /** Loads and checks of all peers, one after the other. */
  #work: Promise<void> = Promise.resolve();
  readonly #secondLooks = new Map<string, Timer>();
  #closed = false;

  constructor(options: PeerTrustOptions) {
    this.#options = options;
    const { crlPath, log } = options;
    this.#source = crlPath === undefined ? undefined : new RevocationSource(crlPath, log);
  }

  /** Tunnels that may be cut. */
  get size(): number {
    return this.#peers.size;
  }

  /** undefined without a path. */
  status(): RevocationStatus | undefined {
    if (this.#source === undefined) return undefined;
    const { path, loaded, error } = this.#source;
    const { lists = 0, entries = 0 } = this.#lists ?? {};
    return { path, lists, entries, loaded, error };
  }

  /** Reads the lists and watches their directory. Never rejects: what is wrong with the file is logged. */
  start(): Promise<void> {
    const source = this.#source;
    if (source === undefined || this.#watch !== undefined) return Promise.resolve();
    const load = () => this.#do(() => this.#load(source));
    this.#watch = this.#options.watch(source.path, () => void load());
    return load();
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
    for (const timer of this.#secondLooks.values()) clearTimeout(timer);
    this.#secondLooks.clear();
  }

  /**
   * Judges a peer right after its handshake was found good.
   * @param own the certificate that we showed it
   * @param reporter source: we are the client; destination: the server
   */
  check(socket: ChainSocket, own: WorkloadCertificate, reporter: Reporter): PeerStanding {
    const peer = new Peer(this.#peers, own, socket, reporter);
    const lists = this.#lists;
    if (lists === undefined || lists.entries === 0) return { ok: true, peer };
    const outcome = this.#follow(peer, own.rootsPem, lists, Date.now());
    switch (outcome.kind) {
      case "chain":
        peer.chain = outcome.chain;
        return { ok: true, peer };
      case "revoked":
        this.#options.metrics.rejections(reporter).value++;
        return { ok: false, error: `CERT_REVOKED: certificate revoked (${describe(outcome)})` };
      case "none":
        return { ok: false, error: "the peer's certificates cannot be followed to a trusted root" };
    }
  }

  /**
   * The trusted roots of one of our identities became others: its live tunnels whose chain leads to none of them are cut,
   * and no others. To be called with those of a new certificate when they differ from the last one's.
   */
  rootsChanged(identity: string, rootsPem: string): void {
    if (this.#closed) return;
    const look = () => void this.#do(() => this.#recheckRoots(identity, rootsPem));
    look();
    // A handshake that began before may end after.
    clearTimeout(this.#secondLooks.get(identity));
    const second = () => {
      this.#secondLooks.delete(identity);
      look();
    };
    this.#secondLooks.set(identity, setTimeout(second, this.#options.handshakeMs ?? HANDSHAKE_MS).unref());
  }

  /** Resolves when all that was asked for up to now is done. */
  settled(): Promise<void> {
    return this.#work;
  }

  #do(task: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(async () => {
      if (!this.#closed) await task();
    }).catch((error: Error) => {
      this.#options.log.error("peers could not be checked", [["error", error.stack ?? error.message]]);
    });
    return this.#work;
  }

  // --- lists ---

  async #load(source: RevocationSource): Promise<void> {
    const read = await source.read();
    if (read === undefined) return;
    const { crypto } = await this.#open();
    const lists = this.#lists = new Revocations(crypto, read, (issuer) => this.#unsigned(source.path, issuer));
    await inSlices(this.#recheckLists(lists));
  }

  #unsigned(path: string, { certificate }: Issuer): void {
    this.#options.log.warn("certificate revocation lists of this issuer are not signed by it and do not count", [
      ["path", path],
      ["issuer", oneLine(certificate.subject)],
      ["serial", certificate.serialNumber],
    ]);
  }

  *#recheckLists(lists: Revocations): Generator<void, void> {
    if (lists.entries === 0) return;
    let cut = 0;
    for (const peer of [...this.#peers]) {
      yield;
      if (!peer.open || !this.#isRevoked(peer, lists)) continue;
      this.#options.metrics.rejections(peer.reporter).value++;
      peer.cut(REVOKED);
      cut++;
    }
    if (cut > 0) this.#options.log.warn("tunnels cut: peer certificate revoked", [["tunnels", cut]]);
  }

  #isRevoked(peer: Peer, lists: Revocations): boolean {
    if (peer.chain !== undefined) return lists.revokedIn(peer.chain) !== undefined;
    const outcome = this.#follow(peer, peer.rootsPem, lists, undefined);
    if (outcome.kind === "chain") peer.chain = outcome.chain;
    if (outcome.kind === "none" && !peer.untracked) {
      peer.untracked = true;
      this.#options.metrics.untracked(peer.reporter).value++;
    }
    return outcome.kind === "revoked";
  }

  // --- roots ---

  async #recheckRoots(identity: string, rootsPem: string): Promise<void> {
    const peers = [...this.#peers].filter((peer) => peer.own === identity && peer.rootsPem !== rootsPem);
    if (peers.length === 0) return;
    const { log } = this.#options;
    const roots = this.#roots(rootsPem, await this.#open());
    const verdicts = new Map<ChainLink, boolean>();
    const cut = await inSlices(this.#withoutRoot(peers, rootsPem, roots, verdicts));
    if (cut > 0) {
      log.warn("tunnels cut: their peers lead to no trusted root any more", [["identity", identity], ["tunnels", cut]]);
    }
  }

  *#withoutRoot(
    peers: readonly Peer[],
    rootsPem: string,
    roots: readonly Issuer[],
    verdicts: Map<ChainLink, boolean>,
  ): Generator<void, number> {
    let cut = 0;
    for (const peer of peers) {
      yield;
      if (!peer.open) continue;
      peer.rootsPem = rootsPem;
      if (peer.chain !== undefined && leadsTo(peer.chain.link, roots, verdicts)) continue;
      const outcome = this.#follow(peer, rootsPem, undefined, undefined);
      if (outcome.kind === "chain") {
        peer.chain = outcome.chain;
      } else {
        peer.cut(ROOT_WITHDRAWN);
        cut++;
      }
    }
    return cut;
  }

  // --- chains ---

  #open(): Promise<Tools> {
    return this.#tools ??= import("node:crypto").then((crypto) => {
      const store = new IssuerStore(crypto);
      return this.#ready = { crypto, store, roots: new Map<string, readonly Issuer[]>() };
    });
  }

  #roots(pem: string, { roots, store }: Tools): readonly Issuer[] {
    let known = roots.get(pem);
    if (known === undefined) {
      if (roots.size >= MAX_ROOT_SETS) roots.clear();
      known = pemBlocks("CERTIFICATE", pem).map((block) => store.find(block)).filter((root) => root !== undefined);
      for (const root of known) store.keep(root);
      roots.set(pem, known);
    }
    return known;
  }

  #follow(peer: Peer, rootsPem: string, lists: Revocations | undefined, at: number | undefined): ChainOutcome {
    const tools = this.#ready as Tools; // there since lists or other roots are
    return followChain(peer.socket, tools.store, {
      roots: this.#roots(rootsPem, tools),
      at,
      revoked: (serial, issuer) => lists?.revoked(serial, issuer) ?? false,
    });
  }
}

/** Whether a certificate of the chain is one of the roots, or has been renewed as one, or is signed by one. */
function leadsTo(link: ChainLink, roots: readonly Issuer[], verdicts: Map<ChainLink, boolean>): boolean {
  let verdict = verdicts.get(link);
  if (verdict === undefined) {
    const { issuer, next } = link;
    verdict = roots.some((root) => root.sameAuthority(issuer) || root.signedIssuer(issuer)) ||
      (next !== undefined && leadsTo(next, roots, verdicts));
    verdicts.set(link, verdict);
  }
  return verdict;
}

function describe({ serial, issuer }: { readonly serial: string; readonly issuer: Issuer }): string {
  const hex = Array.from(serial, (octet) => octet.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return `serial 0x${hex} of issuer ${oneLine(issuer.certificate.subject)}`;
}

/** A subject as node:crypto has it, one attribute a line. */
function oneLine(subject: string): string {
  return subject.trim().split("\n").join(", ");
}
