/** Certificates come and go with the workloads of our node (spec/ztunnel.md §3.5). */
import type { CertificateCache } from "../identity/mod.ts";
import { type MeshChange, type Workload, type WorkloadChange, workloadIdentity } from "../mesh/mod.ts";
import type { MeshSource } from "./mesh_source.ts";

/** Whether a workload is on our node; without a name of ours, all are. */
export function isLocal({ node }: Workload, nodeName: string | undefined): boolean {
  return nodeName === undefined || node === nodeName;
}

/**
 * Whether our node may need the certificate of one identity less after a change: a workload went, is somebody else by
 * now, or is on another node, as a StatefulSet's pod that keeps its uid. The CA gives us none for those.
 */
export function leavesIdentity({ before, after }: WorkloadChange, nodeName: string | undefined): boolean {
  if (before === undefined || !isLocal(before, nodeName)) return false;
  return after === undefined || !isLocal(after, nodeName) || workloadIdentity(after) !== workloadIdentity(before);
}

export interface LocalCertificatesOptions {
  readonly cache: CertificateCache;
  readonly mesh: MeshSource;
  /** NODE_NAME; without it nothing is fetched before it is asked for. */
  readonly nodeName: string | undefined;
  /** Shared mode: fetch before the first connection asks. */
  readonly prefetch: boolean;
}

export class LocalCertificates {
  readonly #options: LocalCertificatesOptions;

  constructor(options: LocalCertificatesOptions) {
    this.#options = options;
  }

  /** Another mesh altogether. */
  replaced(): void {
    this.#forgetUnused();
    for (const workload of this.#options.mesh.current.localWorkloads()) this.#prefetch(workload);
  }

  /** A part of a push is in force. */
  changed({ workloads }: MeshChange): void {
    const { nodeName } = this.#options;
    let left = false;
    for (const change of workloads) {
      if (leavesIdentity(change, nodeName)) left = true;
      if (change.after !== undefined && isLocal(change.after, nodeName)) this.#prefetch(change.after);
    }
    if (left) this.#forgetUnused();
  }

  #prefetch(workload: Workload): void {
    const { cache, nodeName, prefetch } = this.#options;
    if (!prefetch || nodeName === undefined) return;
    if (workload.nativeTunnel || workload.protocol === "HBONE") cache.prefetch(workloadIdentity(workload));
  }

  #forgetUnused(): void {
    const { cache, mesh } = this.#options;
    const unused = new Set(cache.snapshot().map(({ identity }) => identity));
    if (unused.size === 0) return;
    for (const workload of mesh.current.localWorkloads()) unused.delete(workloadIdentity(workload));
    for (const identity of unused) cache.forget(identity);
  }
}
