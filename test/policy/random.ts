/** Random policies and flows over alphabets so small that they meet. */
import { type Match, newMatch, type Policy, type PolicyFlow, type StringMatch } from "../../src/policy/mod.ts";

/** A whole number from 0 to below `below`. */
export type Pick = (below: number) => number;

/** A small generator, so that a failure can be repeated from its seed. */
export function generator(seed: number): Pick {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

export function one<T>(pick: Pick, list: readonly T[]): T {
  return list[pick(list.length)]!;
}

/** None to two of a list; none half of the time. */
function some<T>(pick: Pick, list: readonly T[]): T[] {
  return Array.from({ length: Math.max(0, pick(4) - 1) }, () => one(pick, list));
}

const STRINGS: readonly StringMatch[] = [
  { kind: "presence" },
  ...["", "a", "ab", "td/ns/a/sa/x", "td/", "/sa/x"].flatMap((value): StringMatch[] => [
    { kind: "exact", value },
    { kind: "prefix", value },
    { kind: "suffix", value },
  ]),
];
const EXACT: readonly StringMatch[] = ["a", "ab", "td/ns/a/sa/x", "td/ns/ab/sa/y", "td2/ns/a/sa/x"].map((value) => ({
  kind: "exact",
  value,
}));
const RANGES = [
  ...["10.0.0.0/8", "10.0.0.1", "10.0.0.0/31", "10.0.0.2/32", "0.0.0.0/0", "128.0.0.0/1"],
  ...["::/0", "fd00::/64", "fd00::1/128", "fd00::/127", "fd00:0:0:1::/64", "::ffff:10.0.0.1"],
];
const IPS = ["10.0.0.1", "10.0.0.2", "11.0.0.1", "200.0.0.1", "fd00::1", "fd00::2", "fd01::1", "::ffff:10.0.0.1"];
const ACCOUNTS = [
  { namespace: "a", serviceAccount: "x" },
  { namespace: "ab", serviceAccount: "y" },
  { namespace: "ab", serviceAccount: "x" },
];
const PORTS = [1, 2, 3];

export const NAMESPACES = ["a", "ab", "b"];

export function anyMatch(pick: Pick): Match {
  // Exact values alone, as most policies have them, are found in another way than the rest.
  const strings = () => some(pick, pick(2) === 0 ? EXACT : STRINGS);
  const given: Match = {
    namespaces: strings(),
    notNamespaces: strings(),
    principals: strings(),
    notPrincipals: strings(),
    sourceIps: some(pick, RANGES),
    notSourceIps: some(pick, RANGES),
    destinationIps: some(pick, RANGES),
    notDestinationIps: some(pick, RANGES),
    destinationPorts: some(pick, PORTS),
    notDestinationPorts: some(pick, PORTS),
    serviceAccounts: some(pick, ACCOUNTS),
    notServiceAccounts: some(pick, ACCOUNTS),
  };
  // All twelve at once hit next to never: keep a few.
  return newMatch(Object.fromEntries(Object.entries(given).filter(() => pick(4) === 0)) as Partial<Match>);
}

export function anyPolicy(pick: Pick, name: string): Policy {
  const several = <T>(make: () => T) => Array.from({ length: pick(3) }, make);
  return {
    namespace: one(pick, NAMESPACES),
    name,
    scope: one(pick, ["Global", "Namespace", "WorkloadSelector"] as const),
    action: one(pick, ["Allow", "Deny"] as const),
    dryRun: pick(3) === 0,
    rules: several(() => several(() => several(() => anyMatch(pick)))),
  };
}

export function anyFlow(pick: Pick): PolicyFlow {
  const identity = pick(3) === 0 ? undefined : {
    trustDomain: one(pick, ["td", "td2"]),
    namespace: one(pick, ["a", "ab"]),
    serviceAccount: one(pick, ["x", "y"]),
  };
  return {
    sourceIp: one(pick, IPS),
    destinationIp: one(pick, IPS),
    destinationPort: one(pick, PORTS),
    identity,
  };
}
