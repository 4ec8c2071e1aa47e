/** What `/config_dump` shows of a waypoint. */
import { dumpWaypointConfig, type WaypointConfig } from "../config/mod.ts";
import type { CertificateCache } from "../identity/mod.ts";
import type { MeshState } from "../mesh/mod.ts";
import { dumpCertificates, dumpMesh } from "../process/mod.ts";
import type { WaypointPlane } from "./plane.ts";

/** Settings, mesh, snapshot as it serves, hosts of clusters with their state, certificates (never keys). */
export function dumpWaypoint(
  config: WaypointConfig,
  mesh: MeshState,
  certificates: CertificateCache,
  plane: WaypointPlane | undefined,
): Record<string, unknown> {
  const snapshot = plane?.configuration?.snapshot;
  return {
    ...dumpMesh(mesh),
    config: dumpWaypointConfig(config),
    certificates: dumpCertificates(certificates),
    identity: plane?.identity,
    gateway: snapshot?.gateway,
    matcher: snapshot?.matcher,
    chains: snapshot === undefined ? undefined : withoutKeys(snapshot.chains),
    clusters: snapshot === undefined ? undefined : withoutKeys(snapshot.clusters),
    hosts: plane === undefined ? [] : hostsOf(plane),
  };
}

/** The same without private keys of upstream TLS. */
function withoutKeys(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, inner) => key === "keyPem" ? "<redacted>" : inner));
}

function* hostsOf(plane: WaypointPlane): Generator<Record<string, unknown>> {
  for (const balanced of plane.clusters.values()) {
    const { name } = balanced.cluster;
    for (const host of balanced.hosts()) {
      const { endpoint, priority, activeRequests } = host;
      yield {
        cluster: name,
        address: endpoint.address,
        kind: endpoint.kind,
        health: endpoint.health,
        weight: endpoint.weight,
        priority,
        activeRequests,
      };
    }
  }
}
