/** Filters, references and timeouts that the routes of the Gateway API share. Loads zod. */
import { z } from "zod/v3";
import { parseDuration } from "./duration.ts";
import { duration, headerName, issue, later, objectName, port, refused, text } from "./common.ts";

export const parentRef = z.object({
  group: z.string().optional().describe("Default: gateway.networking.k8s.io; empty or core for a Service"),
  kind: z.string().optional().describe("Default: Gateway; Service for a route inside the mesh"),
  namespace: objectName.optional(),
  name: objectName,
  sectionName: refused("services of the mesh document have no names of ports: use port"),
  port: port.optional().describe("Only this port of the service"),
}).strict();

const header = z.object({ name: headerName, value: z.string() }).strict();

/** The authority can be replaced, not taken away. */
function removable(name: string): boolean {
  return headerName.safeParse(name).success && name.toLowerCase() !== "host";
}

const headerModifier = z.object({
  set: z.array(header).optional(),
  add: z.array(header).optional(),
  remove: z.array(text("a header that can be removed", removable)).optional(),
}).strict();

const absolutePath = text("a path beginning with /", (value) => value.startsWith("/"));

const pathModifier = z.object({
  type: z.enum(["ReplaceFullPath", "ReplacePrefixMatch"]),
  replaceFullPath: absolutePath.optional(),
  replacePrefixMatch: text("a path beginning with /", (value) => value === "" || value.startsWith("/")).optional(),
}).strict().superRefine((value, context) => {
  oneOf(context, value, { ReplaceFullPath: "replaceFullPath", ReplacePrefixMatch: "replacePrefixMatch" });
});

/** Exactly the field that belongs to the type must be there. */
function oneOf(
  context: z.RefinementCtx,
  value: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, string>>,
): void {
  const type = value["type"] as string;
  for (const [name, field] of Object.entries(fields)) {
    if (name === type && value[field] === undefined) issue(context, [field], `required with type ${type}`);
    if (name !== type && value[field] !== undefined) issue(context, [field], `not with type ${type}`);
  }
}

const backendReference = {
  group: z.string().optional(),
  kind: z.string().optional(),
  namespace: objectName.optional(),
  name: z.string(),
  port: port.optional(),
};
const weight = z.number().int().min(0).max(1_000_000).optional().describe("Default: 1");

const requestMirror = z.object({
  backendRef: z.object(backendReference).strict(),
  percent: z.number().int().min(0).max(100).optional(),
  fraction: z.object({
    numerator: z.number().int().min(0),
    denominator: z.number().int().min(1).optional().describe("Default: 100"),
  }).strict().optional(),
}).strict().superRefine((value, context) => {
  if (value.percent !== undefined && value.fraction !== undefined) issue(context, ["fraction"], "not with percent");
  const { numerator, denominator = 100 } = value.fraction ?? { numerator: 0 };
  if (numerator > denominator) issue(context, ["fraction", "numerator"], "more than the denominator");
});

const requestRedirect = z.object({
  scheme: z.enum(["http", "https"]).optional(),
  hostname: z.string().min(1).optional(),
  path: pathModifier.optional(),
  port: port.optional(),
  statusCode: z.union(
    [z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)],
    { errorMap: () => ({ message: "expected 301, 302, 303, 307 or 308" }) },
  ).optional().describe("Default: 302"),
}).strict();

const urlRewrite = z.object({ hostname: z.string().min(1).optional(), path: pathModifier.optional() }).strict();

const cors = z.object({
  allowOrigins: z.array(z.string().min(1)).optional(),
  allowCredentials: z.boolean().optional(),
  allowMethods: z.array(z.string().min(1)).optional(),
  allowHeaders: z.array(z.string().min(1)).optional(),
  exposeHeaders: z.array(z.string().min(1)).optional(),
  maxAge: z.number().int().min(0).optional().describe("Seconds; default 5"),
}).strict();

const HTTP_FILTERS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect",
  URLRewrite: "urlRewrite",
  CORS: "cors",
} as const;
const GRPC_FILTERS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
} as const;
const BACKEND_FILTERS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  URLRewrite: "urlRewrite",
} as const;

/** `expected A or B; X is not in this version` for the types of a filter. */
function filterType<T extends string>(allowed: readonly T[]) {
  return z.enum(allowed as [T, ...T[]], {
    errorMap: (_, { data }) => ({
      message: `filter ${JSON.stringify(data)} is not in this version here; there are ${allowed.join(", ")}`,
    }),
  });
}

function keys<T extends Readonly<Record<string, string>>>(record: T): (keyof T & string)[] {
  return Object.keys(record);
}

const later_ = { extensionRef: later("a filter by extensionRef"), externalAuth: later("external authorization") };

export const httpFilter = z.object({
  type: filterType(keys(HTTP_FILTERS)),
  requestHeaderModifier: headerModifier.optional(),
  responseHeaderModifier: headerModifier.optional(),
  requestMirror: requestMirror.optional(),
  requestRedirect: requestRedirect.optional(),
  urlRewrite: urlRewrite.optional(),
  cors: cors.optional(),
  ...later_,
}).strict().superRefine((value, context) => oneOf(context, value, HTTP_FILTERS));

export const grpcFilter = z.object({
  type: filterType(keys(GRPC_FILTERS)),
  requestHeaderModifier: headerModifier.optional(),
  responseHeaderModifier: headerModifier.optional(),
  requestMirror: requestMirror.optional(),
  ...later_,
}).strict().superRefine((value, context) => oneOf(context, value, GRPC_FILTERS));

const backendFilter = z.object({
  type: filterType(keys(BACKEND_FILTERS)),
  requestHeaderModifier: headerModifier.optional(),
  responseHeaderModifier: headerModifier.optional(),
  urlRewrite: urlRewrite.optional(),
  ...later_,
}).strict().superRefine((value, context) => {
  oneOf(context, value, BACKEND_FILTERS);
  if (value.urlRewrite?.path !== undefined) {
    issue(context, ["urlRewrite", "path"], "a path cannot be rewritten for one backend in this version");
  }
});

export const backendRef = z.object({ ...backendReference, weight }).strict();
export const filteredBackendRef = z.object({ ...backendReference, weight, filters: z.array(backendFilter).optional() })
  .strict();

export const timeouts = z.object({ request: duration.optional(), backendRequest: duration.optional() }).strict()
  .superRefine(({ request, backendRequest }, context) => {
    const [whole, one] = [request, backendRequest].map((text) => text === undefined ? undefined : parseDuration(text));
    if (whole && one !== undefined && one > whole) issue(context, ["backendRequest"], "longer than request");
  });

export const retry = z.object({
  codes: z.array(z.number().int().min(400).max(599)).optional(),
  attempts: z.number().int().min(0).optional().describe("Beyond the first try; default 2"),
  backoff: duration.optional(),
}).strict();

export { absolutePath };
export type ParentRef = z.infer<typeof parentRef>;
export type HeaderModifier = z.infer<typeof headerModifier>;
export type PathModifier = z.infer<typeof pathModifier>;
export type HttpFilter = z.infer<typeof httpFilter>;
export type GrpcFilter = z.infer<typeof grpcFilter>;
export type BackendRef = z.infer<typeof filteredBackendRef>;
export type RequestMirror = z.infer<typeof requestMirror>;
export type RequestRedirect = z.infer<typeof requestRedirect>;
export type CorsFilter = z.infer<typeof cors>;
export type Retry = z.infer<typeof retry>;
export type Timeouts = z.infer<typeof timeouts>;
