import { closeFd } from "../linux/mod.ts";
import type { WorkloadInfo } from "../mesh/mod.ts";
import type { LogScope, WorkloadManagerMetrics } from "../telemetry/mod.ts";
import { CONNECTION_DRAIN } from "./connection.ts";
import type { DataPlane } from "./data_plane.ts";
import { WorkloadContext } from "./workload_context.ts";
import { WorkloadProxy } from "./workload_proxy.ts";

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

  constructor(plane: DataPlane, metrics: WorkloadManagerMetrics, log: LogScope) {
    this.#plane = plane;
    this.#metrics = metrics;
    this.#log = log;
  }

  list(): Pod[] {
    return [...this.#pods.values()];
  }

  /** Opens the listeners in the pod's namespace. Throws why it could not; the fd is the pod's from then on, else not. */
  start(uid: string, info: WorkloadInfo, namespace: number): void {
    if (this.#pods.has(uid)) throw new Error(`pod ${uid} runs already`);
    const context = new WorkloadContext(this.#plane, info, namespace, this.#plane.config.packetMark);
    const proxy = new WorkloadProxy(context, "all");
    this.#pods.set(uid, { uid, info, namespace, proxy });
    this.#metrics.proxiesStarted.value++;
    this.#metrics.activeProxies.value = this.#pods.size;
    this.#log.info("starting proxy", [["uid", uid], ["name", info.name], ["namespace", info.namespace]]);
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

  setPending(count: number): void {
    this.#metrics.pendingProxies.value = count;
  }
}
