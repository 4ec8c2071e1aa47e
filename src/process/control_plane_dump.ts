import type { RevocationStatus } from "../tls/mod.ts";
import type { AdsStatus, AdsTypeStatus } from "../xds/mod.ts";

/** RFC 3339 with milliseconds; absent without a time. */
function moment(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function typeDump({ typeUrl, resources, lastPush, refused }: AdsTypeStatus): Record<string, unknown> {
  return {
    typeUrl,
    resources,
    lastPush: moment(lastPush),
    refused: refused && { at: moment(refused.at), error: refused.error },
  };
}

/**
 * How it stands with the control plane (`/debug/controlplane`): the stream, what is in force of it and what was refused,
 * and the revocation lists. What there is none of is absent.
 */
export function dumpControlPlane(
  discovery: AdsStatus | undefined,
  revocation: RevocationStatus | undefined,
): Record<string, unknown> {
  return {
    discovery: discovery && {
      ...discovery,
      since: moment(discovery.since),
      nextTry: moment(discovery.nextTry),
      types: discovery.types.map(typeDump),
    },
    revocation: revocation && { ...revocation, loaded: moment(revocation.loaded) },
  };
}
