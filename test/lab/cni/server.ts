/**
 * A stand-in for istio-cni's node agent: the server of the ZDS socket that tells a ztunnel about the pods of its node and
 * hands over their network namespaces. Every ztunnel that connects gets the pods known so far and `snapshot_sent`;
 * later changes go out as they happen: an add to the latest ztunnel, a del to all, as istio-cni does.
 */
import { closeFd, openNamespace, SeqpacketSocket } from "../../../src/linux/mod.ts";
import type { AcceptorMessage } from "./acceptor.ts";
import { addMessage, delMessage, keepMessage, type PodIdentity, SNAPSHOT_SENT } from "./messages.ts";
import { ZdsError, ZdsSession } from "./session.ts";

export interface CniPod extends PodIdentity {
  /** File of its network namespace; undefined for a pod the agent knows but has no namespace of (`keep`). */
  readonly namespacePath: string | undefined;
}

export class CniStandIn {
  readonly path: string;
  /** What went wrong in sessions, in order: refusals, violations, deadlines. */
  readonly errors: ZdsError[] = [];
  readonly #pods = new Map<string, CniPod>();
  readonly #sessions: ZdsSession[] = [];
  readonly #acceptor: Worker;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  #synchronised: (() => void)[] = [];
  #snapshots = 0;

  /** Resolves once the socket exists. @throws ZdsError when it cannot be made */
  static async listen(path: string, pods: readonly CniPod[] = []): Promise<CniStandIn> {
    const cni = new CniStandIn(path, pods);
    await cni.#listening;
    return cni;
  }

  readonly #listening: Promise<void>;

  private constructor(path: string, pods: readonly CniPod[]) {
    this.path = path;
    for (const pod of pods) this.#pods.set(pod.uid, pod);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#listening = promise;
    this.#acceptor = new Worker(new URL("./acceptor.ts", import.meta.url).href);
    this.#acceptor.onmessage = (event: MessageEvent<AcceptorMessage>) => {
      const message = event.data;
      if (message.kind === "listening") resolve();
      else if (message.kind === "failed") reject(new ZdsError(message.message));
      else if (Atomics.load(this.#stop, 0) === 1) closeFd(message.fd);
      else this.#serve(new ZdsSession(message.fd));
    };
    this.#acceptor.postMessage({ path, stop: this.#stop });
  }

  /** Connected ztunnels, latest last. */
  get sessions(): readonly ZdsSession[] {
    return this.#sessions;
  }

  /** Waits until `count` snapshots have been acknowledged since the start. */
  untilSynchronised(count = 1): Promise<void> {
    if (this.#snapshots >= count) return Promise.resolve();
    return new Promise((resolve) => {
      this.#synchronised.push(() => {
        if (this.#snapshots >= count) resolve();
        else this.untilSynchronised(count).then(resolve);
      });
    });
  }

  /** Tells the latest ztunnel about a pod, if one is connected. @throws ZdsError when it refuses */
  async add(pod: CniPod): Promise<void> {
    this.#pods.set(pod.uid, pod);
    const session = this.#sessions.at(-1);
    if (session !== undefined) await this.#announce(session, pod);
  }

  async remove(uid: string): Promise<void> {
    this.#pods.delete(uid);
    await Promise.all(this.#sessions.map((session) => session.request(`del ${uid}`, delMessage(uid))));
  }

  /** Cuts all ztunnels off, as an agent that restarts. */
  disconnect(): void {
    for (const session of this.#sessions.splice(0)) session.close();
  }

  close(): void {
    Atomics.store(this.#stop, 0, 1); // first: whoever is cut off comes back at once
    this.disconnect();
    try {
      // Wakes the acceptor from its wait.
      SeqpacketSocket.connect(this.path).close();
    } catch {
      this.#acceptor.terminate();
    }
  }

  async #serve(session: ZdsSession): Promise<void> {
    this.#sessions.push(session);
    session.ended.then(() => {
      const index = this.#sessions.indexOf(session);
      if (index >= 0) this.#sessions.splice(index, 1);
    });
    try {
      await session.hello();
      for (const pod of this.#pods.values()) await this.#announce(session, pod);
      await session.request("snapshot_sent", SNAPSHOT_SENT);
      this.#snapshots++;
      for (const waiting of this.#synchronised.splice(0)) waiting();
    } catch (error) {
      this.errors.push(error instanceof ZdsError ? error : new ZdsError(String(error)));
    }
  }

  async #announce(session: ZdsSession, pod: CniPod): Promise<void> {
    if (pod.namespacePath === undefined) return await session.request(`keep ${pod.uid}`, keepMessage(pod.uid));
    const fd = openNamespace(pod.namespacePath);
    try {
      await session.request(`add ${pod.name}`, addMessage(pod), [fd]);
    } finally {
      closeFd(fd);
    }
  }
}
