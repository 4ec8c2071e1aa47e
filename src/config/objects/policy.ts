/** AuthorizationPolicy and PeerAuthentication (security.istio.io) in the shapes of policy/kubernetes.ts. Loads zod. */
import { z } from "zod/v3";
import { parseCidr } from "../../net/address.ts";
import { U16 } from "../variables.ts";
import { issue, labels, later, object, refused, targetRef, text } from "./common.ts";

const selector = z.object({ matchLabels: labels.optional(), matchExpressions: later("matchExpressions") }).strict()
  .optional();
const values = z.array(z.string().min(1)).optional();
const SPIFFE = "spiffe://";

/** Istio compares principals as they are written, and an identity has no scheme there. */
const principal = z.string().min(1).superRefine((value, context) => {
  if (value.startsWith(SPIFFE)) {
    const message = `principals are written without ${SPIFFE}: ${value.slice(SPIFFE.length)}`;
    context.addIssue({ code: z.ZodIssueCode.custom, message });
  }
});
const principals = z.array(principal).optional();
const ranges = z.array(text("an address or CIDR", (value) => parseCidr(value) !== undefined)).optional();
const ports = z.array(text("a port", (value) => /^[0-9]{1,5}$/.test(value) && Number(value) <= U16)).optional();
const tokens = later("a token's claim (RequestAuthentication)");

const source = z.object({
  principals,
  notPrincipals: principals,
  requestPrincipals: tokens,
  notRequestPrincipals: tokens,
  namespaces: values,
  notNamespaces: values,
  serviceAccounts: values,
  notServiceAccounts: values,
  trustDomains: values,
  notTrustDomains: values,
  ipBlocks: ranges,
  notIpBlocks: ranges,
  remoteIpBlocks: ranges,
  notRemoteIpBlocks: ranges,
}).strict();

const operation = z.object({
  hosts: values,
  notHosts: values,
  ports,
  notPorts: ports,
  methods: values,
  notMethods: values,
  paths: values,
  notPaths: values,
}).strict();

const condition = z.object({ key: z.string().min(1), values, notValues: values }).strict()
  .superRefine((value, context) => {
    if (value.key.startsWith("request.auth.")) {
      issue(context, ["key"], "a token's claim (RequestAuthentication) is not in this version");
    }
    for (const field of value.key === "source.principal" ? ["values", "notValues"] as const : []) {
      for (const [i, text] of (value[field] ?? []).entries()) {
        if (!text.startsWith(SPIFFE)) continue;
        issue(context, [field, i], `principals are written without ${SPIFFE}: ${text.slice(SPIFFE.length)}`);
      }
    }
    if ((value.values ?? []).length === 0 && (value.notValues ?? []).length === 0) {
      issue(context, [], "needs values or notValues");
    }
  });

const rule = z.object({
  from: z.array(z.object({ source: source.optional() }).strict()).optional(),
  to: z.array(z.object({ operation: operation.optional() }).strict()).optional(),
  when: z.array(condition).optional(),
}).strict();

export const authorizationPolicy = object(
  ["security.istio.io/v1", "security.istio.io/v1beta1"],
  "AuthorizationPolicy",
  z.object({
    selector,
    targetRef: targetRef.optional(),
    targetRefs: z.array(targetRef).optional(),
    action: z.enum(["ALLOW", "DENY", "AUDIT"], {
      errorMap: (_, { data }) => ({
        message: data === "CUSTOM"
          ? "action CUSTOM (external authorization) is not in this version"
          : `expected ALLOW or DENY or AUDIT, got ${JSON.stringify(data)}`,
      }),
    }).optional().describe("Default: ALLOW"),
    provider: later("an authorization provider"),
    rules: z.array(rule).optional(),
  }).strict().superRefine((spec, context) => {
    const targets = spec.targetRefs?.length ? "targetRefs" : spec.targetRef ? "targetRef" : undefined;
    if (spec.selector !== undefined && targets !== undefined) issue(context, [targets], "not with selector");
    if (spec.targetRef !== undefined && spec.targetRefs !== undefined) {
      issue(context, ["targetRefs"], "not with targetRef");
    }
  }),
);

const mutualTls = z.object({ mode: z.enum(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]).optional() }).strict();

export const peerAuthentication = object(
  ["security.istio.io/v1", "security.istio.io/v1beta1"],
  "PeerAuthentication",
  z.object({
    selector,
    mtls: mutualTls.optional(),
    portLevelMtls: z.record(
      text("a port", (value) => /^[0-9]{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= U16),
      mutualTls,
    ).optional(),
    targetRef: refused("PeerAuthentication is attached by selector"),
    targetRefs: refused("PeerAuthentication is attached by selector"),
  }).strict(),
);

export type AuthorizationPolicyYaml = z.infer<typeof authorizationPolicy>;
export type PeerAuthenticationYaml = z.infer<typeof peerAuthentication>;
