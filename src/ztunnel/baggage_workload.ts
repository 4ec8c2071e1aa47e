import type { Baggage } from "../hbone/mod.ts";
import type { BaggageWorkload } from "../telemetry/mod.ts";

/** What a peer's baggage says of it, as telemetry takes it. */
export function baggageWorkload(baggage: Baggage): BaggageWorkload {
  const known: { -readonly [K in keyof BaggageWorkload]: string } = {};
  if (baggage.workloadName !== undefined) known.workloadName = baggage.workloadName;
  if (baggage.namespace !== undefined) known.namespace = baggage.namespace;
  if (baggage.serviceName !== undefined) known.canonicalName = baggage.serviceName;
  if (baggage.revision !== undefined) known.canonicalRevision = baggage.revision;
  if (baggage.clusterId !== undefined) known.clusterId = baggage.clusterId;
  if (baggage.region !== undefined) known.region = baggage.region;
  if (baggage.zone !== undefined) known.zone = baggage.zone;
  return known;
}
