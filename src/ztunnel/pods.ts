import { closeFd, type NamespaceIdentity, namespaceIdentity, portIsListenedOn, sameNamespace } from "../linux/mod.ts";
import { workloadIdentity, type WorkloadInfo } from "../mesh/mod.ts";
import type { LogScope, WorkloadManagerMetrics } from "../telemetry/mod.ts";
import { CONNECTION_DRAIN, type GoOn, type PlainRelay } from "./connection.ts";
import type { DataPlane } from "./data_plane.ts";
import { WorkloadContext } from "./workload_context.ts";
import { WorkloadProxy } from "./workload_proxy.ts";

/** How long the takeover of a pod may wait for its certificate, ms: the agent gives a message 5 s. */
const TAKEOVER_MS = 3_000;
/** For so long after one wait was in vain no other begins, ms: the agent and other pods wait meanwhile. */
const IMPATIENT_MS = 30_000;

/** A pod whose traffic we carry. */
export interface Pod {
  readonly uid: string;
  readonly info: WorkloadInfo;
  /** Its network namespace: ours to close when the pod goes. */
  readonly namespace: number;
  readonly proxy: WorkloadProxy;
}

/** The pods of this node, started and stopped as the CNI agent says (spec/ztunnel.md §2.3, §2.4). */
export class Pods {
  readonly #plane: DataPlane;
  readonly #pods = new Map<string, Pod>();
  readonly #metrics: WorkloadManagerMetrics;
  readonly #log: LogScope;
  /** ms of performance.now() */
  #impatientUntil = 0;
  #closed = false;

  constructor(plane: DataPlane, metrics: WorkloadManagerMetrics, log: LogScope) {
    this.#plane = plane;
    this.#metrics = metrics;
    this.#log = log;
  }

  list(): Pod[] {
    return [...this.#pods.values()];
  }

  /**
   * Opens the listeners in the pod's namespace; the fd is the pod's from then on. Throws or rejects why it could not; the fd
   * stays the caller's then.
   *
   * From the moment we listen, all new connections are ours (linux/reuseport.ts). So a pod that another process serves is
   * only taken over when we have its certificate; until then its start fails, we are not ready, and the other one goes on.
   */
  start(uid: string, info: WorkloadInfo, namespace: number): Promise<void> | void {
    const identity = this.#missingCertificate(info);
    if (identity === undefined || !portIsListenedOn(this.#plane.config.inboundAddress.port, namespace)) {
      return this.#open(uid, info, namespace);
    }
    return this.#takeOver(uid, info, namespace, identity);
  }

  async #takeOver(uid: string, info: WorkloadInfo, namespace: number, identity: string): Promise<void> {
    const error = await this.#certificateRefusal(identity);
    if (error !== undefined) {
      throw new Error(`another process serves this pod, and to take it over there is no certificate yet: ${error}`);
    }
    this.#open(uid, info, namespace);
  }

  #open(uid: string, info: WorkloadInfo, namespace: number): void {
    if (this.#closed) throw new Error("the process is about to end");
    if (this.#pods.has(uid)) throw new Error(`pod ${uid} runs already`);
    const context = new WorkloadContext(this.#plane, info, namespace, this.#plane.config.packetMark);
    const proxy = new WorkloadProxy(context, "all");
    this.#pods.set(uid, { uid, info, namespace, proxy });
    this.#metrics.proxiesStarted.value++;
    this.#metrics.activeProxies.value = this.#pods.size;
    this.#log.info("starting proxy", [["uid", uid], ["name", info.name], ["namespace", info.namespace]]);
  }

  /** The identity of a pod that has tunnels, where its certificate is not there. */
  #missingCertificate(info: WorkloadInfo): string | undefined {
    const { mesh, certificates } = this.#plane;
    const record = mesh.current.localWorkload(info);
    if (record === undefined || (record.protocol !== "HBONE" && !record.nativeTunnel)) return undefined;
    const identity = workloadIdentity(record);
    return certificates.peek(identity) === undefined ? identity : undefined;
  }

  /** Waits for a certificate; why there is none. */
  async #certificateRefusal(identity: string): Promise<string | undefined> {
    const fetched = this.#plane.certificates.get(identity, "realtime").then(
      () => undefined,
      (error: Error) => error.message,
    );
    const patience = performance.now() < this.#impatientUntil ? 0 : TAKEOVER_MS;
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(() => {
      this.#impatientUntil = performance.now() + IMPATIENT_MS;
      late.resolve("the CA has not answered");
    }, patience);
    const refusal = await Promise.race([fetched, late.promise]);
    clearTimeout(timer);
    return refusal;
  }

  /** How to go on with a relay of this pod that another process was carrying; or why not. */
  continueRelay(uid: string, namespace: NamespaceIdentity, relay: PlainRelay): GoOn | string {
    const pod = this.#pods.get(uid);
    if (pod === undefined || this.#closed) return "the pod is not served here";
    if (!sameNamespace(namespaceIdentity(pod.namespace), namespace)) {
      return "the pod has another network namespace here";
    }
    const goOn = pod.proxy.continueRelay(relay);
    if (typeof goOn === "string") return goOn;
    return (downstream, upstream) => {
      if (this.#pods.get(uid) === pod) {
        goOn(downstream, upstream);
        return;
      }
      downstream.abort(); // the pod went meanwhile
      upstream.abort();
    };
  }

  /** Cuts the pod's connections and closes its listeners. Unknown pods are gone already. */
  stop(uid: string): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    pod.proxy.stop(CONNECTION_DRAIN);
    closeFd(pod.namespace);
    this.#metrics.proxiesStopped.value++;
    this.#metrics.activeProxies.value = this.#pods.size;
    this.#log.info("workload deleted, draining", [["uid", uid], ["name", pod.info.name]]);
  }

  /** Starts no more pods: what still comes is for the process that takes our place. */
  close(): void {
    this.#closed = true;
  }

  setPending(count: number): void {
    this.#metrics.pendingProxies.value = count;
  }
}
