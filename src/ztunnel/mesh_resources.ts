/** What istiod sends to a ztunnel, put into the mesh: the types of its stream (spec/ztunnel.md §3.2, §3.3). */
import type { MeshChange, MeshUpdate, Service, WorkloadUpdate } from "../mesh/mod.ts";
import { serviceKey } from "../mesh/service.ts";
import { newMatch, type Policy, policyKey } from "../policy/mod.ts";
import { collectSoon } from "../process/mod.ts";
import type { LogScope } from "../telemetry/mod.ts";
import {
  ADDRESS_TYPE,
  type AdsPart,
  AUTHORIZATION_TYPE,
  decodeAddress,
  decodeAuthorization,
  type RefusedResource,
  type ResourceType,
  shortName,
  shortText,
} from "../xds/mod.ts";

/** Whose mesh it is. */
export interface MeshOwner {
  apply(update: MeshUpdate): MeshChange;
  /** Whether a policy of this key `namespace/name` is in force. */
  hasPolicy(key: string): boolean;
}

/** Names of a push that are told one by one. */
const MAX_TOLD = 20;

/** A push of so many addresses leaves much behind that is garbage: itself, and the records that it replaced. */
const LARGE_PUSH = 10_000;

/** Workloads and services. */
export function addressType(owner: MeshOwner, log: LogScope, onDemand: boolean): ResourceType {
  /** Addresses of this push until now, and its removals that nobody had. */
  let taken = 0;
  let unknown = 0;
  /** Resources that are not named by the key of their record, as they should be: names → keys, by which removals find them. */
  const renamed = new Map<string, string>();
  return {
    typeUrl: ADDRESS_TYPE,
    subscription: onDemand ? "on-demand" : "wildcard",
    expected: !onDemand,
    apply({ resources, removed, last }: AdsPart): readonly RefusedResource[] {
      const workloads: WorkloadUpdate[] = [];
      const services: Service[] = [];
      const refused: RefusedResource[] = [];
      const gone: string[] = [];
      const named = (name: string, key: string) => {
        const before = renamed.get(name);
        if (before !== undefined && before !== key) gone.push(before);
        if (name !== key) renamed.set(name, key);
        else if (before !== undefined) renamed.delete(name);
      };
      for (const { name, value } of resources) {
        const result = decodeAddress(value);
        if (!result.ok) {
          refused.push({ name, error: result.error });
          continue;
        }
        const { address } = result;
        if (address.kind === "workload") {
          workloads.push(address.update);
          named(name, address.update.workload.uid);
        } else {
          services.push(address.service);
          named(name, serviceKey(address.service));
        }
      }
      for (const name of removed) {
        gone.push(renamed.get(name) ?? name);
        renamed.delete(name);
      }
      const change = owner.apply({ workloads, services, removed: gone });
      taken += resources.length + removed.length;
      if (last) {
        if (taken >= LARGE_PUSH) collectSoon();
        taken = 0;
      }
      // On demand the answer to a name that nobody has is its removal.
      if (onDemand) return refused;
      for (const name of change.unknownRemovals) {
        if (++unknown <= MAX_TOLD) log.warn("tried to remove an unknown address", [["name", shortName(name)]]);
      }
      if (!last) return refused;
      if (unknown > MAX_TOLD) log.warn("tried to remove more unknown addresses", [["addresses", unknown - MAX_TOLD]]);
      unknown = 0;
      return refused;
    },
  };
}

/** Authorization policies. */
export function authorizationType(owner: MeshOwner, log: LogScope): ResourceType {
  /** Policies that we could not read and had no good version of: everything they select is denied. */
  const standIns = new Map<string, "old" | "told">();
  return {
    typeUrl: AUTHORIZATION_TYPE,
    subscription: "wildcard",
    expected: true,
    standsIn: true,
    apply({ resources, unreadable = [], removed, first, last }: AdsPart): readonly RefusedResource[] {
      // A new stream tells everything that we do not claim to know: a stand-in that it does not mention is gone.
      if (first) { for (const key of standIns.keys()) standIns.set(key, "old"); }
      const policies: Policy[] = [];
      const refused: RefusedResource[] = [];
      const gone = [...removed];
      const standIn = (name: string, error: string, scope: Policy["scope"], dryRun = false) => {
        const policy = ["policy", shortName(name)] as const;
        const why = ["error", shortText(error)] as const;
        const slash = name.indexOf("/");
        if (slash < 0) {
          log.error("policy refused, its name is not namespace/name: nothing stands for it", [policy, why]);
          return false;
        }
        if (owner.hasPolicy(name) && !standIns.has(name)) {
          log.error("policy refused, its last good version stays", [policy, why]);
          return true;
        }
        // It was to deny nobody.
        if (dryRun) {
          log.error("policy refused, its dry run is not made", [policy, why]);
          if (standIns.delete(name)) gone.push(name);
          return true;
        }
        if (!standIns.has(name)) {
          log.error("policy refused, all that it selects is denied", [policy, ["scope", scope], why]);
        }
        standIns.set(name, "told");
        policies.push(denial(name.slice(0, slash), name.slice(slash + 1), scope));
        return true;
      };
      const refuse = (name: string, error: string, scope: Policy["scope"], dryRun = false) => {
        refused.push(standIn(name, error, scope, dryRun) ? { name, error } : { name, error, open: true });
      };
      // One that is there twice, and readable once, is what could be read.
      for (const { name, error } of unreadable) {
        if (!standIn(name, error, "WorkloadSelector")) refused.push({ name, error, open: true });
      }
      for (const { name, value } of resources) {
        const result = decodeAuthorization(value);
        if (!result.ok) {
          refuse(name, result.error, result.scope ?? "WorkloadSelector", result.dryRun);
          continue;
        }
        const { policy } = result;
        const key = policyKey(policy);
        if (key === name) {
          standIns.delete(key);
          policies.push(policy);
          continue;
        }
        // By its name it is asked for and taken back (spec/ztunnel.md §8.3): under another it could never go.
        const nameless = policy.name === "";
        const error = nameless ? "it holds no policy: its name is empty" : `it holds the policy ${shortName(key)}`;
        refuse(name, error, nameless ? "WorkloadSelector" : policy.scope, policy.dryRun);
      }
      for (const key of removed) standIns.delete(key);
      if (last) {
        for (const [key, state] of standIns) {
          if (state !== "old") continue;
          standIns.delete(key);
          gone.push(key);
        }
      }
      const { rejectedPolicies } = owner.apply({ policies, removedPolicies: gone });
      if (rejectedPolicies.length === 0) return refused;
      const scopes = new Map(policies.map((policy) => [policyKey(policy), policy.scope]));
      policies.length = 0;
      for (const { policy, error } of rejectedPolicies) refuse(policy, error, scopes.get(policy) ?? "WorkloadSelector");
      owner.apply({ policies });
      return refused;
    },
  };
}

/** Stands for a policy that says something we cannot read: nobody gets in. */
function denial(namespace: string, name: string, scope: Policy["scope"]): Policy {
  const everyone = newMatch({ sourceIps: ["0.0.0.0/0", "::/0"] });
  return { namespace, name, scope, action: "Deny", rules: [[[everyone]]], dryRun: false };
}
