/**
 * PeerAuthentication as L4 policies, as istiod's ambient controller writes them (spec/ztunnel.md §8.5): STRICT is one static
 * DENY of connections without an identity, named by the workloads it holds for; ports that differ get a policy of their own.
 */
import { type ConvertedPolicies, type LabelledWorkload, selects } from "./converted.ts";
import type { MutualTlsMode, PeerAuthentication, PolicyProblem } from "./kubernetes.ts";
import { type Clause, newMatch, type Policy, policyKey, type Rule } from "./policy.ts";
import { BadValue, parsePort } from "./policy_values.ts";

const STATIC_STRICT = "istio_converted_static_strict";
const CONVERTED = "converted_peer_authentication_";
const NO_IDENTITY: Clause = [newMatch({ notPrincipals: [{ kind: "presence" }] })];

export interface PeerAuthenticationOptions {
  /** Objects in it hold for the mesh: `istio-system`. */
  readonly rootNamespace: string;
}

type Level = "mesh" | "namespace" | "workload";

function levelOf({ metadata, spec }: PeerAuthentication, rootNamespace: string): Level | undefined {
  const selecting = Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  if (!selecting) return metadata.namespace === rootNamespace ? "mesh" : "namespace";
  return metadata.namespace === rootNamespace ? undefined : "workload";
}

/** The older of two objects in conflict; of equally old ones the first. */
function older(left: PeerAuthentication | undefined, right: PeerAuthentication): PeerAuthentication {
  if (left === undefined) return right;
  const age = (policy: PeerAuthentication) => Date.parse(policy.metadata.creationTimestamp ?? "") || Infinity;
  return age(right) < age(left) ? right : left;
}

function modeOf(policy: PeerAuthentication | undefined): MutualTlsMode {
  return policy?.spec.mtls?.mode ?? "UNSET";
}

/** Whether identities are required, where mesh, namespace and workload say so in turn. */
function strict(...levels: readonly (PeerAuthentication | undefined)[]): boolean {
  let required = false;
  for (const level of levels) {
    const mode = modeOf(level);
    if (mode !== "UNSET") required = mode === "STRICT";
  }
  return required;
}

/** Rules for the ports that differ from the rest; undefined: none does. */
function portRules(policy: PeerAuthentication, required: boolean): Rule[] | undefined {
  const exceptions: number[] = [];
  for (const [text, { mode = "UNSET" }] of Object.entries(policy.spec.portLevelMtls ?? {})) {
    const port = parsePort(text);
    if (port instanceof BadValue || mode === "UNSET") continue;
    if ((mode === "STRICT") !== required) exceptions.push(port);
  }
  if (exceptions.length === 0) return undefined;
  if (required) return [[NO_IDENTITY, [newMatch({ notDestinationPorts: exceptions })]]];
  return exceptions.map((port) => [[newMatch({ notPrincipals: [{ kind: "presence" }], destinationPorts: [port] })]]);
}

function denying(namespace: string, name: string, rules: readonly Rule[]): Policy {
  return { namespace, name, scope: "WorkloadSelector", action: "Deny", rules, dryRun: false };
}

function problemsOf(policy: PeerAuthentication, level: Level | undefined): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const object = `PeerAuthentication ${policy.metadata.namespace}/${policy.metadata.name}`;
  const add = (kind: PolicyProblem["kind"], path: (string | number)[], message: string) =>
    problems.push({ kind, object, path, message });
  if (level === undefined) {
    add("warning", ["spec", "selector"], "a selector in the root namespace selects nothing: the object is ignored");
  }
  for (const port of Object.keys(policy.spec.portLevelMtls ?? {})) {
    const parsed = parsePort(port);
    if (parsed instanceof BadValue) add("invalid", ["spec", "portLevelMtls", port], parsed.message);
    else if (level !== "workload") add("warning", ["spec", "portLevelMtls", port], "ignored without a selector");
  }
  return problems;
}

/** DISABLE counts as PERMISSIVE: a ztunnel takes tunnels always. */
export function peerAuthenticationToPolicies(
  objects: readonly PeerAuthentication[],
  options: PeerAuthenticationOptions,
): ConvertedPolicies {
  const { rootNamespace } = options;
  let mesh: PeerAuthentication | undefined;
  const namespaces = new Map<string, PeerAuthentication>();
  const workloads = new Map<string, PeerAuthentication[]>();
  const problems: PolicyProblem[] = [];
  for (const object of objects) {
    const level = levelOf(object, rootNamespace);
    problems.push(...problemsOf(object, level));
    const { namespace } = object.metadata;
    if (level === "mesh") mesh = older(mesh, object);
    else if (level === "namespace") namespaces.set(namespace, older(namespaces.get(namespace), object));
    else if (level === "workload") workloads.set(namespace, [...workloads.get(namespace) ?? [], object]);
  }

  const policies: Policy[] = [];
  const converted = new Map<PeerAuthentication, Policy>();
  for (const [namespace, selecting] of workloads) {
    for (const object of selecting) {
      const rules = portRules(object, strict(mesh, namespaces.get(namespace), object));
      if (rules !== undefined) converted.set(object, denying(namespace, CONVERTED + object.metadata.name, rules));
    }
  }
  policies.push(...converted.values());
  const everywhere = denying(rootNamespace, STATIC_STRICT, [[NO_IDENTITY]]);
  if (objects.length > 0) policies.push(everywhere);

  const policiesOf = ({ namespace, labels }: LabelledWorkload): string[] => {
    let own: PeerAuthentication | undefined;
    for (const object of workloads.get(namespace) ?? []) {
      if (selects(object.spec.selector, labels)) own = older(own, object);
    }
    const special = own && converted.get(own);
    const required = strict(mesh, namespaces.get(namespace), own);
    // A required identity with exceptions for ports is all in the special policy: the static one would deny those as well.
    if (special !== undefined) return [policyKey(special)];
    return required ? [policyKey(everywhere)] : [];
  };
  return { policies, policiesOf, problems };
}
