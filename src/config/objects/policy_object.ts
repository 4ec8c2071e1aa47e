import type { LocalObject } from "./mod.ts";

/** An object of security.istio.io as policy/kubernetes.ts has it. */
export function asPolicyObject<K extends "AuthorizationPolicy" | "PeerAuthentication">(object: LocalObject<K>) {
  const { namespace, name, annotations, created, spec } = object;
  const creationTimestamp = created === Infinity ? undefined : new Date(created).toISOString();
  return { metadata: { namespace, name, annotations, creationTimestamp }, spec };
}
