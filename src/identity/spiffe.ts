/** A workload's identity: the parts of `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** SPIFFE-ID §2.3: an id is at most 2048 bytes long. */
const MAX_ID_LENGTH = 2048;

/**
 * Letters, digits, dot, dash and underscore, as SPIFFE-ID §2.1 and §2.2 allow in a trust domain and in a path segment.
 * Upper case in the trust domain is let through because Istio does not forbid it; ids are compared byte by byte.
 */
const SPIFFE_ID = /^spiffe:\/\/([A-Za-z0-9._-]+)\/ns\/([A-Za-z0-9._-]+)\/sa\/([A-Za-z0-9._-]+)$/;

export function formatIdentity(id: Identity): string {
  return `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;
}

/**
 * Reads a SPIFFE id of the form that Istio gives to workloads; undefined for anything else, other SPIFFE paths
 * included. What is accepted contains no separator, quote, white space or control character.
 */
export function parseIdentity(uri: string): Identity | undefined {
  if (uri.length > MAX_ID_LENGTH) return undefined;
  const match = SPIFFE_ID.exec(uri);
  if (match === null) return undefined;
  const [, trustDomain, namespace, serviceAccount] = match;
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) return undefined;
  if (isDotSegment(trustDomain) || isDotSegment(namespace) || isDotSegment(serviceAccount)) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

/** SPIFFE-ID §2.2 forbids relative path segments. */
function isDotSegment(segment: string): boolean {
  return segment === "." || segment === "..";
}

/** Longest piece of an unusable identity that is shown; characters. */
const MAX_SHOWN = 256;

/** A text that may be no identity at all, for a log or an error: as it is if it is plain, else quoted and cut. */
export function quoteIdentity(text: string): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return /^[\x21-\x7e]+$/.test(text) ? shown : JSON.stringify(shown);
}
