import { formatAddress } from "../net/address.ts";
import type { Connection } from "./connection.ts";
import type { Json } from "../process/mod.ts";
import type { Pod } from "./pods.ts";

function connections(list: readonly Connection[]): Json {
  return list.map((connection) => {
    const { src, originalDst, actualDst, protocol } = connection.summary();
    return { src: formatAddress(src), originalDst, actualDst: formatAddress(actualDst), protocol };
  });
}

/** `workloadState` of the configuration dump: the pods by uid with their connections (spec/ztunnel.md §11.2). */
export function dumpWorkloadState(pods: readonly Pod[]): Json {
  const dump: { [uid: string]: Json } = {};
  for (const { uid, info, proxy } of pods) {
    const { tracker } = proxy.context;
    dump[uid] = {
      state: "Up",
      info: { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount },
      connections: {
        inbound: connections(tracker.list("inbound")),
        outbound: connections(tracker.list("outbound")),
      },
    };
  }
  return dump;
}
