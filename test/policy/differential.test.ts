/** Compiled policies against a slow transcription of the rules as they are documented. */
import { expect, test } from "bun:test";
import { parseCidr } from "../../src/net/address.ts";
import {
  authorize,
  type Match,
  newMatch,
  type Policy,
  type PolicyFlow,
  PolicyIndex,
  type StringMatch,
} from "../../src/policy/mod.ts";

const CASES = 20_000;

/** A small generator, so that a failure can be repeated from its seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Pick = (below: number) => number;
const one = <T>(pick: Pick, list: readonly T[]): T => list[pick(list.length)]!;
/** None to two of a list; none half of the time. */
const some = <T>(pick: Pick, list: readonly T[]): T[] =>
  Array.from({ length: Math.max(0, pick(4) - 1) }, () => one(pick, list));

const STRINGS: StringMatch[] = [
  { kind: "presence" },
  ...["", "a", "ab", "td/ns/a/sa/x", "td/", "/sa/x"].flatMap((value): StringMatch[] => [
    { kind: "exact", value },
    { kind: "prefix", value },
    { kind: "suffix", value },
  ]),
];
const RANGES = ["10.0.0.0/8", "10.0.0.1", "10.0.0.0/31", "0.0.0.0/0", "::/0", "fd00::/64", "fd00::1/128"];
const IPS = ["10.0.0.1", "10.0.0.2", "11.0.0.1", "fd00::1", "fd01::1"];
const ACCOUNTS = [{ namespace: "a", serviceAccount: "x" }, { namespace: "ab", serviceAccount: "y" }];

function anyMatch(pick: Pick): Match {
  const strings = () => some(pick, STRINGS);
  const given: Match = {
    namespaces: strings(),
    notNamespaces: strings(),
    principals: strings(),
    notPrincipals: strings(),
    sourceIps: some(pick, RANGES),
    notSourceIps: some(pick, RANGES),
    destinationIps: some(pick, RANGES),
    notDestinationIps: some(pick, RANGES),
    destinationPorts: some(pick, [1, 2, 3]),
    notDestinationPorts: some(pick, [1, 2, 3]),
    serviceAccounts: some(pick, ACCOUNTS),
    notServiceAccounts: some(pick, ACCOUNTS),
  };
  // All twelve at once hit next to never: keep a few.
  return newMatch(
    Object.fromEntries(Object.entries(given).filter(() => pick(4) === 0)) as Partial<Match>,
  );
}

function anyPolicy(pick: Pick, name: string): Policy {
  const several = <T>(make: () => T) => Array.from({ length: pick(3) }, make);
  return {
    namespace: "a",
    name,
    scope: "Global",
    action: pick(2) === 0 ? "Allow" : "Deny",
    dryRun: pick(5) === 0,
    rules: several(() => several(() => several(() => anyMatch(pick)))),
  };
}

function anyFlow(pick: Pick): PolicyFlow {
  const identity = pick(3) === 0
    ? undefined
    : { trustDomain: "td", namespace: one(pick, ["a", "ab"]), serviceAccount: one(pick, ["x", "y"]) };
  return {
    sourceIp: one(pick, IPS),
    destinationIp: one(pick, IPS),
    destinationPort: 1 + pick(3),
    identity,
  };
}

function literalString(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case "exact":
      return text === match.value;
    case "prefix":
      return text.startsWith(match.value);
    case "suffix":
      return text.endsWith(match.value);
    case "presence":
      return text !== "";
  }
}

function literalMatch(match: Match, flow: PolicyFlow): boolean {
  if (Object.values(match).every((list) => list.length === 0)) return false;
  const id = flow.identity;
  const namespace = (m: StringMatch) => literalString(m, id?.namespace ?? "");
  const principal = (m: StringMatch) =>
    id !== undefined && literalString(m, `${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`);
  const account = (m: { namespace: string; serviceAccount: string }) =>
    id !== undefined && id.namespace === m.namespace && id.serviceAccount === m.serviceAccount;
  const within = (ip: string) => (range: string) => parseCidr(range)!.contains(ip);
  const type = <T>(positive: readonly T[], negative: readonly T[], hits: (item: T) => boolean) =>
    (positive.length === 0 || positive.some(hits)) && (negative.length === 0 || !negative.some(hits));
  return type(match.namespaces, match.notNamespaces, namespace) &&
    type(match.principals, match.notPrincipals, principal) &&
    type(match.sourceIps, match.notSourceIps, within(flow.sourceIp)) &&
    type(match.destinationIps, match.notDestinationIps, within(flow.destinationIp)) &&
    type(match.destinationPorts, match.notDestinationPorts, (port) => port === flow.destinationPort) &&
    type(match.serviceAccounts, match.notServiceAccounts, account);
}

function literalPolicy(policy: Policy, flow: PolicyFlow): boolean {
  return policy.rules.some((rule) =>
    rule.every((clause) => clause.length === 0 || clause.some((match) => literalMatch(match, flow)))
  );
}

function literalVerdict(policies: readonly Policy[], flow: PolicyFlow): string {
  const enforced = policies.filter(({ dryRun }) => !dryRun);
  const denying = enforced.find((policy) => policy.action === "Deny" && literalPolicy(policy, flow));
  if (denying !== undefined) return `explicitly denied by: a/${denying.name}`;
  const allows = enforced.filter(({ action }) => action === "Allow");
  if (allows.length === 0 || allows.some((policy) => literalPolicy(policy, flow))) return "allow";
  return "allow policies exist, but none allowed";
}

test("compiled and literal evaluation agree", () => {
  const outcomes = new Map<string, number>();
  for (let seed = 1; seed <= CASES; seed++) {
    const pick = generator(seed);
    const policies = Array.from({ length: 1 + pick(3) }, (_, i) => anyPolicy(pick, `p${i}`));
    const flow = anyFlow(pick);
    const verdict = authorize(
      new PolicyIndex(policies).for({ namespace: "a", authorizationPolicies: [] }),
      flow,
    );
    const actual = verdict.allowed ? "allow" : verdict.rejection;
    const expected = literalVerdict(policies, flow);
    if (actual !== expected) {
      throw new Error(`seed ${seed}: ${actual}, expected ${expected}: ${JSON.stringify({ policies, flow })}`);
    }
    outcomes.set(actual, (outcomes.get(actual) ?? 0) + 1);
  }
  // The cases are worth something only if every outcome is common.
  expect(outcomes.get("allow")).toBeGreaterThan(CASES / 20);
  expect(outcomes.get("allow policies exist, but none allowed")).toBeGreaterThan(CASES / 20);
  expect(outcomes.get("explicitly denied by: a/p0")).toBeGreaterThan(CASES / 20);
});
