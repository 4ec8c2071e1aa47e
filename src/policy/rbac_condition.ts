/** Permissions and principals of RBAC compiled to conditions over the facts of a request. */
import {
  compileAnyHeaderMatch,
  compileMetadataMatch,
  compilePathMatch,
  compileStringMatch,
  type HeaderMatch,
  MatchError,
  type PathMatch,
  type StringMatch,
} from "../matching/mod.ts";
import { parseCidr } from "../net/address.ts";
import { compileIdentityPattern } from "./identity_pattern.ts";
import type { MetadataMatch, Permission, Principal } from "./rbac.ts";
import {
  best,
  fieldNeed,
  type Need,
  needOf,
  PATH,
  PEER,
  PSEUDO_HEADERS,
  SERVER_NAME,
  type Subject,
  union,
} from "./rbac_need.ts";
import type { RequestFacts } from "./request_facts.ts";

type Test = (facts: RequestFacts) => boolean;
type TextTest = (text: string) => boolean;

export interface Condition {
  readonly test: Test;
  /** What the peer's identity alone decides; undefined: it takes more to know. */
  byPeer(peer: string | undefined): boolean | undefined;
  /** For people: `:method is "GET"`. */
  describe(): string;
  /** What the request has there, for people; undefined where it would show what may be secret. */
  actual(facts: RequestFacts): string | undefined;
  /** Conditions that all have to hold, where it is made of such. */
  readonly parts: readonly Condition[];
  /** What must be so for it to hold; undefined: nothing simple. */
  readonly need: Need | undefined;
}

/** A condition that cannot be compiled: the message begins with its place. */
export class BadCondition extends Error {}

const NONE: readonly Condition[] = [];
const UNKNOWN = () => undefined;

const ANY: Condition = {
  test: () => true,
  byPeer: () => true,
  describe: () => "anything",
  actual: UNKNOWN,
  parts: NONE,
  need: undefined,
};

export function compilePermission(permission: Permission, at: string): Condition {
  switch (permission.kind) {
    case "any":
      return ANY;
    case "and":
      return all(permission.rules.map((rule, i) => compilePermission(rule, `${at}.rules[${i}]`)));
    case "or":
      return anyOf(permission.rules.map((rule, i) => compilePermission(rule, `${at}.rules[${i}]`)));
    case "not":
      return not(compilePermission(permission.rule, `${at}.rule`));
    case "header":
      return header(permission.header, `${at}.header`);
    case "path":
      return path(permission.match, `${at}.match`);
    case "destination-ip":
      return address("destination IP", permission.cidr, (facts) => facts.destination.ip, `${at}.cidr`);
    case "destination-port": {
      const { port } = permission;
      return leaf(
        (facts) => facts.destination.port === port,
        () => `destination port is ${port}`,
        (facts) => String(facts.destination.port),
      );
    }
    case "server-name":
      return text(SERVER_NAME, permission.match, `${at}.match`);
    case "metadata":
      return metadata(permission.metadata, `${at}.metadata`);
  }
}

export function compilePrincipal(principal: Principal, at: string): Condition {
  switch (principal.kind) {
    case "any":
      return ANY;
    case "and":
      return all(principal.ids.map((id, i) => compilePrincipal(id, `${at}.ids[${i}]`)));
    case "or":
      return anyOf(principal.ids.map((id, i) => compilePrincipal(id, `${at}.ids[${i}]`)));
    case "not":
      return not(compilePrincipal(principal.id, `${at}.id`));
    case "peer-principal":
      return peer(principal.match, `${at}.match`);
    case "direct-remote-ip":
      return address("connection's IP", principal.cidr, (facts) => facts.directRemoteIp, `${at}.cidr`);
    case "remote-ip":
      return address("client IP", principal.cidr, (facts) => facts.remoteIp, `${at}.cidr`);
    case "header":
      return header(principal.header, `${at}.header`);
    case "metadata":
      return metadata(principal.metadata, `${at}.metadata`);
  }
}

/** All of them; none: true. */
export function all(conditions: readonly Condition[]): Condition {
  const [first, second] = conditions;
  if (conditions.length === 1) return first!;
  if (first === undefined) return ANY;
  return {
    test: second !== undefined && conditions.length === 2
      ? ((one, two) => (facts: RequestFacts) => one(facts) && two(facts))(first.test, second.test)
      : (facts) => {
        for (const condition of conditions) if (!condition.test(facts)) return false;
        return true;
      },
    byPeer: (peer) => decide(conditions, peer, false),
    describe: () => conditions.map((condition) => condition.describe()).join(" and "),
    actual: UNKNOWN,
    parts: conditions,
    need: best(conditions),
  };
}

/** Any of them; none: false. */
export function anyOf(conditions: readonly Condition[]): Condition {
  if (conditions.length === 1) return conditions[0]!;
  const tests = anyTests(conditions);
  const [first, second] = tests;
  return {
    test: tests.length === 1
      ? first!
      : first !== undefined && second !== undefined && tests.length === 2
      ? (facts) => first(facts) || second(facts)
      : (facts) => {
        for (const test of tests) if (test(facts)) return true;
        return false;
      },
    byPeer: (peer) => decide(conditions, peer, true),
    describe: () =>
      conditions.length === 0 ? "nothing" : conditions.map((condition) => condition.describe()).join(" or "),
    actual: (facts) => conditions[0]?.actual(facts),
    parts: NONE,
    need: union(conditions),
  };
}

/** Tests of alternatives, with equalities of one subject gathered into one lookup. */
function anyTests(conditions: readonly Condition[]): Test[] {
  const tests: Test[] = [];
  const sets = new Map<Subject, Set<string>>();
  for (const { test, need } of conditions) {
    if (need?.kind !== "exact" || !need.enough) {
      tests.push(test);
      continue;
    }
    const { subject } = need;
    const known = sets.get(subject);
    const values = known ?? new Set<string>();
    for (const value of need.values) values.add(value);
    if (known !== undefined) continue;
    sets.set(subject, values);
    const { read } = subject;
    tests.push((facts) => {
      const actual = read(facts);
      return actual !== undefined && values.has(actual);
    });
  }
  return tests;
}

/** Three-valued and (`decisive` false) or or (true). */
function decide(conditions: readonly Condition[], peer: string | undefined, decisive: boolean): boolean | undefined {
  let settled = true;
  for (const condition of conditions) {
    const verdict = condition.byPeer(peer);
    if (verdict === decisive) return decisive;
    if (verdict === undefined) settled = false;
  }
  return settled ? !decisive : undefined;
}

function not(condition: Condition): Condition {
  const { test } = condition;
  return {
    test: (facts) => !test(facts),
    byPeer: (peer) => {
      const verdict = condition.byPeer(peer);
      return verdict === undefined ? undefined : !verdict;
    },
    describe: () => `not (${condition.describe()})`,
    actual: (facts) => condition.actual(facts),
    parts: NONE,
    need: undefined,
  };
}

function leaf(test: Test, describe: () => string, actual: Condition["actual"], need?: Need): Condition {
  return { test, byPeer: UNKNOWN, describe, actual, parts: NONE, need };
}

/** Patterns that are none are told with their place. */
function compiled<T>(at: string, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof MatchError) throw new BadCondition(`${at}: ${error.message}`);
    throw error;
  }
}

function describeMatch(match: StringMatch | PathMatch): string {
  if (match.kind === "regex") return match.regex === ".+" ? "is present" : `matches ${match.regex}`;
  if (match.kind === "template") return `matches ${match.template}`;
  const verb = { exact: "is", prefix: "begins with", suffix: "ends with", contains: "contains" };
  const how = match.kind === "path-separated-prefix" ? "is below" : verb[match.kind];
  return `${how} ${JSON.stringify(match.value)}`;
}

function on(subject: Subject, match: StringMatch | PathMatch, matches: TextTest): Condition {
  const { name, read } = subject;
  return leaf(
    (facts) => {
      const actual = read(facts);
      return actual !== undefined && matches(actual);
    },
    () => `${name} ${describeMatch(match)}`,
    (facts) => JSON.stringify(read(facts) ?? null),
    needOf(subject, match),
  );
}

/** Presence needs no engine for regular expressions. */
function textTest(match: StringMatch, at: string): TextTest {
  if (match.kind === "regex" && match.regex === ".+") return compileIdentityPattern(match.regex)!;
  return compiled(at, () => compileStringMatch(match));
}

function text(subject: Subject, match: StringMatch, at: string): Condition {
  return on(subject, match, textTest(match, at));
}

/** With `caseSensitive` or a kind of its own it is a PathMatch; both kinds of regular expression are the same. */
function path(match: PathMatch | StringMatch, at: string): Condition {
  if (match.kind === "template" || match.kind === "path-separated-prefix" || "caseSensitive" in match) {
    const pathMatch: PathMatch = match;
    return on(PATH, match, compiled(at, () => compilePathMatch(pathMatch)));
  }
  return text(PATH, match, at);
}

function peer(match: StringMatch, at: string): Condition {
  const pattern = match.kind === "regex" ? compileIdentityPattern(match.regex) : undefined;
  const matches = pattern ?? compiled(at, () => compileStringMatch(match));
  return { ...on(PEER, match, matches), byPeer: (identity) => identity !== undefined && matches(identity) };
}

function address(name: string, cidr: string, read: (facts: RequestFacts) => string, at: string): Condition {
  const range = parseCidr(cidr);
  if (range === undefined) throw new BadCondition(`${at}: not a CIDR ${JSON.stringify(cidr)}`);
  return leaf((facts) => range.contains(read(facts)), () => `${name} is in ${range.text}`, (facts) => read(facts));
}

/** Any one value of the field suffices (spec/waypoint.md §7). Values of other fields than pseudo-headers may be secret. */
function header(wanted: HeaderMatch, at: string): Condition {
  const { name, match, invert, treatMissingAsEmpty } = wanted;
  const subject = PSEUDO_HEADERS.get(name);
  if (subject !== undefined && match.kind !== "present" && !invert && !treatMissingAsEmpty) {
    return text(subject, match, `${at}.match`);
  }
  const matches = compiled(at, () => compileAnyHeaderMatch(wanted));
  const told = match.kind === "present" ? "is present" : describeMatch(match);
  return leaf(
    (facts) => facts.head !== undefined && matches(facts.head),
    () => invert ? `not (${name} ${told})` : `${name} ${told}`,
    (facts) => subject && JSON.stringify(subject.read(facts) ?? null),
    subject === undefined ? fieldNeed(wanted) : undefined,
  );
}

function metadata(wanted: MetadataMatch, at: string): Condition {
  const { filter, path, match, invert } = wanted;
  const matches = compiled(at, () => compileMetadataMatch(wanted));
  const told = match.kind === "present"
    ? "is present"
    : match.kind === "list-contains"
    ? `has an entry that ${describeMatch(match.value)}`
    : describeMatch(match);
  const name = `metadata ${filter} ${path.join(".")}`;
  return leaf((facts) => matches(facts.metadata), () => invert ? `not (${name} ${told})` : `${name} ${told}`, UNKNOWN);
}
