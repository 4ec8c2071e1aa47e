/** MetadataMatch as predicates of dynamic metadata (envoy.type.matcher.v3.MetadataMatcher). */
import type { MetadataMatch } from "../policy/rbac.ts";
import { octetsOf } from "./octets.ts";
import { compileStringMatch } from "./text.ts";

/** Dynamic metadata by filter. */
export type Metadata = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/**
 * Without any metadata nothing matches, not even inverted: what has not been verified proves nothing.
 * @throws MatchError
 */
export function compileMetadataMatch(match: MetadataMatch): (metadata: Metadata | undefined) => boolean {
  const { filter, path, invert } = match;
  const test = compileValue(match.match);
  return (metadata) => metadata !== undefined && test(valueAt(metadata.get(filter), path)) !== invert;
}

function compileValue(match: MetadataMatch["match"]): (value: unknown) => boolean {
  if (match.kind === "present") return (value) => value !== undefined && value !== null;
  const text = compileStringMatch(match.kind === "list-contains" ? match.value : match);
  const test = (value: unknown) => typeof value === "string" && text(octetsOf(value));
  return match.kind === "list-contains" ? (value) => Array.isArray(value) && value.some(test) : test;
}

function valueAt(from: unknown, path: readonly string[]): unknown {
  let value = from;
  for (const key of path) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}
