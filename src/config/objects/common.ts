/** Pieces that the schemas of several kinds share. Loads zod. */
import { z } from "zod/v3";
import { U16, U32 } from "../variables.ts";
import { parseDuration } from "./duration.ts";

/** A field that exists in the API and has no effect here yet: it is refused by its name, never ignored. */
export function later(what: string) {
  return z.never({ errorMap: () => ({ message: `${what} is not in this version` }) })
    .optional().describe("Not in this version");
}

/** A field that has no meaning where this object is read; `why` is the whole sentence. */
export function refused(why: string) {
  return z.never({ errorMap: () => ({ message: why }) }).optional().describe(why);
}

/** A text that `valid` accepts; else the error says that it is not `what`. */
export function text(what: string, valid: (text: string) => boolean) {
  return z.string().superRefine((value, context) => {
    if (!valid(value)) {
      context.addIssue({ code: z.ZodIssueCode.custom, message: `not ${what} ${JSON.stringify(value)}` });
    }
  });
}

/** Adds an error at a path inside the value that is being refined. */
export function issue(context: z.RefinementCtx, path: (string | number)[], message: string): void {
  context.addIssue({ code: z.ZodIssueCode.custom, path, message });
}

/** RFC 1123 label or subdomain, as Kubernetes' names are. */
const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
/** RFC 9110 token. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export const objectName = text("a name", (value) => value.length <= 253 && NAME.test(value));
export const headerName = text("a header name", (value) => value.length <= 256 && TOKEN.test(value));
export const port = z.number().int().min(1).max(U16);
export const u32 = z.number().int().min(0).max(U32);
export const labels = z.record(z.string());
export const duration = text(
  'a duration such as "1m30s", "2.5s" or "100ms"',
  (value) => parseDuration(value) !== undefined,
).describe("e.g. 10s, 100ms, 1h30m");

/** Fields that a cluster writes into what it gives back; they have no effect. */
const written = z.unknown().describe("Written by Kubernetes; no effect");

export const metadata = z.object({
  name: objectName,
  namespace: objectName.optional().describe("Default: default"),
  labels: labels.optional(),
  annotations: labels.optional(),
  creationTimestamp: text("a time (RFC 3339)", (value) => !Number.isNaN(Date.parse(value))).nullable().optional()
    .describe("Of objects in conflict the oldest counts"),
  uid: written,
  resourceVersion: written,
  generation: written,
  generateName: written,
  managedFields: written,
  ownerReferences: written,
  finalizers: written,
  selfLink: written,
}).strict();

/** The shape around the spec of one kind. */
export function object<Kind extends string, Spec extends z.ZodTypeAny>(
  apiVersions: readonly [string, ...string[]],
  kind: Kind,
  spec: Spec,
) {
  return z.object({
    apiVersion: z.enum(apiVersions as [string, ...string[]]),
    kind: z.literal(kind),
    metadata,
    spec,
    status: written,
  }).strict();
}

/** What a policy or Telemetry is attached to. */
export const targetRef = z.object({
  group: z.string().optional().describe("Empty or core for a Service, gateway.networking.k8s.io for the others"),
  kind: z.enum(["Service", "Gateway", "GatewayClass"], {
    errorMap: () => ({ message: "expected Service, Gateway or GatewayClass" }),
  }),
  name: objectName,
  namespace: objectName.optional().describe("The policy's own, the only one allowed"),
}).strict();

export type TargetRef = z.infer<typeof targetRef>;
