/** The control handle of an istiod for tests: its process, its content, its faults, what it saw. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LAB_DEADLINE_MS, makeScratchDirectory, removePath } from "../lab/topology/mod.ts";
import { readCapture } from "./captures.ts";
import { Child } from "./child.ts";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  type Break,
  type CaSettings,
  type DiscoveryRequest,
  type DiscoverySettings,
  type Generation,
  type IssuedLeaf,
  type LeafPlan,
  type MeshSize,
  type PortSettings,
  type PushSent,
  type ResourceText,
  type Revocation,
  type SeenEvent,
  SERVER_NAMES,
  type Status,
} from "./protocol.ts";
import { Seen } from "./seen.ts";

/** One change: what is put replaces what has the same type and name. One push for each type concerned, addresses first. */
export interface MeshChange {
  readonly put?: readonly ResourceText[];
  /** Names of addresses (uid, or namespace/hostname). */
  readonly removedAddresses?: readonly string[];
  /** Names of policies (namespace/name). */
  readonly removedPolicies?: readonly string[];
}

export interface IstiodOptions {
  /** Wraps the command line: `namespace.command` starts it in a network namespace. */
  readonly command?: (command: readonly string[]) => readonly string[];
  /** What it listens on. Default 127.0.0.1. */
  readonly address?: string;
  /** How clients name it, in `url` and in the server's certificate: its address in the lab. Default: `address`. */
  readonly host?: string;
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
  /** https://HOST:PORT, for XDS_ADDRESS and CA_ADDRESS. */
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
  /** Writes the file of `rootPath` anew, with these roots; it begins with the one of the server's certificate. */
  trustServer(generations: readonly Generation[]): Promise<void>;
  /** PEM of these roots; default: those handed out now. */
  roots(generations?: readonly Generation[]): Promise<string>;
  /** A certificate of the mesh's authority for a test's own peer. */
  issue(plan: LeafPlan): Promise<IssuedLeaf>;
  /** Revokes, besides what is revoked already. @returns CRLs of all issuers, PEM */
  revoke(revocation: Revocation): Promise<string>;

  status(): Promise<Status>;
  /** Resolves when `seen` has all that has been seen by now, which comes over a pipe. @returns the mark behind it */
  caughtUp(): Promise<number>;
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

/** What the token file holds; which tokens are good is in PortSettings. */
const TOKEN = "a-token-of-a-service-account";

/** Starts an istiod; it listens when the promise resolves. @throws Error with what the program said, if it cannot */
export async function startIstiod(options: IstiodOptions = {}): Promise<Istiod> {
  const process = new IstiodProcess(options);
  try {
    await process.start();
  } catch (error) {
    await process.close();
    throw error;
  }
  return process;
}

class IstiodProcess implements Istiod {
  readonly address: string;
  readonly directory: string;
  readonly rootPath: string;
  readonly tokenPath: string;
  readonly seen = new Seen();
  readonly #options: IstiodOptions;
  #child: Child | undefined;
  #port: number;
  #resume = false;
  /** Open ones, by their numbers. */
  readonly #connections = new Set<number>();
  readonly #streams = new Set<number>();
  #lastNumber = 0;
  #started = false;

  constructor(options: IstiodOptions) {
    this.#options = options;
    this.address = options.address ?? "127.0.0.1";
    this.#port = options.port ?? 0;
    this.directory = options.directory ?? makeScratchDirectory();
    mkdirSync(this.directory, { recursive: true });
    this.rootPath = join(this.directory, "root-cert.pem");
    this.tokenPath = join(this.directory, "istio-token");
    writeFileSync(this.tokenPath, TOKEN);
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    const { host = this.address } = this.#options;
    return `https://${host.includes(":") ? `[${host}]` : host}:${this.#port}`;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get #running(): Child {
    if (this.#child === undefined) throw new Error("the istiod for tests does not run");
    return this.#child;
  }

  async start(prepare?: () => Promise<unknown>): Promise<void> {
    if (this.#child !== undefined) throw new Error("the istiod for tests runs already");
    const { command = (words) => words, trustDomain = "cluster.local", portSettings, ca, discovery } = this.#options;
    const { host } = this.#options;
    const named = host === undefined || this.#resume ? {} : { serverNames: [...SERVER_NAMES, host] };
    const first = this.#resume ? {} : { portSettings, ca, discovery };
    this.#child = await Child.start(
      {
        address: this.address,
        port: this.#port,
        trustDomain,
        portSettings: { ...named, ...first.portSettings },
        ca: first.ca ?? {},
        discovery: first.discovery ?? {},
        directory: this.directory,
        lastNumber: this.#lastNumber,
        resume: this.#resume,
      },
      command,
      (event) => this.#saw(event),
    );
    this.#port = this.#child.port;
    // Nobody can connect yet.
    const { serverIssuer, connections } = await this.setPort({});
    await this.trustServer([serverIssuer]);
    await prepare?.();
    const listens = prepare !== undefined || this.#started || this.#options.listen !== false;
    this.#started = true;
    await this.setPort({ connections: listens ? connections : "refuse" });
  }

  async kill(state: "kept" | "lost"): Promise<void> {
    const child = this.#running;
    if (state === "kept") await child.ask({ verb: "save" });
    this.#resume = state === "kept";
    this.#child = undefined;
    await child.kill();
    // It could not tell any more what ended with it.
    const at = performance.timeOrigin + performance.now();
    for (const stream of this.#streams) this.seen.add({ kind: "ended", at, stream, status: undefined, reset: 0 });
    for (const connection of this.#connections) this.seen.add({ kind: "closed", at, connection });
    this.#streams.clear();
    this.#connections.clear();
  }

  #saw(event: SeenEvent): void {
    if (event.kind === "connection") this.#connections.add(event.connection);
    else if (event.kind === "closed") this.#connections.delete(event.connection);
    else if (event.kind === "stream") this.#streams.add(event.stream);
    else if (event.kind === "ended") this.#streams.delete(event.stream);
    if ("connection" in event) this.#lastNumber = Math.max(this.#lastNumber, event.connection);
    if ("stream" in event) this.#lastNumber = Math.max(this.#lastNumber, event.stream);
    this.seen.add(event);
  }

  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    await child?.kill();
    if (this.#options.directory === undefined) removePath(this.directory);
    else rmSync(join(this.directory, "state.json"), { force: true });
  }

  put({ put = [], removedAddresses = [], removedPolicies = [] }: MeshChange): Promise<PushSent> {
    const removed = { [ADDRESS_TYPE]: removedAddresses, [AUTHORIZATION_TYPE]: removedPolicies };
    return this.#running.ask({ verb: "put", resources: put, removed });
  }

  generate(mesh: MeshSize): Promise<PushSent> {
    return this.#running.ask({ verb: "generate", mesh });
  }

  load(files: readonly string[]): Promise<PushSent> {
    return this.#running.ask({ verb: "put", ...readCapture(files) });
  }

  clear(): Promise<PushSent> {
    return this.#running.ask({ verb: "clear" });
  }

  resources(typeUrl: string): Promise<readonly ResourceText[]> {
    return this.#running.ask({ verb: "resources", typeUrl });
  }

  pushAll(): Promise<PushSent> {
    return this.#running.ask({ verb: "push all" });
  }

  pushLarge(typeUrl: string, bytes: number): Promise<PushSent> {
    return this.#running.ask({ verb: "push large", typeUrl, bytes });
  }

  answers({ sent }: PushSent, deadlineMs = LAB_DEADLINE_MS): Promise<readonly DiscoveryRequest[]> {
    return Promise.all(
      sent.map(({ nonce }) => this.seen.until("request", (request) => request.nonce === nonce, { deadlineMs })),
    );
  }

  async synced(deadlineMs = LAB_DEADLINE_MS): Promise<void> {
    await this.seen.until("request", (request) => {
      return [ADDRESS_TYPE, AUTHORIZATION_TYPE].every((typeUrl) => this.#isAcked(request.stream, typeUrl));
    }, { deadlineMs });
  }

  #isAcked(stream: number, typeUrl: string): boolean {
    const isMine = (event: { stream: number; typeUrl: string }) => event.stream === stream && event.typeUrl === typeUrl;
    const last = this.seen.all("response").findLast(isMine);
    const answer = this.seen.requests(typeUrl).find(({ nonce, meaning }) => nonce === last?.nonce && meaning === "ack");
    return last !== undefined && answer?.stream === stream &&
      !this.seen.all("ended").some((end) => end.stream === stream);
  }

  setCa(settings: Partial<CaSettings>): Promise<CaSettings> {
    return this.#running.ask({ verb: "ca", settings: explicit(settings) });
  }

  setDiscovery(settings: Partial<DiscoverySettings>): Promise<DiscoverySettings> {
    return this.#running.ask({ verb: "discovery", settings: explicit(settings) });
  }

  setPort(settings: Partial<PortSettings>): Promise<PortSettings> {
    return this.#running.ask({ verb: "port", settings: explicit(settings) });
  }

  breakStreams(how: Break, streams?: readonly number[]): Promise<number> {
    return this.#running.ask({ verb: "break", how, streams });
  }

  newRoot(): Promise<Generation> {
    return this.#running.ask({ verb: "new root" });
  }

  async rotateRoot(roots: "both" | "new only"): Promise<Generation> {
    const { issuer } = await this.setCa({});
    const generation = await this.newRoot();
    await this.setCa({ issuer: generation, roots: roots === "both" ? [generation, issuer] : [generation] });
    return generation;
  }

  roots(generations?: readonly Generation[]): Promise<string> {
    return this.#running.ask({ verb: "roots", generations });
  }

  async trustServer(generations: readonly Generation[]): Promise<void> {
    writeFileSync(this.rootPath, await this.roots(generations));
  }

  issue(plan: LeafPlan): Promise<IssuedLeaf> {
    return this.#running.ask({ verb: "issue", plan });
  }

  revoke(revocation: Revocation): Promise<string> {
    return this.#running.ask({ verb: "revoke", revocation });
  }

  status(): Promise<Status> {
    return this.#running.ask({ verb: "status" });
  }

  async caughtUp(): Promise<number> {
    // Answers come over the same pipe as events, behind those of before.
    await this.status();
    return this.seen.mark;
  }
}

/** JSON has no undefined: what a test sets to undefined is taken back. */
function explicit<T extends object>(settings: T): T {
  return Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, value ?? null])) as T;
}
