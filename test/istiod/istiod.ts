/** The control handle of an istiod for tests: its process, its content, its faults, what it saw. */
import type { MeshChange } from "./mesh_control.ts";
import type {
  Break,
  CaSettings,
  DiscoveryRequest,
  DiscoverySettings,
  Generation,
  IssuedLeaf,
  LeafPlan,
  MeshSize,
  PortSettings,
  PushSent,
  ResourceText,
  Revocation,
  Status,
} from "./protocol.ts";
import type { Seen } from "./seen.ts";

export interface IstiodOptions {
  /** Wraps the command line: `namespace.command` starts it in a network namespace. */
  readonly command?: (command: readonly string[]) => readonly string[];
  /** What it listens on. Default 127.0.0.1. */
  readonly address?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Default cluster.local. */
  readonly trustDomain?: string;
  /** Further settings to begin with. */
  readonly portSettings?: Partial<PortSettings>;
  readonly ca?: Partial<CaSettings>;
  readonly discovery?: Partial<DiscoverySettings>;
  /** False: nobody listens until `set({ connections: "accept" })`. */
  readonly listen?: boolean;
  /** Where its files are (roots, token, state). Default: a scratch directory of its own, removed by `close`. */
  readonly directory?: string;
}

export interface Istiod {
  readonly address: string;
  readonly port: number;
  /** https://ADDRESS:PORT, for XDS_ADDRESS and CA_ADDRESS. */
  readonly url: string;
  readonly pid: number;
  readonly directory: string;
  /** PEM file of the roots that the server's certificate is checked against, for XDS_ROOT_CA and CA_ROOT_CA. */
  readonly rootPath: string;
  /** File with a token that is accepted, for the `authorization` header. */
  readonly tokenPath: string;
  readonly seen: Seen;

  /** Changes the mesh and pushes the change to whom it concerns. */
  put(change: MeshChange): Promise<PushSent>;
  /** A made-up mesh besides what is there; a plan with the same prefix replaces its resources. */
  generate(size: MeshSize): Promise<PushSent>;
  /** A recorded stream's responses, in order (files `*.pb`), as one change. Versions stay the recorded ones. */
  load(files: readonly string[]): Promise<PushSent>;
  /** Empties the mesh. */
  clear(): Promise<PushSent>;
  resources(typeUrl: string): Promise<readonly ResourceText[]>;
  /** Sends all there is to all, changed or not, as istiod does when it does not know what has changed. */
  pushAll(): Promise<PushSent>;
  /** Sends every stream of a type a message of this size (bytes), well formed, without resources. */
  pushLarge(typeUrl: string, bytes: number): Promise<PushSent>;
  /** What the streams answered to a push: ACK, NACK, or an answer that came too late to count. @throws DeadlineError */
  answers(push: PushSent, deadlineMs?: number): Promise<readonly DiscoveryRequest[]>;
  /** Resolves once a stream has ACKed its latest addresses and its latest policies. @throws DeadlineError */
  synced(deadlineMs?: number): Promise<void>;

  setCa(settings: Partial<CaSettings>): Promise<CaSettings>;
  setDiscovery(settings: Partial<DiscoverySettings>): Promise<DiscoverySettings>;
  setPort(settings: Partial<PortSettings>): Promise<PortSettings>;
  /** Ends running streams (by number; default: all of discovery). @returns how many streams or connections */
  breakStreams(how: Break, streams?: readonly number[]): Promise<number>;

  /** Makes another root and intermediate; nothing uses them yet. */
  newRoot(): Promise<Generation>;
  /**
   * A new root takes over: it signs from now on, and "both" hands out the old root beside it, "new only" does not.
   * The server's own certificate stays.
   */
  rotateRoot(roots: "both" | "new only"): Promise<Generation>;
  /** PEM of these roots; default: those handed out now. */
  roots(generations?: readonly Generation[]): Promise<string>;
  /** A certificate of the mesh's authority for a test's own peer. */
  issue(plan: LeafPlan): Promise<IssuedLeaf>;
  /** Revokes, besides what is revoked already. @returns CRLs of all issuers, PEM */
  revoke(revocation: Revocation): Promise<string>;

  status(): Promise<Status>;
  /**
   * Kills the process (SIGKILL). With its state kept, `start` brings mesh, authority and settings back; lost, it begins
   * as at first, with a new authority.
   */
  kill(state: "kept" | "lost"): Promise<void>;
  /** After `kill`: on the same port. `prepare` runs before anybody can connect. */
  start(prepare?: () => Promise<unknown>): Promise<void>;
  /** Stops the process and removes its scratch directory. */
  close(): Promise<void>;
}

/** Starts an istiod; it listens when the promise resolves. @throws Error with what the program said, if it cannot */
export function startIstiod(_options: IstiodOptions = {}): Promise<Istiod> {
  return Promise.reject(new Error("not there yet"));
}
