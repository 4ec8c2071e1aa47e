/**
 * The shape of a local file, as ztunnel reads it from LOCAL_XDS_PATH, in one place: validation and the JSON Schema for
 * editors both come from here. Loads zod, so only what reads a file may import this.
 */
import { z } from "zod/v3";
import { canonicalIp, parseCidr } from "../net/address.ts";
import { U16, U32 } from "./variables.ts";

function quoted(text: string): string {
  return JSON.stringify(text);
}

/** A text that `valid` accepts; else the error says that it is not `what`. */
function text(what: string, valid: (text: string) => boolean, description: string) {
  return z.string().superRefine((value, context) => {
    if (!valid(value)) context.addIssue({ code: z.ZodIssueCode.custom, message: `not ${what} ${quoted(value)}` });
  }).describe(description);
}

function isCidr(value: string): boolean {
  return parseCidr(value) !== undefined;
}

/** Splits at the first slash; undefined without one. */
export function splitAtSlash(value: string): readonly [before: string, after: string] | undefined {
  const slash = value.indexOf("/");
  return slash < 0 ? undefined : [value.slice(0, slash), value.slice(slash + 1)];
}

function isNetworkAddress(value: string): boolean {
  const parts = splitAtSlash(value);
  return parts !== undefined && canonicalIp(parts[1]) !== undefined;
}

function isNetworkCidr(value: string): boolean {
  const parts = splitAtSlash(value);
  return parts !== undefined && isCidr(parts[1]);
}

function isNamespaced(value: string): boolean {
  const parts = splitAtSlash(value);
  return parts !== undefined && parts[0] !== "" && parts[1] !== "" && !parts[1].includes("/");
}

const port = z.number().int().min(1).max(U16);
const targetPort = z.number().int().min(0).max(U16);
const ip = text("an IP address", (value) => canonicalIp(value) !== undefined, "IPv4 or IPv6 address");
const cidr = text("a CIDR", isCidr, "Range such as 10.0.0.0/8; a bare address is a range of one");
const networkAddress = z.string().superRefine((value, context) => {
  if (isNetworkAddress(value)) return;
  const bare = canonicalIp(value) === undefined ? "" : `: write ${quoted(`/${value}`)}`;
  const message = `not an address in a network ("network/ip") ${quoted(value)}${bare}`;
  context.addIssue({ code: z.ZodIssueCode.custom, message });
}).describe("network/ip; the network may be empty: /10.96.0.10");
const networkCidr = text(
  'a range in a network ("network/ip/length")',
  isNetworkCidr,
  "network/ip/length; the network may be empty: /10.96.0.0/16",
);
const serviceKey = text('a service ("namespace/hostname")', isNamespaced, "namespace/hostname of a service");
const policyKey = text('a policy ("namespace/name")', isNamespaced, "namespace/name of a policy");
const destination = text(
  'a destination ("network/ip" or "namespace/hostname")',
  (value) => isNetworkAddress(value) || isNamespaced(value),
  "network/ip or namespace/hostname",
);

const portKey = text(
  "a port",
  (value) => /^[0-9]{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= U16,
  "Service port",
);
const ports = z.record(portKey, targetPort).describe("Service port → target port");

const health = z.enum(["Healthy", "Unhealthy"]);

const gateway = z.object({ destination, hboneMtlsPort: port }).strict();

const workload = z.object({
  workloadIps: z.array(ip).describe("Addresses of the workload; may be empty if it has a hostname"),
  waypoint: gateway.optional().describe("L7 proxy that all traffic to this workload goes through"),
  networkGateway: gateway.optional().describe("How to reach the workload from another network"),
  protocol: z.enum(["TCP", "HBONE"]).optional().describe("How it wants to be reached; default TCP"),
  networkMode: z.enum(["Standard", "HostNetwork"]).optional(),
  uid: z.string().optional().describe("Unique; default namespace/name"),
  name: z.string().optional(),
  namespace: z.string(),
  trustDomain: z.string().optional().describe("Trust domain of its identity; default empty"),
  serviceAccount: z.string().optional(),
  network: z.string().optional(),
  workloadName: z.string().optional().describe("Name of what made it, e.g. of a Deployment"),
  workloadType: z.string().optional().describe("deployment, cronjob, pod or job"),
  canonicalName: z.string().optional(),
  canonicalRevision: z.string().optional(),
  hostname: z.string().optional().describe("Name to resolve when there is no address"),
  node: z.string().optional(),
  nativeTunnel: z.boolean().optional(),
  applicationTunnel: z.object({ protocol: z.enum(["NONE", "PROXY"]), port: port.optional() }).strict().optional(),
  authorizationPolicies: z.array(policyKey).optional(),
  status: health.optional(),
  clusterId: z.string().optional(),
  locality: z.object({
    region: z.string().optional(),
    zone: z.string().optional(),
    subzone: z.string().optional(),
  }).strict().optional(),
  capacity: z.number().int().min(0).max(U32).optional().describe("Weight among endpoints; 0 = never"),
  services: z.record(serviceKey, ports).describe("Services it belongs to, namespace/hostname → ports"),
  labels: z.record(z.string()).optional().describe(
    "For selectors and subsets; app and version are by default canonicalName and canonicalRevision",
  ),
}).strict();

/** Protocols that may be declared for a service port, in the words of Istio's port names and appProtocol. */
export const APP_PROTOCOLS = [
  "HTTP",
  "HTTP2",
  "GRPC",
  "TCP",
  "TLS",
  "HTTPS",
  "MONGO",
  "REDIS",
  "MYSQL",
  "UDP",
] as const;

const appProtocol = z.enum(APP_PROTOCOLS, {
  errorMap: (_, { data }) => ({
    message: data === "GRPC-WEB"
      ? "translation of gRPC-Web is not in this version"
      : `expected one of ${APP_PROTOCOLS.join(", ")}, got ${quoted(String(data))}`,
  }),
});

const service = z.object({
  name: z.string(),
  namespace: z.string(),
  hostname: z.string(),
  vips: z.array(networkAddress),
  cidrVips: z.array(networkCidr).optional(),
  ports,
  appProtocols: z.record(portKey, appProtocol).optional().describe(
    "Service port → declared protocol, for waypoints; a port that is not here is looked at as its connections come",
  ),
  endpoints: z.record(
    z.string(),
    z.object({ workloadUid: z.string(), port: ports, status: health.optional() }).strict(),
  ).optional().describe("By uid of the workload; workloads may also name their services themselves"),
  subjectAltNames: z.array(z.string()).optional(),
  waypoint: gateway.optional(),
  weightedWaypoints: z.array(z.object({ destination: gateway, weight: z.number().int().min(0).max(U32) }).strict())
    .optional(),
  loadBalancer: z.object({
    routingPreferences: z.array(z.enum(["Region", "Zone", "Subzone", "Node", "Cluster", "Network"])).optional(),
    mode: z.enum(["Standard", "Strict", "Failover", "Passthrough"]).optional(),
    healthPolicy: z.enum(["OnlyHealthy", "AllowAll"]).optional(),
  }).strict().optional(),
  ipFamilies: z.enum(["Dual", "IPv4", "IPv6"]).optional(),
  canonical: z.boolean().optional(),
  visibility: z.enum(["Public", "Namespace"]).optional(),
}).strict();

const stringMatch = z.union([
  z.object({ Exact: z.string() }).strict(),
  z.object({ Prefix: z.string() }).strict(),
  z.object({ Suffix: z.string() }).strict(),
  z.object({ Presence: z.union([z.array(z.never()).max(0), z.null()]) }).strict(),
], { errorMap: () => ({ message: "expected one of Exact, Prefix, Suffix (with a text) and Presence (with [])" }) });

const serviceAccountMatch = z.object({ namespace: z.string(), serviceAccount: z.string() }).strict();

const match = z.object({
  namespaces: z.array(stringMatch).optional(),
  notNamespaces: z.array(stringMatch).optional(),
  principals: z.array(stringMatch).optional().describe("Identities without spiffe://"),
  notPrincipals: z.array(stringMatch).optional(),
  sourceIps: z.array(cidr).optional(),
  notSourceIps: z.array(cidr).optional(),
  destinationIps: z.array(cidr).optional(),
  notDestinationIps: z.array(cidr).optional(),
  destinationPorts: z.array(targetPort).optional(),
  notDestinationPorts: z.array(targetPort).optional(),
  serviceAccounts: z.array(serviceAccountMatch).optional(),
  notServiceAccounts: z.array(serviceAccountMatch).optional(),
}).strict();

const policy = z.object({
  name: z.string(),
  namespace: z.string(),
  scope: z.enum(["Global", "Namespace", "WorkloadSelector"]),
  action: z.enum(["Allow", "Deny"]),
  rules: z.array(z.array(z.array(match))).describe("Any rule, all of its clauses, any match of a clause"),
  dryRun: z.boolean(),
}).strict();

/** A mesh document; several of them are one mesh. */
export const localSchema = z.object({
  workloads: z.array(workload).optional(),
  services: z.array(service).optional(),
  policies: z.array(policy).optional(),
}).strict();

export type LocalYaml = z.infer<typeof localSchema>;
export type AppProtocol = (typeof APP_PROTOCOLS)[number];
export type WorkloadYaml = z.infer<typeof workload>;
export type ServiceYaml = z.infer<typeof service>;
export type PolicyYaml = z.infer<typeof policy>;
export type GatewayYaml = z.infer<typeof gateway>;
export type StringMatchYaml = z.infer<typeof stringMatch>;
