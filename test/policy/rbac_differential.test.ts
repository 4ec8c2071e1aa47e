/** AuthorizationPolicies through conversion and index against a slow transcription of what their fields mean. */
import { expect, test } from "bun:test";
import { RE2JS } from "re2js";
import { parseCidr } from "../../src/net/address.ts";
import {
  type AuthorizationAction,
  type AuthorizationOperation,
  type AuthorizationPolicy,
  type AuthorizationRule,
  type AuthorizationSource,
  authorizationToRbac,
  type RequestFacts,
} from "../../src/policy/mod.ts";
import { authorization, engine, request, tcp } from "./rbac_fixtures.ts";

const POLICY_SETS = 1_000;
const REQUESTS = 12; // for each set

type Pick = (below: number) => number;

function generator(seed: number): Pick {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const one = <T>(pick: Pick, list: readonly T[]): T => list[pick(list.length)]!;
const list = <T>(pick: Pick, values: readonly T[]): T[] => Array.from({ length: 1 + pick(3) }, () => one(pick, values));

const PRINCIPALS = ["td/ns/a/sa/x", "td/ns/b/sa/y", "td2/ns/a/sa/x", "td/ns/a/*", "*/sa/x", "*", "sa/x"];
const PEERS = [
  undefined,
  "spiffe://td/ns/a/sa/x",
  "spiffe://td/ns/b/sa/y",
  "spiffe://td2/ns/a/sa/x",
  "spiffe://td/ns/ab/sa/xy",
];
const PATHS = ["/a", "/a/b", "/a*", "*b", "/a/{*}", "/{**}/b", "*", "/a//b"];
const REQUEST_PATHS = ["/a", "/a/b", "/a/b/c", "//a", "/a//b", "///", "/b", "/a?x=/b", "/a//b?y"];

const SOURCE: Record<string, readonly string[]> = {
  principals: PRINCIPALS,
  namespaces: ["a", "b", "a*", "*b", "*"],
  serviceAccounts: ["x", "a/x", "b/y", "b/x"],
  remoteIpBlocks: ["10.0.0.0/8", "10.0.0.1", "fd00::/8"],
  trustDomains: ["td", "td*", "*2"],
  ipBlocks: ["0.0.0.0/0"],
};
const OPERATION: Record<string, readonly string[]> = {
  hosts: ["h.example", "*.example", "H*", "*"],
  ports: ["80", "81"],
  methods: ["GET", "P*", "*ET", "*"],
  paths: PATHS,
};
const WHEN: Record<string, readonly string[]> = {
  "request.headers[x-k]": ["1", "2*", "*3", "*"],
  "source.namespace": ["a"],
  "source.principal": PRINCIPALS,
  "remote.ip": ["10.0.0.0/8"],
  "destination.ip": ["10.96.0.0/16", "10.96.0.10"],
  "destination.port": ["80"],
  "connection.sni": ["s", "*"],
};

const negated = (field: string) => `not${field[0]!.toUpperCase()}${field.slice(1)}`;

function anyFields(pick: Pick, fields: Record<string, readonly string[]>): Record<string, string[]> {
  const given: Record<string, string[]> = {};
  for (let n = 1 + pick(2); n > 0; n--) {
    const field = one(pick, Object.keys(fields));
    given[pick(3) === 0 ? negated(field) : field] = list(pick, fields[field]!);
  }
  return given;
}

function anyRule(pick: Pick): AuthorizationRule {
  const times = <T>(make: () => T): T[] | undefined =>
    pick(2) === 0 ? undefined : Array.from({ length: 1 + pick(2) }, make);
  return {
    from: times(() => ({ source: anyFields(pick, SOURCE) })),
    to: times(() => ({ operation: anyFields(pick, OPERATION) })),
    when: pick(2) === 0 ? undefined : times(() => {
      const key = one(pick, Object.keys(WHEN));
      const values = list(pick, WHEN[key]!);
      return pick(3) === 0 ? { key, notValues: values } : { key, values };
    }),
  };
}

function anyPolicy(pick: Pick, index: number): AuthorizationPolicy {
  const action = one<AuthorizationAction>(pick, ["ALLOW", "DENY", "DENY", "AUDIT"]);
  const rules = Array.from({ length: pick(4) }, () => anyRule(pick));
  return authorization({ action, rules }, { name: `p${index}`, namespace: "a" });
}

function anyRequest(pick: Pick, http: boolean): RequestFacts {
  const peerPrincipal = one(pick, PEERS);
  const remoteIp = one(pick, ["10.0.0.1", "10.1.0.1", "192.0.2.1", "fd00::1"]);
  const destination = { ip: one(pick, ["10.96.0.10", "10.97.0.1"]), port: 80 + pick(3) };
  const serverName = one(pick, [undefined, "s", "t"]);
  if (!http) return tcp({ peerPrincipal, remoteIp, destination, serverName });
  const fields = Array.from(
    { length: pick(3) },
    (): [string, string] => [one(pick, ["x-k", "x-l"]), one(pick, ["1", "22", "33", ""])],
  );
  const head = {
    fields,
    method: one(pick, ["GET", "PUT", "DELETE"]),
    authority: one(pick, ["h.example", "H.EXAMPLE", "a.example:80", "other"]),
    path: one(pick, REQUEST_PATHS),
  };
  return request({ peerPrincipal, remoteIp, destination, serverName, head });
}

// The meaning of the fields, one after the other.

const lower = (text: string) => text.toLowerCase();

function wildcard(pattern: string, text: string): boolean {
  if (pattern === "*") return text !== "";
  if (pattern.startsWith("*")) return text.endsWith(pattern.slice(1));
  return pattern.endsWith("*") ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

const escaped = (text: string) => text.replace(/[\\.+*?()|[\]{}^$]/g, (char) => char === "*" ? ".*" : `\\${char}`);
const regexes = new Map<string, RE2JS>();
function full(regex: string, text: string): boolean {
  const compiled = regexes.get(regex) ?? RE2JS.compile(regex);
  regexes.set(regex, compiled);
  return compiled.matches(text);
}

function path(pattern: string, text: string): boolean {
  if (!pattern.includes("{")) return wildcard(pattern, text);
  return full(pattern.replaceAll("{**}", ".*").replaceAll("{*}", "[^/]+"), text);
}

/** undefined: HTTP only, and this is not HTTP. */
function value(field: string, wanted: string, facts: RequestFacts): boolean | undefined {
  const { head, peerPrincipal: peer, destination } = facts;
  switch (field) {
    case "principals":
    case "source.principal":
      return peer !== undefined && wildcard(wanted, peer.slice("spiffe://".length));
    case "namespaces":
    case "source.namespace":
      return peer !== undefined && full(`.*/ns/${escaped(wanted)}/.*`, peer);
    case "serviceAccounts": {
      const [namespace, name] = wanted.includes("/") ? wanted.split("/") : ["a", wanted];
      return peer !== undefined && full(`spiffe://.+/ns/${namespace}/sa/${name}`, peer);
    }
    case "trustDomains":
      return peer !== undefined && wildcard(wanted, peer.split("/")[2]!);
    case "remoteIpBlocks":
    case "remote.ip":
      return parseCidr(wanted)!.contains(facts.remoteIp);
    case "ipBlocks":
      return false;
    case "hosts":
      return head && wildcard(lower(wanted), lower(head.authority));
    case "methods":
      return head && wildcard(wanted, head.method);
    case "paths":
      return head && path(wanted, facts.path);
    case "ports":
    case "destination.port":
      return Number(wanted) === destination.port;
    case "destination.ip":
      return parseCidr(wanted)!.contains(destination.ip);
    case "connection.sni":
      return wildcard(wanted, facts.serverName ?? "");
    case "request.headers[x-k]": {
      if (head === undefined) return undefined;
      const values = head.fields.filter(([name]) => name === "x-k").map(([, text]) => text);
      if (wanted === "*") return values.length > 0;
      return [...values, ...(values.length > 1 ? [values.join(",")] : [])].some((text) => wildcard(wanted, text));
    }
  }
  throw new Error(field);
}

/** Both lists of a field: any of the one and none of the other. */
function both(
  field: string,
  values: readonly string[],
  notValues: readonly string[],
  facts: RequestFacts,
): boolean | undefined {
  const any = (wanted: readonly string[]) => {
    const hits = wanted.map((text) => value(field, text, facts));
    return hits.includes(undefined) ? undefined : hits.includes(true);
  };
  const [hit, miss] = [values.length === 0 || any(values), notValues.length > 0 && any(notValues)];
  return hit === undefined || miss === undefined ? undefined : hit && !miss;
}

function fields(
  given: AuthorizationSource | AuthorizationOperation,
  names: string[],
  facts: RequestFacts,
): (boolean | undefined)[] {
  const lists = given as Record<string, readonly string[] | undefined>;
  return names.map((name) => both(name, lists[name] ?? [], lists[negated(name)] ?? [], facts));
}

function ruleMatches(rule: AuthorizationRule, allows: boolean, facts: RequestFacts): boolean {
  const all = (tests: (boolean | undefined)[]) => tests.every((test) => test !== false);
  const when = (rule.when ?? []).map(({ key, values, notValues }) => both(key, values ?? [], notValues ?? [], facts));
  const from = (rule.from ?? [{}]).map(({ source }) => fields(source ?? {}, Object.keys(SOURCE), facts));
  const to = (rule.to ?? [{}]).map(({ operation }) => fields(operation ?? {}, Object.keys(OPERATION), facts));
  // One thing that is for HTTP alone: the whole ALLOW rule never matches a connection.
  if (allows && [when, ...from, ...to].some((tests) => tests.includes(undefined))) return false;
  return all(when) && from.some(all) && to.some(all);
}

/** Policies of an action that match, by name of the rule. */
function matching(
  policies: readonly AuthorizationPolicy[],
  action: AuthorizationAction,
  facts: RequestFacts,
): string[] {
  return policies.filter(({ spec }) => spec.action === action).flatMap(({ metadata, spec }) =>
    (spec.rules ?? []).flatMap((rule, i) =>
      ruleMatches(rule, action === "ALLOW", facts) ? [`ns[a]-policy[${metadata.name}]-rule[${i}]`] : []
    )
  );
}

interface Outcome {
  readonly allowed: boolean;
  readonly details: string;
  readonly audits: readonly string[];
}

function expected(policies: readonly AuthorizationPolicy[], facts: RequestFacts): Outcome {
  const readings = [facts];
  if (facts.path.includes("//")) readings.push({ ...facts, path: facts.path.replace(/\/+/g, "/") });
  const audits = [...new Set(readings.flatMap((reading) => matching(policies, "AUDIT", reading)))].sort();
  const outcome = (denier: string | undefined): Outcome => ({
    allowed: denier === undefined,
    details: denier === undefined ? "" : `rbac_access_denied_matched_policy[${denier}]`,
    audits,
  });
  for (const reading of readings) {
    const [denier] = matching(policies, "DENY", reading).sort();
    if (denier !== undefined) return outcome(denier);
  }
  const restricted = policies.some(({ spec }) => spec.action === "ALLOW");
  const refused = restricted && readings.some((reading) => matching(policies, "ALLOW", reading).length === 0);
  return outcome(refused ? "none" : undefined);
}

test.each([true, false])("HTTP %p: the same verdicts as the transcription", (http) => {
  const pick = generator(http ? 20_241 : 20_242);
  const outcomes = { allowed: 0, denied: 0, none: 0, audited: 0 };
  for (let set = 0; set < POLICY_SETS; set++) {
    const policies = Array.from({ length: 1 + pick(4) }, (_, i) => anyPolicy(pick, i));
    const { filters } = authorizationToRbac(policies, {
      trustDomains: ["td"],
      forHttp: http,
      readsServerName: true,
      chain: "the chain",
      port: undefined,
    });
    const rbac = engine(...filters);
    for (let n = 0; n < REQUESTS; n++) {
      const facts = anyRequest(pick, http);
      const want = expected(policies, facts);
      const verdict = rbac.check(facts);
      const got = {
        allowed: verdict.allowed,
        details: verdict.responseCodeDetails,
        audits: [...verdict.audits].sort(),
      };
      if (!Bun.deepEquals(got, want)) {
        throw new Error(`set ${set}: ${JSON.stringify({ policies, facts, got, want }, undefined, 1)}`);
      }
      outcomes[want.allowed ? "allowed" : want.details.endsWith("[none]") ? "none" : "denied"]++;
      if (want.audits.length > 0) outcomes.audited++;
    }
  }
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(POLICY_SETS * REQUESTS / 30);
});
