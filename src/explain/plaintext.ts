/** A client that is not captured sends plain TCP: the mesh decides only where it arrives. */
import {
  type Choice,
  type MeshState,
  newWorkload,
  noEndpoint,
  reason,
  renderReason,
  resolvePlaintext,
  type RoutingSettings,
  selectAddress,
  selectPort,
  type Workload,
} from "../mesh/mod.ts";

import type { SocketAddress } from "../net/address.ts";
import { arrival, infoOf } from "./arrival.ts";
import type { ExplainedOutbound } from "./explanation.ts";
import type { Source } from "./question.ts";
import type { Course } from "./verdict.ts";

interface PlaintextContext {
  readonly mesh: MeshState;
  readonly routing: RoutingSettings;
  readonly choice: (source: Workload | undefined, destination: SocketAddress) => Choice;
}

/** Which workload plain TCP to an address reaches; nobody of the mesh, or, of a service, nobody at all and why. */
type Reached =
  | { readonly workload: Workload; readonly address: SocketAddress }
  | { readonly nobody: string | undefined };

export function plaintextCourse(context: PlaintextContext, source: Source, destination: SocketAddress): Course {
  const { mesh, routing } = context;
  const client = source.workload === undefined
    ? `${source.ip} is no workload of the mesh`
    : `workload ${source.workload.namespace}/${source.workload.name} is not captured`;
  const reasons = [`${client}, so it sends plain TCP`];
  const outbound: ExplainedOutbound = { action: "uncaptured", throughWaypoint: false, reasons };
  const reached = reach(context, source, destination, reasons);
  if ("nobody" in reached && reached.nobody !== undefined) {
    return { hops: [{ outbound }], elsewhere: `the mesh knows nobody who takes it: ${reached.nobody}` };
  }
  if ("nobody" in reached || reached.workload.protocol !== "HBONE") {
    return { hops: [{ outbound }], free: "the destination is not captured, so no policy of the mesh is asked" };
  }
  const { workload, address } = reached;
  const peer = { ip: source.ip, port: 0 };
  const decision = resolvePlaintext(
    mesh,
    { info: infoOf(workload), local: workload, peer, destination: address },
    routing,
  );
  return { hops: [{ outbound, inbound: arrival(mesh, workload, decision, undefined, source.ip) }] };
}

/** For a service any endpoint, as that choice is the node's. */
function reach(
  { mesh, routing: { network }, choice }: PlaintextContext,
  source: Source,
  destination: SocketAddress,
  reasons: string[],
): Reached {
  const owner = mesh.workloadByAddress(network, destination.ip);
  if (owner !== undefined) return { workload: owner, address: destination };
  const service = mesh.serviceByVip(network, destination.ip, source.workload?.namespace);
  if (service === undefined) return { nobody: undefined };
  reasons.push(renderReason(reason("destination-service", service)));
  const client = source.workload ?? newWorkload({ network, addresses: [source.ip] });
  const pool = mesh.endpointPool(service);
  const chosen = pool.choose(client, destination.port, choice(source.workload, destination));
  const port = chosen && selectPort(service, chosen.ports, chosen.workload, destination.port);
  const ip = chosen && selectAddress(chosen.workload, service, destination.ip);
  if (chosen === undefined || port === undefined || ip === undefined) {
    const nobody = renderReason(noEndpoint(service, destination.port));
    reasons.push(nobody);
    return { nobody };
  }
  reasons.push(renderReason(reason("endpoint-chosen", chosen.workload, pool.size)));
  return { workload: chosen.workload, address: { ip, port } };
}
