/** The endpoint, address and port at which a service or workload is reached. */
import { isIpv4 } from "../net/address.ts";
import type { Choice } from "./decision.ts";
import type { ResolutionMode } from "./load_balancing.ts";
import { type Reason, reason } from "./reason.ts";
import type { Resolution } from "./resolution.ts";
import type { IpFamilies, Service } from "./service.ts";
import { targetPortOf, type Workload } from "./workload.ts";

/** Where a connection goes, once a service has given one of its endpoints. */
export interface Upstream {
  readonly workload: Workload;
  /** undefined: it has none that may be used. */
  readonly ip: string | undefined;
  readonly port: number;
  /** The service that it was chosen from. */
  readonly service: Service | undefined;
  /** The address that was asked for; an address of its family is preferred. */
  readonly requested: string;
}

/** One endpoint of a service; undefined when none serves the port (spec/ztunnel.md §4.4). */
export function selectEndpoint(
  resolution: Resolution,
  service: Service,
  servicePort: number,
  requested: string,
  mode: ResolutionMode,
): Upstream | undefined {
  const { mesh, source, reasons } = resolution;
  const pool = mesh.endpointPool(service);
  const avoided = resolution.choice.avoid === undefined ? undefined : new Set<Workload>();
  const choice = avoided === undefined ? resolution.choice : noting(resolution.choice, avoided);
  const chosen = pool.choose(source, servicePort, choice, mode);
  const port = chosen && selectPort(service, chosen.ports, chosen.workload, servicePort);
  if (chosen === undefined || port === undefined) {
    reasons.push(noEndpoint(service, servicePort));
    return undefined;
  }
  const { workload } = chosen;
  reasons.push(reason("endpoint-chosen", workload, pool.size));
  avoided?.delete(workload); // all are avoided: then one of them is taken nevertheless
  if (avoided !== undefined && avoided.size > 0) {
    reasons.push(reason("passed-over", service, Array.from(avoided, ({ namespace, name }) => `${namespace}/${name}`)));
  }
  return { workload, ip: selectAddress(workload, service, requested), port, service, requested };
}

/** Why a service gives no endpoint: because it has no such port, or nobody who serves it. */
export function noEndpoint(service: Service, servicePort: number): Reason {
  const listed = targetPortOf(service.ports, servicePort) !== undefined;
  return reason(listed ? "no-endpoint" : "no-port", service, servicePort);
}

/** The same choice, which notes whom it passes over. */
function noting({ random, avoid }: Choice, avoided: Set<Workload>): Choice {
  return {
    random,
    avoid: (workload) => {
      if (avoid?.(workload) !== true) return false;
      avoided.add(workload);
      return true;
    },
  };
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
