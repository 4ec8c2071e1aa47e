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

/** Reads one Port into the pairs; a service port that is there already (53 of UDP and of TCP) gets the later target. */
export function readPortInto(reader: FieldReader, pairs: number[]): void {
  const port = { service: 0, target: 0 };
  reader.message("ports", readPort, port);
  for (let i = 0; i < pairs.length; i += 2) {
    if (pairs[i] !== port.service) continue;
    pairs[i + 1] = port.target;
    return;
  }
  pairs.push(port.service, port.target);
}

export function readPortList(reader: FieldReader, field: number, pairs: number[]): boolean {
  if (field !== 1) return false;
  readPortInto(reader, pairs);
  return true;
}
