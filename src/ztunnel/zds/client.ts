import {
  closeFd,
  FatalNamespaceError,
  isNetworkNamespace,
  namespaceIdentity,
  type Packet,
  SeqpacketSocket,
  watchReadable,
} from "../../linux/mod.ts";
import type { WorkloadInfo } from "../../mesh/workload.ts";
import { ConnectBackoff, HandshakeBackoff } from "./backoff.ts";
import { encodeAck, HELLO, MAX_PACKET, parsePacket } from "./messages.ts";
import { type ZdsEffect, type ZdsEvent, ZdsState, type ZdsWorkload } from "./state.ts";

/** The mode's side of ZDS. Calls come one after the other, never while startWorkload's promise is open. */
export interface ZdsHandler {
  /**
   * Make the pod's listeners in its namespace. The descriptor is the handler's to close from the moment this returns or
   * resolves; when it throws or rejects the descriptor stays with the client, the agent is told the error's message, and
   * the start is tried again every 5 s. It has to be over well within the agent's deadline of 5 s. FatalNamespaceError
   * is passed on to fatal().
   */
  startWorkload(uid: string, info: WorkloadInfo, namespaceFd: number): Promise<void> | void;
  /** Stop at once, with all connections of the pod. Must not throw. */
  stopWorkload(uid: string): void;
  /** The readiness task `workload proxy manager`: pending (also once at the start), or released. */
  readiness(pending: boolean): void;
  /** The process has to end with status 1. The client has closed itself. */
  fatal(message: string): void;
  log(level: "debug" | "info" | "warn" | "error", message: string, fields: Record<string, string | number>): void;
}

/** Time, for tests. Milliseconds. */
export interface ZdsClock {
  /** Calls back once, later; the function returned takes it back. */
  after(delay: number, callback: () => void): () => void;
  /** As Math.random. */
  random(): number;
}

const SYSTEM_CLOCK: ZdsClock = {
  after(delay, callback) {
    const timer = setTimeout(callback, delay);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

export interface ZdsClientOptions {
  /** The agent's socket, INPOD_UDS. */
  readonly path: string;
  readonly handler: ZdsHandler;
  readonly clock?: ZdsClock;
}

/**
 * The connection to the CNI agent (spec/ztunnel.md §2.1 to §2.3): keeps it, says hello, feeds each packet to the state
 * machine and carries out what it asks. For the main thread only (watchReadable).
 */
export class ZdsClient {
  readonly #path: string;
  readonly #handler: ZdsHandler;
  readonly #clock: ZdsClock;
  readonly #state = new ZdsState();
  readonly #events: ZdsEvent[] = [];
  readonly #connectBackoff = new ConnectBackoff();
  readonly #handshakeBackoff: HandshakeBackoff;
  #socket: SeqpacketSocket | undefined;
  #unwatch: (() => void) | undefined;
  /** Whether the agent has sent anything sensible on this connection, and on the one before. */
  #served = false;
  #servedBefore = true;
  #cancelReconnect: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #closed = false;

  constructor(options: ZdsClientOptions) {
    this.#path = options.path;
    this.#handler = options.handler;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#handshakeBackoff = new HandshakeBackoff(() => this.#clock.random());
  }

  /** Pods as ZDS knows them, for the admin pages. */
  get state(): Pick<ZdsState, "running" | "pending" | "starting" | "notReady"> {
    return this.#state;
  }

  /** Connects, now and whenever the connection is lost. To be called once. */
  start(): void {
    this.#handler.readiness(true);
    this.#connect();
  }

  /**
   * Ends the connection and closes the namespaces of pending pods; running proxies are left alone. A start under way is
   * not waited for; its descriptor is closed should it fail.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelReconnect?.();
    this.#closeSocket();
    this.#run(this.#state.handle({ kind: "stopped" }));
    for (const event of this.#events.splice(0)) if (event.kind === "add") closeFd(event.namespace.fd);
  }

  #closeSocket(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#socket?.close();
    this.#socket = undefined;
  }

  #connect(): void {
    let socket: SeqpacketSocket;
    try {
      socket = SeqpacketSocket.connect(this.#path);
    } catch (error) {
      const delay = this.#connectBackoff.next();
      this.#handler.log("warn", "failed to connect to the Istio CNI node agent", {
        error: text(error),
        next_try: `in ${delay}ms`,
      });
      return this.#reconnect(delay);
    }
    this.#connectBackoff.reset();
    this.#socket = socket;
    this.#served = false;
    try {
      this.#unwatch = watchReadable(socket.fd, () => this.#receive());
      socket.send(HELLO);
    } catch (error) {
      this.#closeSocket();
      const delay = this.#handshakeBackoff.next();
      this.#handler.log("warn", "failed to send the ZDS hello", { error: text(error), next_try: `in ${delay}ms` });
      return this.#reconnect(delay);
    }
    this.#handler.log("info", "connected to the Istio CNI node agent", { path: this.#path });
    this.#dispatch({ kind: "connected" });
  }

  #reconnect(delay: number): void {
    this.#cancelReconnect = this.#clock.after(delay, () => {
      this.#cancelReconnect = undefined;
      this.#connect();
    });
  }

  /** Takes in all that has arrived. */
  #receive(): void {
    while (this.#socket !== undefined) {
      let packet: Packet | undefined;
      try {
        packet = this.#socket.poll(MAX_PACKET);
      } catch (error) {
        return this.#ended(text(error));
      }
      if (packet === undefined) return;
      if (packet.bytes.length === 0 && packet.fds.length === 0) return this.#ended("EOF");
      this.#packet(packet);
    }
  }

  #ended(reason: string): void {
    this.#closeSocket();
    this.#handler.log("warn", "lost the connection to the Istio CNI node agent", { error: reason });
    this.#dispatch({ kind: "disconnected" });
  }

  /** Ends the connection from our side. What the agent has sent already is taken in before the end is seen. */
  #hangUp(): void {
    this.#socket?.shutdown();
    queueMicrotask(() => this.#receive());
  }

  #packet(packet: Packet): void {
    const event = this.#read(packet);
    if (event.kind !== "add") packet.fds.forEach(closeFd);
    this.#dispatch(event);
  }

  /** The packet's event; only an `add` takes the descriptor over. */
  #read({ bytes, fds, truncated }: Packet): ZdsEvent {
    const parsed = parsePacket({ bytes, fdCount: fds.length, truncated });
    if (!parsed.ok) return { kind: "unreadable", reason: parsed.error };
    if (parsed.request.kind !== "add") return parsed.request;
    const { uid, info } = parsed.request;
    const [fd] = fds;
    if (fd === undefined) return { kind: "unreadable", reason: "add without a descriptor" };
    if (!isNetworkNamespace(fd)) {
      this.#handler.log("warn", "the descriptor of a pod is no network namespace", { uid });
    }
    try {
      return { kind: "add", uid, info, namespace: { fd, identity: namespaceIdentity(fd) } };
    } catch (error) {
      return { kind: "unreadable", reason: `namespace of ${uid}: ${text(error)}` };
    }
  }

  /** Events are handled in the order of their arrival; those that come while a proxy starts wait. */
  #dispatch(event: ZdsEvent): void {
    this.#events.push(event);
    this.#drain();
  }

  #drain(): void {
    while (!this.#state.starting) {
      const event = this.#events.shift();
      if (event === undefined) return;
      if (isRequest(event)) this.#served = true;
      this.#run(this.#state.handle(event));
      if (event.kind === "disconnected") this.#disconnected();
    }
  }

  /** The original reconnects at once. A second connection in a row that came to nothing waits: no busy loop. */
  #disconnected(): void {
    const atOnce = this.#served || this.#servedBefore;
    this.#servedBefore = this.#served;
    if (atOnce) this.#connect();
    else this.#reconnect(this.#handshakeBackoff.next());
  }

  #run(effects: readonly ZdsEffect[]): void {
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: ZdsEffect): void {
    switch (effect.kind) {
      case "start":
        return this.#startProxy(effect.workload);
      case "stop":
        this.#handler.log("info", "stopping the proxy of a pod", { uid: effect.uid });
        return this.#handler.stopWorkload(effect.uid);
      case "ack":
        return this.#acknowledge(effect.error);
      case "close-connection":
        return this.#hangUp();
      case "close-fd":
        return closeFd(effect.fd);
      case "arm-retry":
        this.#cancelRetry = this.#clock.after(effect.delay, () => this.#dispatch({ kind: "retry" }));
        return;
      case "disarm-retry":
        return this.#cancelRetry?.();
      case "readiness":
        if (!effect.pending) this.#handshakeBackoff.ready();
        return this.#handler.readiness(effect.pending);
      case "fatal":
        this.close();
        return this.#handler.fatal(effect.message);
    }
  }

  #startProxy({ uid, info, namespace }: ZdsWorkload): void {
    let outcome: Promise<void> | void;
    try {
      outcome = this.#handler.startWorkload(uid, info, namespace.fd);
    } catch (error) {
      return this.#startFailed(uid, error);
    }
    if (outcome === undefined) return this.#started();
    outcome.then(() => this.#started(), (error) => this.#startFailed(uid, error));
  }

  #startFailed(uid: string, error: unknown): void {
    if (error instanceof FatalNamespaceError) {
      this.close();
      return this.#handler.fatal(error.message);
    }
    this.#handler.log("warn", "failed to start the proxy of a pod", { uid, error: text(error) });
    this.#started(text(error));
  }

  #started(error?: string): void {
    this.#run(this.#state.handle(error === undefined ? { kind: "started" } : { kind: "started", error }));
    this.#drain();
  }

  #acknowledge(error: string | undefined): void {
    if (error !== undefined) this.#handler.log("warn", "refused a message of the Istio CNI node agent", { error });
    try {
      this.#socket?.send(encodeAck(error));
    } catch (failed) {
      this.#handler.log("warn", "failed to answer the Istio CNI node agent", { error: text(failed) });
      this.#hangUp();
    }
  }
}

function isRequest(event: ZdsEvent): boolean {
  return event.kind === "add" || event.kind === "keep" || event.kind === "del" || event.kind === "snapshot-sent";
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
