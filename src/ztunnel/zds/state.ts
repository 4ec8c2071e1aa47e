import { type NamespaceIdentity, sameNamespace } from "../../linux/mod.ts";
import type { WorkloadInfo } from "../../mesh/workload.ts";

/** A network namespace: its descriptor, and what tells it from others. */
export interface NamespaceHandle {
  readonly fd: number;
  readonly identity: NamespaceIdentity;
}

export interface ZdsWorkload {
  /** Kubernetes pod UID. */
  readonly uid: string;
  readonly info: WorkloadInfo;
  readonly namespace: NamespaceHandle;
}

/** What happens to the state machine. Each message is an event of its own; so is the outcome of a start. */
export type ZdsEvent =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | {
    readonly kind: "add";
    readonly uid: string;
    readonly info: WorkloadInfo | undefined;
    readonly namespace: NamespaceHandle;
  }
  | { readonly kind: "keep"; readonly uid: string }
  | { readonly kind: "del"; readonly uid: string }
  | { readonly kind: "snapshot-sent" }
  /** A packet that could not be received or understood. */
  | { readonly kind: "unreadable"; readonly reason: string }
  /** The start that was asked for is over; `error` when it failed. */
  | { readonly kind: "started"; readonly error?: string }
  /** The retry timer. */
  | { readonly kind: "retry" }
  /** The process ends: nothing more is done with what is pending. */
  | { readonly kind: "stopped" };

/** What the state machine wants done, in this order. */
export type ZdsEffect =
  /** Start a proxy; answer with a `started` event. On success the descriptor is the proxy's, on failure it stays ours. */
  | { readonly kind: "start"; readonly workload: ZdsWorkload }
  /** Stop a proxy at once, with all its connections. */
  | { readonly kind: "stop"; readonly uid: string }
  | { readonly kind: "ack"; readonly error?: string }
  | { readonly kind: "close-connection" }
  | { readonly kind: "close-fd"; readonly fd: number }
  | { readonly kind: "arm-retry"; readonly delay: number }
  | { readonly kind: "disarm-retry" }
  | { readonly kind: "readiness"; readonly pending: boolean }
  /** The agent broke the protocol: end the process. */
  | { readonly kind: "fatal"; readonly message: string };

/** How long a proxy that could not start waits for the next attempt. */
export const RETRY_DELAY = 5000; // milliseconds, spec/ztunnel.md §2.2

type Phase = "disconnected" | "connected" | "closing" | "stopped";

/** The proxy whose outcome is awaited: asked for by a message, or one of a round of retries. */
type Starting =
  | { readonly cause: "add"; readonly workload: ZdsWorkload }
  | { readonly cause: "retry"; readonly workload: ZdsWorkload; readonly rest: readonly string[] };

export interface PendingWorkload {
  readonly workload: ZdsWorkload;
  readonly error: string;
}

/**
 * What ztunnel knows of the pods of its node (spec/ztunnel.md §2.2, §2.3): events in, effects out, no I/O. While
 * `starting` is true the only events it takes are `started` and `stopped`; the caller keeps the others until then.
 */
export class ZdsState {
  #phase: Phase = "disconnected";
  /** Pods named so far by this connection; undefined once its snapshot is complete. */
  #named: Set<string> | undefined = new Set();
  readonly #running = new Map<string, NamespaceIdentity>();
  readonly #pending = new Map<string, PendingWorkload>();
  #starting: Starting | undefined;
  #retryArmed = false;
  #notReady = true;

  get starting(): boolean {
    return this.#starting !== undefined;
  }

  /** Pods whose proxy runs. */
  get running(): ReadonlyMap<string, NamespaceIdentity> {
    return this.#running;
  }

  /** Pods whose proxy could not start yet, with the last reason. */
  get pending(): ReadonlyMap<string, PendingWorkload> {
    return this.#pending;
  }

  /** True until a snapshot is complete and every proxy of it runs. */
  get notReady(): boolean {
    return this.#notReady;
  }

  handle(event: ZdsEvent): ZdsEffect[] {
    const effects: ZdsEffect[] = [];
    this.#transition(event, effects);
    return effects;
  }

  #transition(event: ZdsEvent, effects: ZdsEffect[]): void {
    if (event.kind === "stopped") return this.#stop(effects);
    if (event.kind === "started") return this.#started(event.error, effects);
    if (this.#starting !== undefined) throw new Error(`ZDS event "${event.kind}" while a proxy is starting`);
    if (event.kind === "connected") return this.#connected(effects);
    if (event.kind === "disconnected") return this.#disconnected(effects);
    if (this.#phase !== "connected") {
      if (event.kind === "add") effects.push({ kind: "close-fd", fd: event.namespace.fd });
      return;
    }
    switch (event.kind) {
      case "add":
        return this.#add(event, effects);
      case "keep":
        return this.#keep(event.uid, effects);
      case "del":
        return this.#del(event.uid, effects);
      case "snapshot-sent":
        return this.#snapshotSent(effects);
      case "unreadable":
        effects.push({ kind: "ack", error: `failure to read message : ${event.reason}` }, { kind: "close-connection" });
        this.#phase = "closing";
        return;
      case "retry":
        this.#retryArmed = false;
        return this.#retryNext([...this.#pending.keys()], effects);
    }
  }

  #connected(effects: ZdsEffect[]): void {
    if (this.#phase === "stopped") return;
    this.#phase = "connected";
    this.#named = new Set();
    this.#dropPending(effects);
  }

  #disconnected(effects: ZdsEffect[]): void {
    if (this.#phase === "stopped") return;
    this.#phase = "disconnected";
    this.#setNotReady(true, effects);
  }

  #stop(effects: ZdsEffect[]): void {
    this.#phase = "stopped";
    this.#dropPending(effects);
  }

  #dropPending(effects: ZdsEffect[]): void {
    for (const uid of [...this.#pending.keys()]) this.#forgetPending(uid, effects);
    if (this.#retryArmed) effects.push({ kind: "disarm-retry" });
    this.#retryArmed = false;
  }

  #add(event: Extract<ZdsEvent, { kind: "add" }>, effects: ZdsEffect[]): void {
    const { uid, info, namespace } = event;
    if (info === undefined) {
      effects.push({ kind: "close-fd", fd: namespace.fd });
      return this.#protocolError("workload_info is required but not present", effects);
    }
    this.#named?.add(uid);
    this.#forgetPending(uid, effects); // the agent tries again: its newer namespace counts
    const running = this.#running.get(uid);
    if (running !== undefined && sameNamespace(running, namespace.identity)) {
      effects.push({ kind: "close-fd", fd: namespace.fd }, { kind: "ack" });
      return this.#evaluateReadiness(effects);
    }
    if (running !== undefined) this.#stopProxy(uid, effects);
    const workload = { uid, info, namespace };
    this.#starting = { cause: "add", workload };
    effects.push({ kind: "start", workload });
  }

  #keep(uid: string, effects: ZdsEffect[]): void {
    if (this.#named === undefined) return this.#protocolError("pod keep received after snapshot", effects);
    this.#named.add(uid);
    this.#acknowledge(effects);
  }

  #del(uid: string, effects: ZdsEffect[]): void {
    this.#forgetPending(uid, effects);
    // Before the snapshot it is enough to forget the name: the reconciliation at its end stops what was not named.
    if (this.#named !== undefined) this.#named.delete(uid);
    else if (this.#running.has(uid)) this.#stopProxy(uid, effects);
    this.#acknowledge(effects);
  }

  #snapshotSent(effects: ZdsEffect[]): void {
    const named = this.#named;
    if (named === undefined) return this.#protocolError("pod snapshot received already", effects);
    for (const uid of [...this.#running.keys()]) if (!named.has(uid)) this.#stopProxy(uid, effects);
    this.#named = undefined;
    this.#acknowledge(effects);
  }

  #protocolError(text: string, effects: ZdsEffect[]): void {
    const message = `ProtocolError("${text}")`;
    effects.push({ kind: "ack", error: `failure to process message : ${message}` });
    this.#stop(effects);
    effects.push({ kind: "fatal", message });
  }

  #started(error: string | undefined, effects: ZdsEffect[]): void {
    const starting = this.#starting;
    if (starting === undefined) throw new Error("the outcome of a start that was not asked for");
    this.#starting = undefined;
    const { workload } = starting;
    if (error === undefined) {
      this.#running.set(workload.uid, workload.namespace.identity);
      this.#pending.delete(workload.uid); // with its descriptor, which the proxy has now
    } else if (this.#phase === "stopped") {
      this.#pending.delete(workload.uid);
      effects.push({ kind: "close-fd", fd: workload.namespace.fd });
    } else {
      this.#pending.set(workload.uid, { workload, error });
    }
    if (this.#phase === "stopped") return;
    if (starting.cause === "retry") return this.#retryNext(starting.rest, effects);
    effects.push(error === undefined ? { kind: "ack" } : { kind: "ack", error: `failure to start proxy : ${error}` });
    this.#armRetry(effects);
    this.#evaluateReadiness(effects);
  }

  /** Goes on with a round of retries: the next pending proxy is started, or the round is over. */
  #retryNext(uids: readonly string[], effects: ZdsEffect[]): void {
    const [uid, ...rest] = uids;
    if (uid === undefined) {
      this.#armRetry(effects);
      return this.#evaluateReadiness(effects);
    }
    const workload = this.#pending.get(uid)?.workload;
    if (workload === undefined) return this.#retryNext(rest, effects);
    this.#starting = { cause: "retry", workload, rest };
    effects.push({ kind: "start", workload });
  }

  #armRetry(effects: ZdsEffect[]): void {
    if (this.#retryArmed || this.#pending.size === 0) return;
    this.#retryArmed = true;
    effects.push({ kind: "arm-retry", delay: RETRY_DELAY });
  }

  #acknowledge(effects: ZdsEffect[]): void {
    effects.push({ kind: "ack" });
    this.#evaluateReadiness(effects);
  }

  #evaluateReadiness(effects: ZdsEffect[]): void {
    this.#setNotReady(this.#named !== undefined || this.#pending.size > 0, effects);
  }

  #setNotReady(notReady: boolean, effects: ZdsEffect[]): void {
    if (notReady === this.#notReady) return;
    this.#notReady = notReady;
    effects.push({ kind: "readiness", pending: notReady });
  }

  #stopProxy(uid: string, effects: ZdsEffect[]): void {
    this.#running.delete(uid);
    effects.push({ kind: "stop", uid });
  }

  #forgetPending(uid: string, effects: ZdsEffect[]): void {
    const pending = this.#pending.get(uid);
    // The descriptor of a start under way is settled by its outcome.
    if (pending === undefined || pending.workload === this.#starting?.workload) return;
    this.#pending.delete(uid);
    effects.push({ kind: "close-fd", fd: pending.workload.namespace.fd });
  }
}
