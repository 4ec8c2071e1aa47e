/** Short ways to write requests, RBAC filters and AuthorizationPolicies. */
import type { RequestHead } from "../../src/http/message.ts";
import {
  type AuthorizationPolicy,
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  authorizationToRbac,
  type CompiledRbac,
  compileRbac,
  type Permission,
  type Principal,
  type Rbac,
  type RbacAction,
  type RequestFacts,
} from "../../src/policy/mod.ts";

export const CLIENT = "spiffe://cluster.local/ns/shop/sa/client";

interface RequestGiven extends Partial<Omit<RequestFacts, "head">> {
  readonly head?: Partial<RequestHead>;
}

/** GET /items of the client in shop; `head.path` is the path with its query. */
export function request(given: RequestGiven = {}): RequestFacts {
  const head: RequestHead = {
    method: "GET",
    scheme: "http",
    authority: "web.shop.svc.cluster.local",
    path: "/items",
    protocol: "HTTP/1.1",
    fields: [],
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
    ...given.head,
  };
  const query = head.path.indexOf("?");
  return {
    peerPrincipal: CLIENT,
    directRemoteIp: "10.244.0.1",
    remoteIp: "10.244.0.1",
    destination: { ip: "10.96.0.10", port: 80 },
    serverName: undefined,
    path: query < 0 ? head.path : head.path.slice(0, query),
    metadata: undefined,
    ...given,
    head,
  };
}

export function tcp(given: Partial<Omit<RequestFacts, "head" | "path">> = {}): RequestFacts {
  return { ...request(), ...given, head: undefined, path: "" };
}

export function at(path: string): RequestFacts {
  return request({ head: { path } });
}

/** The compiled form; throws what is wrong. */
export function engine(...filters: readonly Rbac[]): CompiledRbac {
  const result = compileRbac(filters);
  if (!result.ok) throw new Error(result.error);
  return result.rbac;
}

/** A filter of one enforced rule, `rule`. */
export function filter(
  action: RbacAction,
  permission: Permission = { kind: "any" },
  principal: Principal = { kind: "any" },
): Rbac {
  return {
    action,
    policies: [{ name: "rule", permissions: [permission], principals: [principal] }],
    shadow: undefined,
  };
}

export function authorization(
  spec: AuthorizationPolicySpec,
  given: { readonly name?: string; readonly namespace?: string; readonly annotations?: Record<string, string> } = {},
): AuthorizationPolicy {
  const { name = "p", namespace = "shop", annotations } = given;
  return { metadata: { name, namespace, annotations }, spec };
}

/** A policy of one rule, compiled; problems other than warnings are errors. */
export function policyEngine(
  action: "ALLOW" | "DENY",
  rule: AuthorizationRule,
  forHttp = true,
): CompiledRbac {
  const { filters, problems } = authorizationToRbac([authorization({ action, rules: [rule] })], {
    trustDomains: ["cluster.local"],
    forHttp,
    readsServerName: true,
    chain: "the chain",
    port: undefined,
  });
  for (const { kind, message } of problems) if (kind !== "warning") throw new Error(message);
  return engine(...filters);
}
