/** Chains and clusters that the cases run against. */
import type { HeaderMatch, PathMatch, StringMatch } from "../../../src/matching/mod.ts";
import type { Permission, Principal, Rbac } from "../../../src/policy/mod.ts";
import { cluster, OPTIONS } from "../../waypoint/harness.ts";
import type { Chain, Cluster, HttpOptions, Route } from "../../../src/waypoint/snapshot/mod.ts";
import { MAIN } from "./main_routes.ts";
import { at, exact, exactPath, header, NONE, prefix } from "./route_builders.ts";

const SERVICE = { host: "web.shop.svc.cluster.local", name: "web", namespace: "shop" };

const OTHER: readonly Route[] = MAIN.filter(({ match: { path } }) => "value" in path && path.value === "/");

function chain(
  name: string,
  routes: readonly Route[],
  more: { options?: Partial<HttpOptions>; authorization?: readonly Rbac[] } = {},
): Chain {
  return {
    kind: "http",
    name,
    service: SERVICE,
    authorization: more.authorization ?? [],
    unsupported: [],
    telemetry: { accessLogs: [], metrics: undefined },
    options: { ...OPTIONS, ...more.options },
    routes: {
      name,
      virtualHosts: [{
        name: "inbound|http|80",
        domains: ["*"],
        routes,
        requestHeaders: NONE,
        responseHeaders: NONE,
      }],
      requestHeaders: NONE,
      responseHeaders: NONE,
    },
  };
}

const rule = (
  name: string,
  permissions: readonly Permission[],
  principals: readonly Principal[] = [{ kind: "any" }],
) => ({
  name: `ns[shop]-policy[${name}]-rule[0]`,
  permissions,
  principals,
});
const path = (match: PathMatch | StringMatch): Permission => ({ kind: "path", match });
const field = (match: HeaderMatch): Permission => ({ kind: "header", header: match });

/** Each is one DENY policy of its own, so that 403 means "it matched"; the name is the chain's. */
const CONDITIONS: Readonly<Record<string, readonly [Permission, Principal?]>> = {
  "path-exact": [path(exact("/a/b"))],
  "path-prefix": [path({ kind: "prefix", value: "/a/" })],
  "path-suffix": [path({ kind: "suffix", value: "/b" })],
  "path-template": [path({ kind: "template", template: "/a/{*}/c/{**}" })],
  "path-template-tail": [path({ kind: "template", template: "/a/{**}" })],
  "path-template-suffix": [path({ kind: "template", template: "/a/{**}/z.txt" })],
  "method": [field(header(":method", exact("PUT")))],
  "host": [field(header(":authority", exact("web.test", true)))],
  "host-prefix": [field(header(":authority", { kind: "prefix", value: "web", ignoreCase: true }))],
  "header": [{ kind: "any" }, { kind: "header", header: header("x-one", exact("v")) }],
  "header-prefix": [{ kind: "any" }, { kind: "header", header: header("x-one", { kind: "prefix", value: "v" }) }],
  "header-suffix": [{ kind: "any" }, { kind: "header", header: header("x-one", { kind: "suffix", value: "v" }) }],
  "header-present": [{ kind: "any" }, { kind: "header", header: header("x-one", { kind: "present" }) }],
  "not-header": [{ kind: "any" }, { kind: "not", id: { kind: "header", header: header("x-one", exact("v")) } }],
  "principal": [{ kind: "any" }, { kind: "peer-principal", match: exact("spiffe://cluster.local/ns/shop/sa/client") }],
  "principal-other": [{ kind: "any" }, {
    kind: "peer-principal",
    match: exact("spiffe://cluster.local/ns/shop/sa/other"),
  }],
  "namespace": [{ kind: "any" }, { kind: "peer-principal", match: { kind: "regex", regex: ".*/ns/shop/.*" } }],
  "direct-ip": [{ kind: "any" }, { kind: "direct-remote-ip", cidr: "127.0.0.0/8" }],
  "remote-ip": [{ kind: "any" }, { kind: "remote-ip", cidr: "10.1.0.0/16" }],
};

export const CHAINS: readonly Chain[] = [
  chain("main", MAIN),
  chain("narrow", [
    at(exactPath("/only")),
    at(prefix("/get"), { match: { headers: [header(":method", exact("GET"))] } }),
  ]),
  chain(
    "h2",
    MAIN.map((item) =>
      item.action.kind !== "forward" ? item : {
        ...item,
        action: {
          ...item.action,
          clusters: item.action.clusters.map((target) =>
            target.cluster === "h1" ? { ...target, cluster: "h2" } : target
          ),
        },
      }
    ),
  ),
  chain("continue", MAIN, { options: { proxy100Continue: true } }),
  chain("http10", OTHER, { options: { acceptHttp10: true } }),
  chain("raw-path", OTHER, { options: { normalizePath: false } }),
  chain("merge", OTHER, { options: { mergeSlashes: true } }),
  ...Object.entries(CONDITIONS).map(([name, [permission, principal]]) =>
    chain(`deny-${name}`, OTHER, {
      authorization: [{
        action: "DENY",
        policies: [rule(name, [permission], [principal ?? { kind: "any" }])],
        shadow: undefined,
      }],
    })
  ),
  chain("allow-none", OTHER, { authorization: [{ action: "ALLOW", policies: [], shadow: undefined }] }),
  chain("allow-get", MAIN, {
    authorization: [{
      action: "ALLOW",
      policies: [rule("get", [field(header(":method", exact("GET")))])],
      shadow: undefined,
    }],
  }),
];

const local = (name: string, address: string | undefined, more: Partial<Cluster> = {}): Cluster => ({
  ...cluster(address === undefined ? [] : [address]),
  name,
  ...more,
});

export const CLUSTERS: readonly Cluster[] = [
  local("h1", "h1"),
  local("h2", "h2", { protocol: "http2" }),
  local("shadow", "h1"),
  local("refused", "127.0.0.1:9"),
  local("empty", undefined),
];
