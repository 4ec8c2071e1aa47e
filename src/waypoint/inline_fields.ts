/**
 * Fields that Envoy keeps as one value: several of a name become one, joined by commas, before anything looks at them.
 * Which ones these are is not by a rule of HTTP but by a list of Envoy; others stay as they came.
 */
import type { HeaderList } from "../http2/mod.ts";

const REQUEST = [
  ...["accept", "accept-encoding", "access-control-request-headers", "access-control-request-method"],
  ...["access-control-request-private-network", "authorization", "cache-control", "content-encoding", "content-type"],
  ...["expect", "grpc-accept-encoding", "grpc-timeout", "if-match", "if-modified-since", "if-none-match", "if-range"],
  ...["if-unmodified-since", "origin", "pragma", "proxy-status", "referer", "user-agent", "via"],
  ...["x-client-trace-id", "x-envoy-attempt-count", "x-envoy-decorator-operation", "x-envoy-external-address"],
  ...["x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node", "x-envoy-original-host"],
  ...["x-envoy-original-path", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"],
  "x-request-id",
];

const RESPONSE = [
  ...["access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods"],
  ...["access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "age"],
  ...["cache-control", "content-encoding", "content-type", "date", "etag", "expires", "grpc-message", "grpc-status"],
  ...["last-modified", "location", "proxy-status", "vary", "via", "x-envoy-attempt-count"],
  ...["x-envoy-decorator-operation", "x-envoy-degraded", "x-envoy-immediate-health-check-fail"],
  ...["x-envoy-ratelimited", "x-envoy-upstream-canary", "x-envoy-upstream-healthchecked-cluster", "x-request-id"],
];

/** Numbers names, so that the ones that were seen fit into the bits of two integers. */
function numbered(names: readonly string[]): ReadonlyMap<string, number> {
  if (names.length > 62) throw new Error("more names than bits");
  return new Map(names.map((name, index) => [name, index]));
}

const REQUEST_NAMES = numbered(REQUEST);
const RESPONSE_NAMES = numbered(RESPONSE);

export function joinRequestFields(fields: HeaderList): void {
  if (repeats(fields, REQUEST_NAMES)) join(fields, REQUEST_NAMES);
}

export function joinResponseFields(fields: HeaderList): void {
  if (repeats(fields, RESPONSE_NAMES)) join(fields, RESPONSE_NAMES);
}

/** Almost always nothing is to be done. */
function repeats(fields: HeaderList, names: ReadonlyMap<string, number>): boolean {
  let low = 0;
  let high = 0;
  for (let i = 0; i < fields.length; i++) {
    const number = names.get(fields[i]![0]);
    if (number === undefined) continue;
    if (number < 31) {
      const bit = 1 << number;
      if ((low & bit) !== 0) return true;
      low |= bit;
    } else {
      const bit = 1 << (number - 31);
      if ((high & bit) !== 0) return true;
      high |= bit;
    }
  }
  return false;
}

/** At the place of the first. */
function join(fields: HeaderList, names: ReadonlyMap<string, number>): void {
  const places = new Map<string, number>();
  let kept = 0;
  for (const field of fields) {
    const [name, value] = field;
    const place = names.has(name) ? places.get(name) : undefined;
    if (place !== undefined) {
      fields[place] = [name, `${fields[place]![1]},${value}`];
      continue;
    }
    places.set(name, kept);
    fields[kept++] = field;
  }
  fields.length = kept;
}
