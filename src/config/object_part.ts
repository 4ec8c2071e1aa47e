/** Whom an object concerns: the ztunnels, which must not go on without it, or the waypoints alone. */
import type { DocumentError, DocumentWarning } from "./local_document.ts";

const L4_KINDS: ReadonlySet<unknown> = new Set(["AuthorizationPolicy", "PeerAuthentication"]);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Whether an object, valid or not, is of no concern for ztunnels: anything but PeerAuthentication and policies without
 * targets. What cannot be told may be one of these: a slip in the name of its kind must not lose a policy.
 */
export function isForWaypointsOnly({ apiVersion, kind, spec }: Readonly<Record<string, unknown>>): boolean {
  if (typeof apiVersion !== "string" || typeof kind !== "string" || kind === "") return false;
  const security = apiVersion.startsWith("security.istio.io/") && kind !== "RequestAuthentication";
  if (!security && !L4_KINDS.has(kind)) return true;
  if (kind === "PeerAuthentication" || !isRecord(spec) || spec["selector"] !== undefined) return false;
  return isRecord(spec["targetRef"]) || Array.isArray(spec["targetRefs"]) && spec["targetRefs"].length > 0;
}

/** What is wrong with an object for waypoints, told by a ztunnel: the rest of the state is good for it. */
export function forWaypointsOnly(error: DocumentError): DocumentWarning {
  return { ...error, message: `${error.message} (the waypoint's part: a waypoint refuses it)` };
}
