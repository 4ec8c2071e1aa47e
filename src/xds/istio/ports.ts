/** istio.workload.Port and PortList as what becomes a PortMap: flat pairs of service and target port. */
import type { FieldReader } from "../wire.ts";
import { toPort } from "./gateway.ts";

interface PortDraft {
  service: number;
  target: number;
}

function readPort(reader: FieldReader, field: number, into: PortDraft): boolean {
  if (field === 1) into.service = toPort(reader.uint32("service_port"));
  else if (field === 2) into.target = toPort(reader.uint32("target_port"));
  else return false; // the protocol of the application is the waypoint's business
  return true;
}

/** Numbers in a list of pairs up to which it is searched from end to end. */
const FEW = 128;
/** Of longer lists: service port → where its pair is. A message may have all 65 536. */
const places = new WeakMap<readonly number[], Map<number, number>>();

/** Where the pair of a service port is; −1: there is none yet. */
function placeOf(service: number, pairs: readonly number[]): number {
  if (pairs.length > FEW) return indexOf(pairs).get(service) ?? -1;
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === service) return i;
  return -1;
}

function indexOf(pairs: readonly number[]): Map<number, number> {
  let index = places.get(pairs);
  if (index === undefined) {
    places.set(pairs, index = new Map());
    for (let i = 0; i < pairs.length; i += 2) index.set(pairs[i]!, i);
  }
  return index;
}

/** Reads one Port into the pairs; a service port that is there already (53 of UDP and of TCP) gets the later target. */
export function readPortInto(reader: FieldReader, pairs: number[]): void {
  const port = { service: 0, target: 0 };
  reader.message("ports", readPort, port);
  const place = placeOf(port.service, pairs);
  if (place >= 0) {
    pairs[place + 1] = port.target;
    return;
  }
  if (pairs.length > FEW) indexOf(pairs).set(port.service, pairs.length);
  pairs.push(port.service, port.target);
}

export function readPortList(reader: FieldReader, field: number, pairs: number[]): boolean {
  if (field !== 1) return false;
  readPortInto(reader, pairs);
  return true;
}
