/** Authorization resources as policies (spec/ztunnel.md §8.1), and what is refused where the original matches more. */
import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { AuthorizationSchema, MatchSchema } from "../../proto/gen/authorization_pb.ts";
import { compilePolicy, newMatch, type Policy } from "../../src/policy/mod.ts";
import { decodeAuthorization } from "../../src/xds/mod.ts";

type Init = MessageInitShape<typeof AuthorizationSchema>;
type MatchInit = MessageInitShape<typeof MatchSchema>;

const unnamed = (number: number) => number as never;

const encode = (given: Init) =>
  toBinary(AuthorizationSchema, create(AuthorizationSchema, { name: "p", namespace: "ns", ...given }));
const withMatch = (match: MatchInit): Init => ({ rules: [{ clauses: [{ matches: [match] }] }] });

function policy(given: Init): Policy {
  const result = decodeAuthorization(encode(given));
  if (!result.ok) throw new Error(result.error);
  return result.policy;
}

function problem(bytes: Uint8Array): string {
  const result = decodeAuthorization(bytes);
  return result.ok ? "no problem" : result.error;
}

test("an empty one allows nothing, and everywhere", () => {
  expect(policy({})).toEqual({
    name: "p",
    namespace: "ns",
    scope: "Global",
    action: "Allow",
    rules: [],
    dryRun: false,
  });
});

test("scopes, actions, dry run", () => {
  expect(policy({ scope: 1, action: 1, dryRun: true })).toMatchObject({
    scope: "Namespace",
    action: "Deny",
    dryRun: true,
  });
  expect(policy({ scope: 2 }).scope).toBe("WorkloadSelector");
});

test("rules, clauses and matches, the empty ones too", () => {
  const ports = (...destinationPorts: number[]) => ({ destinationPorts });
  const { rules } = policy({
    rules: [
      {},
      { clauses: [{}, { matches: [{}] }] },
      { clauses: [{ matches: [ports(1), ports(2)] }, { matches: [ports(3)] }] },
    ],
  });
  expect(rules).toEqual([
    [],
    [[], [newMatch({})]],
    [[newMatch(ports(1)), newMatch(ports(2))], [newMatch(ports(3))]],
  ]);
});

test("all twelve lists", () => {
  const text = (value: string) => ({ matchType: { case: "exact" as const, value } });
  const ip = (...bytes: number[]) => ({ address: Uint8Array.from(bytes), length: 24 });
  const account = (name: string) => ({ namespace: "n", serviceAccount: name });
  const match = policy(withMatch({
    namespaces: [text("a"), { matchType: { case: "prefix", value: "b" } }],
    notNamespaces: [{ matchType: { case: "suffix", value: "c" } }],
    principals: [{ matchType: { case: "presence", value: {} } }],
    notPrincipals: [text("")],
    sourceIps: [ip(10, 1, 2, 3), { address: new Uint8Array(16).fill(0xfd, 0, 1), length: 8 }],
    notSourceIps: [{ address: Uint8Array.of(10, 0, 0, 1), length: 32 }],
    destinationIps: [{ address: new Uint8Array(4) }],
    notDestinationIps: [{ address: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1), length: 128 }],
    destinationPorts: [0, 80, 65535],
    notDestinationPorts: [443],
    serviceAccounts: [account("s")],
    notServiceAccounts: [account("t"), {}],
  })).rules[0]![0]![0]!;
  expect(match).toEqual({
    namespaces: [{ kind: "exact", value: "a" }, { kind: "prefix", value: "b" }],
    notNamespaces: [{ kind: "suffix", value: "c" }],
    principals: [{ kind: "presence" }],
    notPrincipals: [{ kind: "exact", value: "" }],
    sourceIps: ["10.1.2.0/24", "fd00::/8"],
    notSourceIps: ["10.0.0.1/32"],
    destinationIps: ["0.0.0.0/0"],
    notDestinationIps: ["10.0.0.1/32"],
    destinationPorts: [0, 80, 65535],
    notDestinationPorts: [443],
    serviceAccounts: [{ namespace: "n", serviceAccount: "s" }],
    notServiceAccounts: [{ namespace: "n", serviceAccount: "t" }, { namespace: "", serviceAccount: "" }],
  });
});

describe("refused, with the place of it", () => {
  const bytes = (length: number) => ({ address: new Uint8Array(length), length: 8 });
  const cases: [what: string, given: Init, error: string][] = [
    ["scope", { scope: unnamed(3) }, "scope: unknown value 3"],
    ["action", { action: unnamed(2) }, "action: unknown value 2"],
    [
      "address of 5 bytes",
      withMatch({ sourceIps: [bytes(4), bytes(5)] }),
      "source_ips[1]: 5 bytes, but an IP address has 4 or 16",
    ],
    [
      "no address",
      withMatch({ notSourceIps: [{ length: 8 }] }),
      "not_source_ips[0]: 0 bytes, but an IP address has 4 or 16",
    ],
    [
      "prefix too long",
      withMatch({ destinationIps: [{ ...bytes(4), length: 33 }] }),
      "destination_ips[0]: 0.0.0.0 has no prefix of 33 bits",
    ],
    // The original keeps eight bits of the length, and would read /32.
    [
      "prefix far too long",
      withMatch({ notDestinationIps: [{ ...bytes(4), length: 288 }] }),
      "not_destination_ips[0]: 0.0.0.0 has no prefix of 288 bits",
    ],
    [
      "text match without a kind",
      withMatch({ principals: [{}] }),
      "principals[0]: none of exact, prefix, suffix and presence",
    ],
    [
      "the same of namespaces",
      withMatch({ notNamespaces: [{}] }),
      "not_namespaces[0]: none of exact, prefix, suffix and presence",
    ],
    ["port", withMatch({ destinationPorts: [80, 65536 + 80] }), "destination_ports[1]: not a port: 65616"],
    ["port, negated", withMatch({ notDestinationPorts: [70000] }), "not_destination_ports[0]: not a port: 70000"],
  ];
  for (const [what, given, error] of cases) {
    test(what, () => {
      const place = "rules" in given ? "rules[0][0][0]." : "";
      expect(problem(encode(given))).toBe(`policy ns/p: ${place}${error}`);
    });
  }

  test("deep inside", () => {
    const good = { destinationPorts: [1] };
    const given: Init = { rules: [{}, { clauses: [{}, {}, { matches: [good, { sourceIps: [{}] }] }] }] };
    expect(problem(encode(given))).toMatch(/^policy ns\/p: rules\[1\]\[2\]\[1\]\.source_ips\[0\]: /);
  });

  const raw = (fill: (writer: BinaryWriter) => BinaryWriter) => fill(new BinaryWriter().tag(1, 2).string("p")).finish();
  const wire: [what: string, bytes: Uint8Array, error: string][] = [
    [
      "a rule that is cut",
      raw((w) => w.tag(5, 2).uint32(7)),
      "policy /p: rules[0]: truncated: 7 bytes announced, 0 left",
    ],
    [
      "a name that is a number",
      raw((w) => w.tag(2, WireType.Varint).uint32(1)),
      "policy /p: namespace: wire type 0, not 2",
    ],
    ["a truth that is a text", raw((w) => w.tag(6, 2).string("x")), "policy /p: dry_run: wire type 2, not 0"],
    ["nothing but noise", Uint8Array.of(255, 255, 255, 255, 255, 255), "policy: premature EOF"],
  ];
  for (const [what, bytes, error] of wire) test(what, () => expect(problem(bytes)).toBe(error));
});

test("ports come packed or one by one", () => {
  const numbers = new BinaryWriter().tag(9, WireType.Varint).uint32(80)
    .tag(9, 2).fork().uint32(443).uint32(8443).join()
    .tag(9, WireType.Varint).uint32(1).finish();
  const clause = new BinaryWriter().tag(2, 2).bytes(numbers).finish();
  const rule = new BinaryWriter().tag(1, 2).bytes(clause).finish();
  const result = decodeAuthorization(new BinaryWriter().tag(5, 2).bytes(rule).finish());
  expect(result).toMatchObject({ ok: true, policy: { rules: [[[{ destinationPorts: [80, 443, 8443, 1] }]]] } });
});

test("of a text match that says two things the last counts", () => {
  const match = new BinaryWriter().tag(1, 2).string("exact").tag(3, 2).string("suffix").finish();
  const lists = new BinaryWriter().tag(1, 2).bytes(match).finish();
  const clause = new BinaryWriter().tag(2, 2).bytes(lists).finish();
  const rule = new BinaryWriter().tag(1, 2).bytes(clause).finish();
  const result = decodeAuthorization(new BinaryWriter().tag(5, 2).bytes(rule).finish());
  expect(result).toMatchObject({
    ok: true,
    policy: { rules: [[[{ namespaces: [{ kind: "suffix", value: "suffix" }] }]]] },
  });
});

test("what is accepted compiles", () => {
  const compiled = compilePolicy(policy(withMatch({
    sourceIps: [{ address: new Uint8Array(16), length: 0 }, { address: Uint8Array.of(10, 0, 0, 1), length: 32 }],
    namespaces: [{ matchType: { case: "presence", value: {} } }],
  })));
  expect(compiled.ok).toBe(true);
});
