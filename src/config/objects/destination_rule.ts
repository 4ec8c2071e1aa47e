/** DestinationRule (networking.istio.io). Loads zod. */
import { z } from "zod/v3";
import { U32 } from "../variables.ts";
import { duration, headerName, issue, labels, later, object, port, refused, u32 } from "./common.ts";

const SIMPLE = ["UNSPECIFIED", "LEAST_REQUEST", "LEAST_CONN", "ROUND_ROBIN", "RANDOM", "PASSTHROUGH"] as const;

const consistentHash = z.object({
  httpHeaderName: headerName.optional(),
  httpCookie: z.object({
    name: z.string().min(1),
    path: z.string().optional(),
    ttl: duration.optional(),
    attributes: z.array(z.object({ name: z.string(), value: z.string().optional() }).strict()).optional(),
  }).strict().optional(),
  useSourceIp: z.boolean().optional(),
  httpQueryParameterName: z.string().min(1).optional(),
  ringHash: z.object({ minimumRingSize: z.number().int().min(1).max(8_388_608).optional() }).strict().optional(),
  maglev: z.object({ tableSize: z.number().int().min(2).max(5_000_011).optional() }).strict().optional(),
  minimumRingSize: z.number().int().min(0).max(8_388_608).optional(),
}).strict().superRefine((hash, context) => {
  const keys = [hash.httpHeaderName, hash.httpCookie, hash.useSourceIp || undefined, hash.httpQueryParameterName];
  if (keys.filter((key) => key !== undefined).length !== 1) {
    issue(context, [], "needs exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName");
  }
  if (hash.ringHash !== undefined && hash.maglev !== undefined) issue(context, ["maglev"], "not with ringHash");
  const size = hash.maglev?.tableSize;
  if (size !== undefined && !isPrime(size)) issue(context, ["maglev", "tableSize"], "must be a prime");
});

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return n > 1;
}

const loadBalancer = z.object({
  simple: z.enum(SIMPLE).optional().describe("Default: LEAST_REQUEST"),
  consistentHash: consistentHash.optional(),
  localityLbSetting: later("locality load balancing by DestinationRule"),
  warmup: z.object({
    duration,
    minimumPercent: z.number().min(0).max(100).optional().describe("Default: 10"),
    aggression: z.number().min(1).optional().describe("Default: 1"),
  }).strict().optional(),
  warmupDurationSecs: duration.optional(),
}).strict().superRefine((value, context) => {
  if (value.simple !== undefined && value.consistentHash !== undefined) {
    issue(context, ["consistentHash"], "not with simple");
  }
  if (value.warmup !== undefined && value.warmupDurationSecs !== undefined) {
    issue(context, ["warmupDurationSecs"], "not with warmup");
  }
});

const breaker = (name: string) => later(`circuit breaking (${name})`);

const connectionPool = z.object({
  tcp: z.object({
    maxConnections: breaker("maxConnections"),
    connectTimeout: duration.optional(),
    tcpKeepalive: z.object({
      probes: z.number().int().min(0).max(U32).optional(),
      time: duration.optional(),
      interval: duration.optional(),
    }).strict().optional(),
    maxConnectionDuration: duration.optional(),
    idleTimeout: duration.optional(),
  }).strict().optional(),
  http: z.object({
    http1MaxPendingRequests: breaker("http1MaxPendingRequests"),
    http2MaxRequests: breaker("http2MaxRequests"),
    maxRequestsPerConnection: z.number().int().min(0).max(U32).optional(),
    maxRetries: breaker("maxRetries"),
    idleTimeout: duration.optional(),
    h2UpgradePolicy: z.enum(["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]).optional(),
    useClientProtocol: z.boolean().optional(),
    maxConcurrentStreams: breaker("maxConcurrentStreams"),
  }).strict().optional(),
}).strict();

const tls = z.object({
  mode: z.enum(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]).optional().describe("Default: DISABLE"),
  clientCertificate: z.string().optional().describe("Path of a PEM file, with MUTUAL"),
  privateKey: z.string().optional().describe("Path of a PEM file, with MUTUAL"),
  caCertificates: z.string().optional().describe("Path of a PEM file; default: those of the system"),
  caCrl: later("a revocation list"),
  credentialName: later("a certificate by credentialName"),
  subjectAltNames: z.array(z.string()).optional(),
  sni: z.string().optional().describe("Default: the authority of the request"),
  insecureSkipVerify: z.boolean().optional(),
}).strict().superRefine((value, context) => {
  if (value.mode !== "MUTUAL") return;
  if (value.clientCertificate === undefined) issue(context, ["clientCertificate"], "required with mode MUTUAL");
  if (value.privateKey === undefined) issue(context, ["privateKey"], "required with mode MUTUAL");
});

const portPolicy = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: later("outlier detection"),
  tls: tls.optional(),
};

const portLevelSettings = z.array(
  z.object({ port: z.object({ number: port }).strict(), ...portPolicy }).strict(),
).optional().describe("Replaces load balancer, connection pool and TLS for one port as a whole");

const trafficPolicy = z.object({
  ...portPolicy,
  portLevelSettings,
  tunnel: later("a tunnel"),
  proxyProtocol: z.object({ version: z.enum(["V1", "V2"]).optional() }).strict().optional(),
  retryBudget: z.object({
    percent: z.number().min(0).max(100).optional().describe("Of the requests that run. Default: 20"),
    minRetryConcurrency: u32.optional().describe("Retries that may always run. Default: 3"),
  }).strict().optional().describe("Retries that may run at the same time"),
}).strict();

export const destinationRule = object(
  ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"],
  "DestinationRule",
  z.object({
    host: z.string().min(1).describe("Host name of the service; a name without dots is one of the rule's namespace"),
    trafficPolicy: trafficPolicy.optional(),
    subsets: z.array(
      z.object({ name: z.string().min(1), labels: labels.optional(), trafficPolicy: trafficPolicy.optional() })
        .strict(),
    ).optional(),
    exportTo: z.array(z.string()).optional(),
    workloadSelector: refused("a waypoint is not selected by workloadSelector: such a rule is for sidecars"),
  }).strict().superRefine(({ subsets }, context) => {
    const names = new Set<string>();
    for (const [i, { name }] of (subsets ?? []).entries()) {
      if (names.has(name)) issue(context, ["subsets", i, "name"], `a second subset ${name}`);
      names.add(name);
    }
  }),
);

export type DestinationRule = z.infer<typeof destinationRule>;
export type TrafficPolicyYaml = z.infer<typeof trafficPolicy>;
export type LoadBalancerYaml = z.infer<typeof loadBalancer>;
export type ConsistentHashYaml = z.infer<typeof consistentHash>;
export type TlsYaml = z.infer<typeof tls>;
