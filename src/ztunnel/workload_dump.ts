import { formatAddress } from "../net/address.ts";
import type { Connection } from "./connection.ts";
import type { Json } from "../process/mod.ts";
import type { WorkloadInfo } from "../mesh/mod.ts";
import type { Pod } from "./pods.ts";
import type { PendingWorkload } from "./zds/mod.ts";

/** Made while it is written: there may be very many. */
function* connections(list: readonly Connection[]): Generator<Json, void> {
  for (const connection of list) {
    const { src, originalDst, actualDst, protocol } = connection.summary();
    yield { src: formatAddress(src), originalDst, actualDst: formatAddress(actualDst), protocol };
  }
}

function infoDump({ name, namespace, serviceAccount }: WorkloadInfo): Json {
  return { name, namespace, serviceAccount };
}

/** `workloadState` of the configuration dump: the pods by uid with their connections (spec/ztunnel.md §11.2). */
export function dumpWorkloadState(pods: readonly Pod[], pending: Iterable<[uid: string, pod: PendingWorkload]>): Json {
  const dump: { [uid: string]: Json } = {};
  for (const [uid, { workload }] of pending) dump[uid] = { state: "Pending", info: infoDump(workload.info) };
  for (const { uid, info, proxy } of pods) {
    const { tracker } = proxy.context;
    dump[uid] = {
      state: "Up",
      info: infoDump(info),
      connections: {
        inbound: connections(tracker.list("inbound")),
        outbound: connections(tracker.list("outbound")),
      },
    };
  }
  return dump;
}
