/** Pushes of istiod as the mesh sees them: what is good is in force, what is not is refused by name (spec/ztunnel.md §3.2, §3.3). */
import { beforeEach, describe, expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuthorizationSchema } from "../../proto/gen/authorization_pb.ts";
import { AddressSchema } from "../../proto/gen/workload_pb.ts";
import { MeshState } from "../../src/mesh/mod.ts";
import { authorize } from "../../src/policy/mod.ts";
import type { LogScope } from "../../src/telemetry/mod.ts";
import type { AdsPart, ResourceType } from "../../src/xds/mod.ts";
import { addressType, authorizationType } from "../../src/ztunnel/mesh_resources.ts";

const lines: string[] = [];
const note = (level: string) => (message: string, fields: readonly (readonly [string, unknown])[] = []) =>
  void lines.push(`${level} ${message} ${fields.map(([, value]) => value).join(" ")}`.trim());
const log = {
  error: note("error"),
  warn: note("warn"),
  info: note("info"),
  debug: note("debug"),
} as unknown as LogScope;

let mesh = new MeshState("node-a");
beforeEach(() => {
  mesh = new MeshState("node-a");
  lines.length = 0;
});
const owner = {
  apply: (update: Parameters<MeshState["apply"]>[0]) => mesh.apply(update),
  hasPolicy: (key: string) => mesh.policies.get(key) !== undefined,
};

type Resources = Record<string, Uint8Array>;
const part = (resources: Resources, removed: string[] = [], first = false): AdsPart => ({
  resources: Object.entries(resources).map(([name, value]) => ({ name, version: "1", value })),
  removed,
  first,
  last: true,
});

const GARBAGE = Uint8Array.of(0xff, 0xff, 0xff);
const workload = (uid: string, ip: number[]) =>
  toBinary(
    AddressSchema,
    create(AddressSchema, {
      type: {
        case: "workload",
        value: { uid, name: uid, namespace: "shop", addresses: [Uint8Array.from(ip)], node: "node-a" },
      },
    }),
  );

type PolicyInit = MessageInitShape<typeof AuthorizationSchema>;
const policy = (given: PolicyInit) =>
  toBinary(AuthorizationSchema, create(AuthorizationSchema, { namespace: "shop", name: "p", ...given }));
const BAD_ACTION = 7 as never;
const flow = {
  identity: { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "web" },
  sourceIp: "10.0.0.9",
  destinationIp: "10.0.0.1",
  destinationPort: 80,
};

describe("addresses", () => {
  const type = () => addressType(owner, log, false);

  test("good ones are in force beside one that is refused by name", () => {
    const refused = type().apply(part({ a: workload("a", [10, 0, 0, 1]), b: workload("b", [1, 2, 3]), c: GARBAGE }));
    expect(mesh.workloadByAddress("", "10.0.0.1")?.uid).toBe("a");
    expect(refused.map(({ name }) => name)).toEqual(["b", "c"]);
    expect(refused[0]?.error).toStartWith("workload b: addresses[0]: ");
  });

  test("a removal of what nobody has is told, except on demand, where it is the answer", () => {
    type().apply(part({}, ["a"]));
    expect(lines).toEqual(["warn tried to remove an unknown address a"]);
    addressType(owner, log, true).apply(part({}, ["/10.0.0.9"]));
    expect(lines).toHaveLength(1);
  });

  test("of very many of them in a push the first are told, and how many more", () => {
    const addresses = type();
    for (let push = 0; push < 2; push++) {
      for (let i = 0; i < 50; i++) {
        addresses.apply({ ...part({}, [`a${i}`, `b${i}`, `c${i}`]), last: i === 49 });
      }
      expect(lines).toHaveLength(21);
      expect(lines.at(-1)).toBe("warn tried to remove more unknown addresses 130");
      lines.length = 0;
    }
  });

  test("a record whose resource has another name goes by that name, and when the name is another record's", () => {
    const addresses = type();
    addresses.apply(part({ x: workload("a", [10, 0, 0, 1]), b: workload("b", [10, 0, 0, 2]) }));
    addresses.apply(part({ x: workload("c", [10, 0, 0, 3]) }));
    expect(mesh.workloadByUid("a")).toBeUndefined();
    expect(mesh.workloadByUid("c")).toBeDefined();
    addresses.apply(part({}, ["x"]));
    expect(mesh.workloadByUid("c")).toBeUndefined();
    addresses.apply(part({ b: workload("b", [10, 0, 0, 2]) }, ["x"]));
    expect(mesh.workloadByUid("b")).toBeDefined();
    expect(lines).toEqual(["warn tried to remove an unknown address x"]);
  });

  test("an address that changes hands within a push is the new one's, however the parts fall", () => {
    const addresses = type();
    addresses.apply(part({ old: workload("old", [10, 0, 0, 1]) }));
    addresses.apply({ ...part({ next: workload("next", [10, 0, 0, 1]) }), last: false });
    addresses.apply(part({}, ["old"]));
    expect(mesh.workloadByAddress("", "10.0.0.1")?.uid).toBe("next");
  });
});

describe("policies", () => {
  let type: ResourceType = authorizationType(owner, log);
  beforeEach(() => {
    type = authorizationType(owner, log);
    addressType(owner, log, false).apply(part({ a: workload("a", [10, 0, 0, 1]) }));
  });
  const allowed = () => {
    const target = mesh.workloadByAddress("", "10.0.0.1");
    if (target === undefined) throw new Error("the workload is gone");
    return authorize(mesh.policiesFor(target), flow).allowed;
  };

  test("one that cannot be read and has no good version denies what it selects", () => {
    const refused = type.apply(part({ "shop/p": policy({ scope: 1, action: BAD_ACTION }) }));
    expect(refused).toEqual([{ name: "shop/p", error: "policy shop/p: action: unknown value 7" }]);
    expect(allowed()).toBe(false);
    expect(lines[0]).toStartWith("error policy refused, all that it selects is denied shop/p Namespace ");
    type.apply(part({ "shop/p": policy({ scope: 1, action: 1 }) }));
    expect(allowed()).toBe(true);
  });

  test("being synced does not wait for those that are refused, because something stands for them", () => {
    expect(type.standsIn).toBe(true);
    expect(addressType(owner, log, false).standsIn).toBeUndefined();
    const name = ["shop/p", "shop/a/b", "p"];
    const refused = name.flatMap((one) => type.apply(part({ [one]: GARBAGE })));
    expect(refused.map(({ open = false }) => open)).toEqual([false, false, true]);
    expect(mesh.policies.size).toBe(2);
    expect(lines.at(-1)).toStartWith("error policy refused, its name is not namespace/name: nothing stands for it p ");
  });

  test("one of which only the name could be read is stood for by its name, or its last good version stays", () => {
    const unreadable = ["shop/p", "shop/q", "r"].map((name) => ({ name, error: "nothing in it" }));
    type.apply(part({ "shop/q": policy({ name: "q", scope: 1, action: 1 }) }));
    expect(type.apply({ ...part({}), unreadable })).toEqual([{ name: "r", error: "nothing in it", open: true }]);
    expect(mesh.policies.get("shop/p")?.policy).toMatchObject({ action: "Deny", scope: "WorkloadSelector" });
    expect(mesh.policies.get("shop/q")?.policy.action).toBe("Deny");
    expect(mesh.policies.get("shop/q")?.policy.rules).toEqual([]);
    // Of two of the same name the one that could be read counts.
    type.apply({ ...part({ "shop/p": policy({ scope: 1 }) }), unreadable });
    expect(mesh.policies.get("shop/p")?.policy.action).toBe("Allow");
  });

  test("one that says another name than its resource's, or none, is refused and stood for by the resource's", () => {
    const refused = type.apply(part({ "shop/q": policy({ scope: 1, action: 1 }), "shop/r": new Uint8Array(0) }));
    expect(refused).toEqual([
      { name: "shop/q", error: "it holds the policy shop/p" },
      { name: "shop/r", error: "it holds no policy: its name is empty" },
    ]);
    expect(mesh.policies.get("shop/p")).toBeUndefined();
    expect(mesh.policies.get("shop/q")?.policy).toMatchObject({ action: "Deny", scope: "Namespace" });
    expect(mesh.policies.get("shop/r")?.policy.scope).toBe("WorkloadSelector");
    expect(allowed()).toBe(false);
    type.apply(part({}, ["shop/q", "shop/r"]));
    expect(allowed()).toBe(true);
    expect(mesh.policies.size).toBe(0);
  });

  test("names are cut in the log, and what is wrong is told behind them", () => {
    const name = "n".repeat(100_000);
    const [refused] = type.apply(part({ [`shop/${name}`]: policy({ name, action: BAD_ACTION }) }));
    expect(refused?.error).toMatch(/^policy shop\/n{250}…: action: unknown value 7$/);
    type.apply(part({ [`shop/${name}`]: policy({}) }));
    addressType(owner, log, false).apply(part({}, [name]));
    expect(lines.map((line) => line.length < 1_000)).toEqual([true, true]);
  });

  test("a dry run that cannot be read denies nobody, as it would not if it could", () => {
    const rules = [{ clauses: [{ matches: [{ namespaces: [{}] }] }] }];
    const refused = type.apply(part({ "shop/p": policy({ scope: 1, action: 1, rules, dryRun: true }) }));
    expect(refused.map(({ error }) => error)).toEqual([
      "policy shop/p: rules[0][0][0].namespaces[0]: none of exact, prefix, suffix and presence",
    ]);
    expect(allowed()).toBe(true);
    expect(lines[0]).toStartWith("error policy refused, its dry run is not made shop/p ");
    // Enforced, then tried only: what stood for it goes.
    type.apply(part({ "shop/p": policy({ scope: 1, action: 1, rules }) }));
    expect(allowed()).toBe(false);
    type.apply(part({ "shop/p": policy({ scope: 1, action: 1, rules, dryRun: true }) }));
    expect(allowed()).toBe(true);
    expect(mesh.policies.size).toBe(0);
  });

  test("bytes that are no policy at all are for those who name it, not for everybody", () => {
    type.apply(part({ "shop/p": GARBAGE }));
    expect(allowed()).toBe(true);
    expect(mesh.policies.get("shop/p")?.policy.scope).toBe("WorkloadSelector");
  });

  test("of one that was good before, the good version stays", () => {
    type.apply(part({ "shop/p": policy({ scope: 1, action: 1 }) }));
    type.apply(part({ "shop/p": policy({ scope: 1, action: BAD_ACTION }) }));
    expect(allowed()).toBe(true);
    expect(lines[0]).toStartWith("error policy refused, its last good version stays shop/p ");
  });

  test("a stand-in goes with its policy: removed, or not told any more on a new stream", () => {
    const bad = { "shop/p": policy({ scope: 1, action: BAD_ACTION }) };
    type.apply(part(bad));
    type.apply(part({}, ["shop/p"]));
    expect(allowed()).toBe(true);
    type.apply(part(bad));
    type.apply(part({}));
    expect(allowed()).toBe(false);
    type.apply(part(bad, [], true));
    expect(allowed()).toBe(false);
    type.apply(part({}, [], true));
    expect(allowed()).toBe(true);
    expect(mesh.policies.size).toBe(0);
  });
});
