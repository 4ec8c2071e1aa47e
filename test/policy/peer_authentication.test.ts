import { describe, expect, test } from "bun:test";
import {
  authorize,
  formatProblem,
  type MutualTlsMode,
  newMatch,
  type PeerAuthentication,
  type PeerAuthenticationSpec,
  peerAuthenticationToPolicies,
  PolicyIndex,
} from "../../src/policy/mod.ts";
import { flow, plaintext } from "./fixtures.ts";

const OPTIONS = { rootNamespace: "istio-system" };
const STATIC = "istio-system/istio_converted_static_strict";

function peer(
  namespace: string,
  name: string,
  spec: PeerAuthenticationSpec,
  creationTimestamp?: string,
): PeerAuthentication {
  return { metadata: { namespace, name, creationTimestamp }, spec };
}

function mode(mode: MutualTlsMode): PeerAuthenticationSpec {
  return { mtls: { mode } };
}

const DB = { selector: { matchLabels: { app: "db" } } };
const db = { namespace: "shop", labels: { app: "db" } };
const web = { namespace: "shop", labels: { app: "web" } };

describe("PeerAuthentication at layer 4", () => {
  test("none: nothing; any: the static policy is there", () => {
    expect(peerAuthenticationToPolicies([], OPTIONS).policies).toEqual([]);
    const { policies, policiesOf } = peerAuthenticationToPolicies(
      [peer("istio-system", "default", mode("PERMISSIVE"))],
      OPTIONS,
    );
    expect(policies).toEqual([{
      namespace: "istio-system",
      name: "istio_converted_static_strict",
      scope: "WorkloadSelector",
      action: "Deny",
      rules: [[[newMatch({ notPrincipals: [{ kind: "presence" }] })]]],
      dryRun: false,
    }]);
    expect(policiesOf(db)).toEqual([]);
  });

  test("a port that is exempt from STRICT, as istiod writes it", () => {
    const { policies, policiesOf } = peerAuthenticationToPolicies([
      peer("shop", "db-ports", { ...DB, ...mode("STRICT"), portLevelMtls: { "5433": { mode: "PERMISSIVE" } } }),
    ], OPTIONS);
    expect(policies[0]).toEqual({
      namespace: "shop",
      name: "converted_peer_authentication_db-ports",
      scope: "WorkloadSelector",
      action: "Deny",
      rules: [[
        [newMatch({ notPrincipals: [{ kind: "presence" }] })],
        [newMatch({ notDestinationPorts: [5433] })],
      ]],
      dryRun: false,
    });
    expect(policiesOf(db)).toEqual(["shop/converted_peer_authentication_db-ports"]);
    expect(policiesOf(web)).toEqual([]);
  });

  /** mesh, namespace, workload, ports of the workload → ports on which plaintext is denied, of 1, 2 and 3 */
  const U = undefined;
  const TABLE: [
    MutualTlsMode | undefined,
    MutualTlsMode | undefined,
    MutualTlsMode | undefined,
    Record<string, MutualTlsMode>,
    number[],
  ][] = [
    [U, U, U, {}, []],
    ["STRICT", U, U, {}, [1, 2, 3]],
    ["STRICT", "UNSET", U, {}, [1, 2, 3]],
    ["STRICT", "PERMISSIVE", U, {}, []],
    ["STRICT", "DISABLE", U, {}, []],
    ["PERMISSIVE", "STRICT", U, {}, [1, 2, 3]],
    [U, "STRICT", "UNSET", {}, [1, 2, 3]],
    [U, "STRICT", "PERMISSIVE", {}, []],
    ["STRICT", U, "DISABLE", {}, []],
    [U, U, "STRICT", {}, [1, 2, 3]],
    [U, U, "STRICT", { 1: "PERMISSIVE" }, [2, 3]],
    [U, U, "STRICT", { 1: "PERMISSIVE", 2: "DISABLE", 3: "STRICT" }, [3]],
    [U, U, "STRICT", { 1: "STRICT" }, [1, 2, 3]],
    [U, U, "STRICT", { 1: "UNSET" }, [1, 2, 3]],
    [U, U, "PERMISSIVE", { 1: "STRICT" }, [1]],
    [U, U, "PERMISSIVE", { 1: "STRICT", 2: "STRICT", 3: "PERMISSIVE" }, [1, 2]],
    [U, U, "DISABLE", { 1: "PERMISSIVE" }, []],
    ["STRICT", U, "PERMISSIVE", { 1: "STRICT" }, [1]],
    ["STRICT", U, U, { 1: "PERMISSIVE" }, [2, 3]],
    ["STRICT", U, U, { 1: "DISABLE" }, [2, 3]],
    ["STRICT", U, "UNSET", { 1: "STRICT" }, [1, 2, 3]],
    [U, "STRICT", "UNSET", { 1: "PERMISSIVE", 2: "STRICT" }, [2, 3]],
    ["STRICT", "PERMISSIVE", "UNSET", { 1: "STRICT" }, [1]],
    [U, U, "UNSET", { 1: "STRICT", 2: "PERMISSIVE" }, [1]],
  ];
  test.each(TABLE)(
    "mesh %p, namespace %p, workload %p, ports %j: plaintext denied on %j",
    (mesh, namespace, workload, ports, denied) => {
      const objects: PeerAuthentication[] = [];
      if (mesh !== undefined) objects.push(peer("istio-system", "mesh", mode(mesh)));
      if (namespace !== undefined) objects.push(peer("shop", "namespace", mode(namespace)));
      if (workload !== undefined || Object.keys(ports).length > 0) {
        const portLevelMtls = Object.fromEntries(Object.entries(ports).map(([port, mode]) => [port, { mode }]));
        objects.push(peer("shop", "workload", { ...DB, ...(workload && mode(workload)), portLevelMtls }));
      }
      const { policies, policiesOf, problems } = peerAuthenticationToPolicies(objects, OPTIONS);
      expect(problems).toEqual([]);
      const set = new PolicyIndex(policies).for({ namespace: "shop", authorizationPolicies: policiesOf(db) });
      expect(set.missing).toEqual([]);
      const refused = [1, 2, 3].filter((destinationPort) => !authorize(set, plaintext({ destinationPort })).allowed);
      expect(refused).toEqual(denied);
      for (const destinationPort of [1, 2, 3]) expect(authorize(set, flow({ destinationPort })).allowed).toBe(true);
      // Other workloads of the namespace: nothing of the selector, and the mesh's word elsewhere.
      const meshStrict = mesh === "STRICT";
      const own = namespace === undefined || namespace === "UNSET" ? meshStrict : namespace === "STRICT";
      expect(policiesOf(web)).toEqual(own ? [STATIC] : []);
      expect(policiesOf({ ...db, namespace: "bank" })).toEqual(meshStrict ? [STATIC] : []);
    },
  );

  test("of objects in conflict the oldest counts, on each level", () => {
    const early = "2024-01-01T00:00:00Z";
    const late = "2025-01-01T00:00:00Z";
    for (const [namespace, spec] of [["istio-system", {}], ["shop", {}], ["shop", DB]] as const) {
      const strict = (time: string | undefined) => peer(namespace, "s", { ...spec, ...mode("STRICT") }, time);
      const permissive = (time: string | undefined) => peer(namespace, "p", { ...spec, ...mode("PERMISSIVE") }, time);
      const of = (...objects: PeerAuthentication[]) => peerAuthenticationToPolicies(objects, OPTIONS).policiesOf(db);
      expect(of(strict(early), permissive(late))).toEqual([STATIC]);
      expect(of(permissive(late), strict(early))).toEqual([STATIC]);
      expect(of(strict(late), permissive(early))).toEqual([]);
      expect(of(strict(undefined), permissive(early))).toEqual([]);
      expect(of(strict(undefined), permissive(undefined))).toEqual([STATIC]);
    }
  });

  test("what is ignored or wrong is told with its place", () => {
    const { problems } = peerAuthenticationToPolicies([
      peer("istio-system", "root", { ...DB, ...mode("STRICT") }),
      peer("shop", "ports", { portLevelMtls: { "80": { mode: "STRICT" } } }),
      peer("shop", "bad", { ...DB, portLevelMtls: { http: { mode: "STRICT" } } }),
    ], OPTIONS);
    expect(problems.map((problem) => `${problem.kind} ${formatProblem(problem)}`)).toEqual([
      "warning PeerAuthentication istio-system/root: spec.selector: " +
      "a selector in the root namespace selects nothing: the object is ignored",
      "warning PeerAuthentication shop/ports: spec.portLevelMtls.80: ignored without a selector",
      'invalid PeerAuthentication shop/bad: spec.portLevelMtls.http: not a port "http"',
    ]);
  });
});
