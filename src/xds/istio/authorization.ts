/**
 * istio.security.Authorization (spec/ztunnel.md §8.1). Where ztunnel leaves out an address, a text match or bits of a port
 * that it cannot read, and so may match more than was meant, this refuses the policy by name.
 */
import {
  type Clause,
  type Match,
  newMatch,
  type Policy,
  policyKey,
  type PolicyScope,
  type Rule,
  type ServiceAccountMatch,
  type StringMatch,
} from "../../policy/policy.ts";
import { shortName } from "../shortened.ts";
import { TextCache } from "../text_cache.ts";
import { BadField, FieldReader, within } from "../wire.ts";
import { rangeOf } from "./cidr.ts";
import { POLICY_ACTIONS, POLICY_SCOPES, wordOf } from "./enums.ts";

export const AUTHORIZATION_TYPE = "type.googleapis.com/istio.security.Authorization";

export type AuthorizationResult =
  | { readonly ok: true; readonly policy: Policy }
  | {
    readonly ok: false;
    /** Says which policy and which field, e.g. `policy shop/a: rules[0][1][0].source_ips[2]: 5 bytes, but …`. */
    readonly error: string;
    /** Whom it is for, where that much could be read. */
    readonly scope?: PolicyScope;
    /** That much could be read: it was to be tried only. */
    readonly dryRun?: true;
  };

class PolicyDraft {
  name = "";
  namespace = "";
  scope = 0;
  action = 0;
  rules: Rule[] = [];
  dryRun = false;
}

function readPolicy(reader: FieldReader, field: number, into: PolicyDraft): boolean {
  switch (field) {
    case 1:
      into.name = reader.text("name");
      return true;
    case 2:
      into.namespace = reader.sharedText("namespace");
      return true;
    case 3:
      into.scope = reader.enumeration("scope");
      return true;
    case 4:
      into.action = reader.enumeration("action");
      return true;
    case 5: {
      const rule: Clause[] = [];
      reader.message(`rules[${into.rules.length}]`, readRule, rule);
      into.rules.push(rule);
      return true;
    }
    case 6:
      into.dryRun = reader.bool("dry_run");
      return true;
    default:
      return false;
  }
}

function readRule(reader: FieldReader, field: number, into: Clause[]): boolean {
  if (field !== 1) return false;
  const clause: Match[] = [];
  reader.message(`[${into.length}]`, readClause, clause);
  into.push(clause);
  return true;
}

/** Of a Match that names nothing, which is true of nothing. */
const NOTHING = newMatch({});

function readClause(reader: FieldReader, field: number, into: Match[]): boolean {
  if (field !== 2) return false;
  const draft: MatchDraft = {};
  reader.message(`[${into.length}]`, readMatch, draft);
  let empty = true;
  for (const _ in draft) empty = false;
  into.push(empty ? NOTHING : newMatch(draft));
  return true;
}

type MatchDraft = { -readonly [K in keyof Match]?: Match[K][number][] };

function readMatch(reader: FieldReader, field: number, into: MatchDraft): boolean {
  switch (field) {
    case 1:
      readText(reader, "namespaces", into.namespaces ??= []);
      return true;
    case 2:
      readText(reader, "not_namespaces", into.notNamespaces ??= []);
      return true;
    case 3:
      readText(reader, "principals", into.principals ??= []);
      return true;
    case 4:
      readText(reader, "not_principals", into.notPrincipals ??= []);
      return true;
    case 5:
      readRange(reader, "source_ips", into.sourceIps ??= []);
      return true;
    case 6:
      readRange(reader, "not_source_ips", into.notSourceIps ??= []);
      return true;
    case 7:
      readRange(reader, "destination_ips", into.destinationIps ??= []);
      return true;
    case 8:
      readRange(reader, "not_destination_ips", into.notDestinationIps ??= []);
      return true;
    case 9:
      readPorts(reader, "destination_ports", into.destinationPorts ??= []);
      return true;
    case 10:
      readPorts(reader, "not_destination_ports", into.notDestinationPorts ??= []);
      return true;
    case 11:
      readAccount(reader, "service_accounts", into.serviceAccounts ??= []);
      return true;
    case 12:
      readAccount(reader, "not_service_accounts", into.notServiceAccounts ??= []);
      return true;
    default:
      return false;
  }
}

/** Of the oneof the member that came last. */
interface TextDraft {
  match: StringMatch | undefined;
}

function readText(reader: FieldReader, name: string, into: StringMatch[]): void {
  const draft: TextDraft = { match: undefined };
  const path = `${name}[${into.length}]`;
  reader.message(path, readStringMatch, draft);
  if (draft.match === undefined) throw new BadField(path, "none of exact, prefix, suffix and presence");
  into.push(draft.match);
}

const PRESENCE: StringMatch = { kind: "presence" };

function readStringMatch(reader: FieldReader, field: number, into: TextDraft): boolean {
  if (field === 1) into.match = { kind: "exact", value: reader.sharedText("exact") };
  else if (field === 2) into.match = { kind: "prefix", value: reader.sharedText("prefix") };
  else if (field === 3) into.match = { kind: "suffix", value: reader.sharedText("suffix") };
  else if (field === 4) {
    reader.message("presence", readNothing, undefined);
    into.match = PRESENCE;
  } else return false;
  return true;
}

function readNothing(): boolean {
  return false;
}

interface RangeDraft {
  bytes: Uint8Array | undefined;
  /** Bits of the prefix; absent is 0, as the field has no presence: all addresses of the family. */
  length: number;
}

function readRange(reader: FieldReader, name: string, into: string[]): void {
  const draft: RangeDraft = { bytes: undefined, length: 0 };
  const path = `${name}[${into.length}]`;
  reader.message(path, readAddress, draft);
  into.push(rangeOf(draft.bytes, draft.length, path));
}

function readAddress(reader: FieldReader, field: number, into: RangeDraft): boolean {
  if (field === 1) into.bytes = reader.view("address");
  else if (field === 2) into.length = reader.uint32("length");
  else return false;
  return true;
}

function readPorts(reader: FieldReader, name: string, into: number[]): void {
  const before = into.length;
  reader.numbers(name, into);
  for (let i = before; i < into.length; i++) {
    if (into[i]! > 65535) throw new BadField(`${name}[${i}]`, `not a port: ${into[i]}`);
  }
}

function readAccount(reader: FieldReader, name: string, into: ServiceAccountMatch[]): void {
  const draft = { namespace: "", serviceAccount: "" };
  reader.message(`${name}[${into.length}]`, readServiceAccount, draft);
  into.push(draft);
}

function readServiceAccount(
  reader: FieldReader,
  field: number,
  into: { namespace: string; serviceAccount: string },
): boolean {
  if (field === 1) into.namespace = reader.sharedText("namespace");
  else if (field === 2) into.serviceAccount = reader.sharedText("service_account");
  else return false;
  return true;
}

const texts = new TextCache();

/**
 * Reads one Authorization. The policy keeps nothing of `bytes`. Bytes that are none, and a policy that cannot be
 * enforced as it was meant, give an error; nothing is thrown.
 */
export function decodeAuthorization(bytes: Uint8Array): AuthorizationResult {
  const draft = new PolicyDraft();
  try {
    new FieldReader(bytes, texts).fields(readPolicy, draft);
    const { name, namespace, rules, dryRun } = draft;
    const scope = wordOf(POLICY_SCOPES, draft.scope, "scope");
    const action = wordOf(POLICY_ACTIONS, draft.action, "action");
    return { ok: true, policy: { namespace, name, scope, action, rules, dryRun } };
  } catch (error) {
    const refused = { ok: false, error: `${nameOf(draft)}: ${within("", error).text}` } as const;
    // The scope comes before all that is likely to be wrong, and Global is not written.
    const scope = draft.name === "" ? undefined : POLICY_SCOPES[draft.scope];
    const dryRun = isDryRun(bytes) ? { dryRun: true } as const : {};
    return scope === undefined ? { ...refused, ...dryRun } : { ...refused, scope, ...dryRun };
  }
}

/** Whether a policy that cannot be read is a dry run all the same: that is said behind its rules. */
function isDryRun(bytes: Uint8Array): boolean {
  const draft = new PolicyDraft();
  try {
    new FieldReader(bytes, texts).fields(
      (reader, field, into) => field === 6 && readPolicy(reader, field, into),
      draft,
    );
  } catch {
    return false;
  }
  return draft.dryRun;
}

/** As far as it was read. */
function nameOf(draft: PolicyDraft): string {
  return draft.name === "" ? "policy" : `policy ${shortName(policyKey(draft))}`;
}
