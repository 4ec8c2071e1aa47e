/** The address and port at which a chosen workload is reached. */
import { isIpv4 } from "../net/address.ts";
import type { IpFamilies, Service } from "./service.ts";
import { targetPortOf, type Workload } from "./workload.ts";

/** Where a connection goes, once a service has given one of its endpoints. */
export interface Upstream {
  readonly workload: Workload;
  readonly ip: string | undefined;
  readonly port: number;
  readonly service: Service | undefined;
}

function familyAllowed(families: IpFamilies | undefined, ip: string): boolean {
  if (families === "IPv4") return isIpv4(ip);
  if (families === "IPv6") return !isIpv4(ip);
  return true;
}

/**
 * Which of a workload's addresses to dial for a request to `requested`: that very address if it has it, else one that
 * the service allows, of the same family if there is one. undefined when it has none.
 */
export function selectAddress(workload: Workload, service: Service | undefined, requested: string): string | undefined {
  const addresses = workload.addresses;
  if (addresses.includes(requested)) return requested;
  const families = service?.ipFamilies;
  const v4 = isIpv4(requested);
  let first: string | undefined;
  for (const ip of addresses) {
    if (!familyAllowed(families, ip)) continue;
    if (isIpv4(ip) === v4) return ip;
    first ??= ip;
  }
  return first;
}

/**
 * The port of an endpoint for a service port: its own mapping, else the service's, else, where an application tunnel
 * takes everything in, the service port itself. undefined when there is none.
 */
export function selectPort(
  service: Service,
  endpointPorts: readonly number[],
  workload: Workload,
  servicePort: number,
): number | undefined {
  const own = targetPortOf(endpointPorts, servicePort);
  if (own !== undefined && own > 0) return own;
  const shared = targetPortOf(service.ports, servicePort);
  if (shared !== undefined && shared > 0) return shared;
  return workload.applicationTunnel?.port === undefined ? undefined : servicePort;
}

/** `Workload{NAME with uid UID (PROTO)}`, as error texts name a workload. */
export function describeWorkload(workload: Workload): string {
  return `Workload{${workload.name} with uid ${workload.uid} (${workload.protocol})}`;
}
