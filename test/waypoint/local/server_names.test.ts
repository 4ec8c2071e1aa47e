/** Policies about connection.sni, and which chains know the server name. */
import { describe, expect, test } from "bun:test";
import { readsServerName } from "../../../src/policy/mod.ts";
import { compile, GATEWAY, object, OPTIONS, show } from "./fixture.ts";
import { parseLocalState } from "../../../src/config/local_parse.ts";

const PORTS = { 80: "HTTP", 90: undefined, 443: "HTTPS", 444: "TLS", 60: "TCP", 27017: "MONGO" } as const;
const NAMES = "{" + Object.keys(PORTS).map((port) => `${port}: ${port}`).join() + "}";
const PROTOCOLS = Object.entries(PORTS).filter(([, protocol]) => protocol !== undefined)
  .map(([port, protocol]) => `${port}: ${protocol}`).join();
const MESH = `
workloads:
- {name: web-1, workloadIps: [10.0.0.1], protocol: HBONE, namespace: shop, serviceAccount: web,
  services: {shop/web.shop.svc.cluster.local: ${NAMES}}}
- {name: wp-x, namespace: shop, serviceAccount: wp, workloadIps: [10.0.0.9], protocol: HBONE, services: {}}
- {name: direct, namespace: shop, serviceAccount: direct, workloadIps: [10.0.0.8], protocol: HBONE, services: {},
  waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}
services:
- {name: web, namespace: shop, hostname: web.shop.svc.cluster.local, vips: [/10.96.0.1], ports: ${NAMES},
  appProtocols: {${PROTOCOLS}}, waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}
`;

const policy = (action: string, target: string, list = "values") =>
  object(
    "security.istio.io/v1",
    "AuthorizationPolicy",
    `{action: ${action}, targetRefs: [${target}], rules: [{when: [{key: connection.sni, ${list}: [a.example]}]}]}`,
  );
const SERVICE = "{kind: Service, name: web}";
const WAYPOINT = "{group: gateway.networking.k8s.io, kind: Gateway, name: wp}";

function load(...objects: readonly string[]) {
  const result = parseLocalState([{ path: "a.yaml", text: [MESH, GATEWAY, ...objects].join("\n---\n") }], {
    waypoint: OPTIONS,
  });
  if (!result.ok || result.waypoint === undefined) throw new Error(result.ok ? "" : result.errors.map(show).join("\n"));
  const warnings = result.warnings.map(({ message }) => message).filter((text) => text.includes("connection.sni"));
  return { chains: Object.values(result.waypoint.chains), warnings };
}

test("ports declared TLS or HTTPS are inspected, no other ones", () => {
  const inspected = load().chains.filter((chain) => chain.kind === "tcp" && chain.inspectTls);
  expect(inspected.map(({ name }) => name).sort()).toEqual([
    "inbound-vip|443|tcp|web.shop.svc.cluster.local",
    "inbound-vip|444|tcp|web.shop.svc.cluster.local",
  ]);
  expect(Object.values(compile([]).chains).some((chain) => chain.kind === "tcp" && chain.inspectTls)).toBe(false);
});

describe("a policy that asks for the server name", () => {
  const cases = ["ALLOW", "DENY", "AUDIT"].flatMap((action) =>
    [SERVICE, WAYPOINT].flatMap((target) => ["values", "notValues"].map((list) => [action, list, target] as const))
  );
  test.each(cases)("%s of %s at %s: where it is not known the condition is not used, and a warning names the port", (
    action,
    list,
    target,
  ) => {
    const { chains, warnings } = load(policy(action, target, list));
    const asking = chains.filter(({ authorization }) => JSON.stringify(authorization).includes("server-name"));
    expect(asking.every((chain) => chain.kind === "tcp" && chain.inspectTls)).toBe(true);
    expect(asking).toHaveLength(2);
    if (action !== "AUDIT") expect(asking.every(({ authorization }) => readsServerName(authorization))).toBe(true);
    const places = ["27017", "60", "80", "90"].map((port) => `port ${port} of service shop/web.shop.svc.cluster.local`);
    if (target === WAYPOINT) places.push("addresses of workloads");
    expect(warnings.map((text) => /^(?:.*: )?at (.*) no policy can/.exec(text)?.[1]).sort()).toEqual(places.sort());
  });
});
