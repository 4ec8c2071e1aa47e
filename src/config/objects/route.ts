/** HTTPRoute, GRPCRoute and TCPRoute of the Gateway API. Loads zod. */
import { z } from "zod/v3";
import { headerName, issue, later, object, refused } from "./common.ts";
import {
  absolutePath,
  backendRef,
  filteredBackendRef,
  grpcFilter,
  httpFilter,
  parentRef,
  retry,
  timeouts,
} from "./route_filter.ts";

const hostnames = z.array(z.string()).optional().describe("No effect on routes of services");
const parentRefs = z.array(parentRef).optional();
const ruleName = z.string().min(1).max(253).optional();
const matchType = z.enum(["Exact", "RegularExpression"]).optional();

const headerMatch = z.object({ type: matchType, name: headerName, value: z.string() }).strict();
const queryMatch = z.object({ type: matchType, name: z.string().min(1), value: z.string() }).strict();

const pathMatch = z.object({
  type: z.enum(["Exact", "PathPrefix", "RegularExpression"]).optional().describe("Default: PathPrefix"),
  value: z.string().optional().describe("Default: /"),
}).strict().superRefine(({ type, value }, context) => {
  if (type === "RegularExpression" || value === undefined) return;
  const result = absolutePath.safeParse(value);
  if (!result.success) issue(context, ["value"], result.error.issues[0]!.message);
});

const httpMatch = z.object({
  path: pathMatch.optional(),
  headers: z.array(headerMatch).optional(),
  queryParams: z.array(queryMatch).optional(),
  method: z.enum(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]).optional(),
}).strict();

type Filter = z.infer<typeof httpFilter>;

/** Kinds of filter that a rule may have once, and that exclude each other. */
function checkFilters(filters: readonly { readonly type: string }[], context: z.RefinementCtx): void {
  const seen = new Set<string>();
  for (const [i, { type }] of filters.entries()) {
    if (type !== "RequestMirror" && seen.has(type)) {
      issue(context, ["filters", i, "type"], `a second ${type} in one rule`);
    }
    seen.add(type);
  }
  if (seen.has("RequestRedirect") && seen.has("URLRewrite")) {
    const at = filters.findIndex(({ type }) => type === "URLRewrite");
    issue(context, ["filters", at, "type"], "URLRewrite and RequestRedirect exclude each other");
  }
}

/** ReplacePrefixMatch needs a prefix that was matched. */
function checkPrefix(
  rule: { filters?: Filter[] | undefined; matches?: HttpMatch[] | undefined },
  context: z.RefinementCtx,
) {
  const at = (rule.filters ?? []).findIndex(({ urlRewrite, requestRedirect }) =>
    (urlRewrite?.path ?? requestRedirect?.path)?.type === "ReplacePrefixMatch"
  );
  if (at < 0) return;
  for (const match of rule.matches ?? []) {
    if ((match.path?.type ?? "PathPrefix") === "PathPrefix") continue;
    issue(context, ["filters", at], "ReplacePrefixMatch needs matches of type PathPrefix");
    return;
  }
}

const httpRule = z.object({
  name: ruleName,
  matches: z.array(httpMatch).optional(),
  filters: z.array(httpFilter).optional(),
  backendRefs: z.array(filteredBackendRef).optional(),
  timeouts: timeouts.optional(),
  retry: retry.optional(),
  sessionPersistence: later("session persistence"),
}).strict().superRefine((rule, context) => {
  checkFilters(rule.filters ?? [], context);
  checkPrefix(rule, context);
  const redirect = (rule.filters ?? []).some(({ type }) => type === "RequestRedirect");
  if (redirect && (rule.backendRefs ?? []).length > 0) {
    issue(context, ["backendRefs"], "a rule with RequestRedirect has no backends");
  }
});

export const httpRoute = object(
  ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
  "HTTPRoute",
  z.object({
    parentRefs,
    hostnames,
    rules: z.array(httpRule).optional().describe("Default: one rule that matches all"),
    useDefaultGateways: refused("there are no default gateways inside the mesh"),
  }).strict(),
);

const grpcMethod = z.object({
  type: matchType,
  service: z.string().min(1).optional(),
  method: z.string().min(1).optional(),
}).strict().superRefine(({ service, method }, context) => {
  if (service === undefined && method === undefined) issue(context, [], "needs service or method");
});

const grpcRule = z.object({
  name: ruleName,
  matches: z.array(
    z.object({ method: grpcMethod.optional(), headers: z.array(headerMatch).optional() }).strict(),
  ).optional(),
  filters: z.array(grpcFilter).optional(),
  backendRefs: z.array(filteredBackendRef).optional(),
  sessionPersistence: later("session persistence"),
}).strict().superRefine((rule, context) => checkFilters(rule.filters ?? [], context));

export const grpcRoute = object(
  ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"],
  "GRPCRoute",
  z.object({
    parentRefs,
    hostnames,
    rules: z.array(grpcRule).optional().describe("Default: one rule that matches all"),
    useDefaultGateways: refused("there are no default gateways inside the mesh"),
  }).strict(),
);

export const tcpRoute = object(
  ["gateway.networking.k8s.io/v1alpha2", "gateway.networking.k8s.io/v1"],
  "TCPRoute",
  z.object({
    parentRefs,
    rules: z.array(z.object({ name: ruleName, backendRefs: z.array(backendRef).optional() }).strict()).min(1),
    useDefaultGateways: refused("there are no default gateways inside the mesh"),
  }).strict(),
);

type HttpMatch = z.infer<typeof httpMatch>;
export type HttpRoute = z.infer<typeof httpRoute>;
export type HttpRule = z.infer<typeof httpRule>;
export type GrpcRoute = z.infer<typeof grpcRoute>;
export type GrpcRule = z.infer<typeof grpcRule>;
export type TcpRoute = z.infer<typeof tcpRoute>;
