/** Connections into other networks: through the network gateway of the workload there, in two tunnels (§5 step 7). */
import { parseIdentity } from "../identity/spiffe.ts";
import type { OutboundDecision } from "./decision.ts";
import type { Upstream } from "./destination.ts";
import { NO_INSTANCE, selectInstance } from "./gateway_reference.ts";
import { reason } from "./reason.ts";
import { noDestination, reference, refuse, type Resolution, withAddress } from "./resolution.ts";
import type { Service } from "./service.ts";
import { formatGateway } from "./workload.ts";

/**
 * To a workload or waypoint of another network. The outer tunnel ends at the gateway, the inner one at whoever the
 * gateway chooses; both ask for the service by name, as addresses mean nothing across networks.
 *
 * @param service the one that was addressed
 * @param remote an endpoint of it, or of its waypoint
 */
export function throughGateway(resolution: Resolution, service: Service, remote: Upstream): OutboundDecision {
  const { mesh, source, destination, reasons } = resolution;
  const { workload } = remote;
  const gateway = workload.networkGateway;
  if (gateway === undefined) return noDestination(resolution, workload, reason("no-gateway", workload));
  reasons.push(reason("network-gateway", workload, gateway));

  const outer = selectInstance(resolution, gateway, "Standard");
  if (typeof outer === "string") {
    reasons.push(reason("unknown-gateway", gateway, NO_INSTANCE[outer]));
    const to = formatGateway(gateway.destination);
    const detail = outer === "no-instance" ? `${to} has no workload that serves port ${gateway.hboneMtlsPort}` : to;
    return refuse(source, `unknown network gateway: ${detail}`, reasons);
  }

  const identities = serviceIdentities(remote.service);
  reasons.push(
    identities.length > 0
      ? reason("inner-identities", remote.service, identities)
      : reason("no-inner-identity", remote.service ?? workload),
  );
  const authority = `${service.hostname}:${destination.port}`;
  return withAddress(resolution, outer, (ip, reasons) => ({
    action: "hbone",
    dial: { ip, port: outer.port },
    authority,
    expectedIdentities: mesh.expectedIdentities(outer.workload, outer.service),
    source,
    workload,
    hop: outer.workload,
    service: reference(service),
    inner: { authority, expectedIdentities: identities },
    reasons,
  }));
}

const NOBODY: readonly string[] = [];
/** Records never change, so what is read from one stays true as long as it lives. */
const identitiesOf = new WeakMap<Service, readonly string[]>();

/**
 * SPIFFE ids that a service names. Whom the gateway chooses is not known here, so the chosen endpoint's own identity is
 * no help: only these count, and without any the inner tunnel always fails.
 */
function serviceIdentities(service: Service | undefined): readonly string[] {
  if (service === undefined || service.subjectAltNames.length === 0) return NOBODY;
  let identities = identitiesOf.get(service);
  if (identities === undefined) {
    identities = service.subjectAltNames.filter((name) => parseIdentity(name) !== undefined);
    identitiesOf.set(service, identities);
  }
  return identities;
}
