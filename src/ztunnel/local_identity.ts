import { type Workload, type WorkloadChange, workloadIdentity } from "../mesh/mod.ts";

/** Whether a workload is on our node; without a name of ours, all are. */
export function isLocal({ node }: Workload, nodeName: string | undefined): boolean {
  return nodeName === undefined || node === nodeName;
}

/**
 * Whether our node may need the certificate of one identity less after a change (spec/ztunnel.md §3.5): a workload went, is
 * somebody else by now, or is on another node, as a StatefulSet's pod that keeps its uid. The CA gives us none for those.
 */
export function leavesIdentity({ before, after }: WorkloadChange, nodeName: string | undefined): boolean {
  if (before === undefined || !isLocal(before, nodeName)) return false;
  return after === undefined || !isLocal(after, nodeName) || workloadIdentity(after) !== workloadIdentity(before);
}
