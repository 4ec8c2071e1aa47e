/**
 * What Istio's own ztunnel chart and waypoint template put into the environment (spec/ztunnel.md §1.3, spec/waypoint.md
 * §5.1, §5.3) stops neither mode: an image under an Istio that is there gets all of it.
 */
import { expect, test } from "bun:test";
import { loadConfig, loadWaypointConfig } from "../../src/config/mod.ts";

/** As Kubernetes adds it to every container. */
const CLUSTER = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };

const ZTUNNEL_CHART = {
  ...CLUSTER,
  CA_ADDRESS: "istiod-canary.istio-system.svc:15012",
  XDS_ADDRESS: "istiod-canary.istio-system.svc:15012",
  LOG_FORMAT: "json",
  NETWORK: "network1",
  RUST_LOG: "info,access=debug",
  RUST_BACKTRACE: "1",
  ISTIO_META_CLUSTER_ID: "Kubernetes",
  INPOD_ENABLED: "true",
  TERMINATION_GRACE_PERIOD_SECONDS: "30",
  POD_NAME: "ztunnel-x7k2p",
  POD_NAMESPACE: "istio-system",
  NODE_NAME: "node-a",
  INSTANCE_IP: "10.244.0.7",
  SERVICE_ACCOUNT: "ztunnel",
  ZTUNNEL_CPU_LIMIT: "4",
  ZTUNNEL_RESOURCE_CPU_LIMIT: "2",
  ZTUNNEL_RESOURCE_CPU_REQUEST: "200m",
  // meshConfig.defaultConfig.proxyMetadata and the chart's env
  ISTIO_META_DNS_CAPTURE: "true",
  ISTIO_META_ENABLE_HBONE: "true",
};

const WAYPOINT_TEMPLATE = {
  ...CLUSTER,
  PILOT_CERT_PROVIDER: "istiod",
  CA_ADDR: "istiod.istio-system.svc:15012",
  POD_NAME: "waypoint-6d9f-abcde",
  POD_NAMESPACE: "shop",
  INSTANCE_IP: "10.244.0.8",
  HOST_IP: "192.0.2.1",
  SERVICE_ACCOUNT: "waypoint",
  ISTIO_CPU_LIMIT: "2",
  GOMEMLIMIT: "1073741824",
  TRUST_DOMAIN: "cluster.local",
  PROXY_CONFIG: JSON.stringify({
    discoveryAddress: "istiod.istio-system.svc:15012",
    concurrency: 2,
    statusPort: 15020,
    terminationDrainDuration: "5s",
    drainDuration: "45s",
    tracing: { zipkin: { address: "zipkin.istio-system:9411" } },
    statNameLength: 189,
    controlPlaneAuthPolicy: "MUTUAL_TLS",
    connectionSettings: {},
    image: { imageType: "distroless" },
    proxyMetadata: { EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true" },
  }),
  EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true",
  ENABLE_PROMETHEUS_MERGE: "true",
  SECRET_TTL: "24h",
  MINIMUM_DRAIN_DURATION: "5s",
  ISTIO_META_SERVICE_ACCOUNT: "waypoint",
  ISTIO_META_NODE_NAME: "node-a",
  ISTIO_META_CLUSTER_ID: "Kubernetes",
  ISTIO_META_NETWORK: "network1",
  ISTIO_META_INTERCEPTION_MODE: "REDIRECT",
  ISTIO_META_WORKLOAD_NAME: "waypoint",
  ISTIO_META_OWNER: "kubernetes://apis/apps/v1/namespaces/shop/deployments/waypoint",
  ISTIO_META_MESH_ID: "cluster.local",
};

test("the ztunnel chart's environment is taken as it is", async () => {
  const loaded = await loadConfig(ZTUNNEL_CHART);
  if (!loaded.ok) throw new Error(loaded.errors.join("\n"));
  expect(loaded.config).toMatchObject({
    xdsAddress: "https://istiod-canary.istio-system.svc:15012",
    authority: { kind: "remote", address: "https://istiod-canary.istio-system.svc:15012" },
    proxyMode: "shared",
    clusterId: "Kubernetes",
    network: "network1",
    nodeName: "node-a",
    dnsProxy: true,
    logFormat: "json",
    logFilter: "info,access=debug",
    terminationDeadline: 25_000,
    workerThreads: 2,
    selfWorkload: { name: "ztunnel-x7k2p", namespace: "istio-system", serviceAccount: "ztunnel" },
    warnings: [],
  });
});

test("with a list of revoked certificates, too", async () => {
  const loaded = await loadConfig({ ...ZTUNNEL_CHART, CRL_PATH: "/var/run/secrets/istio/crl/ca-crl.pem" });
  expect(loaded).toMatchObject({ ok: true, config: { crlPath: "/var/run/secrets/istio/crl/ca-crl.pem" } });
});

test("the waypoint template's environment is taken as it is, where the configuration is local", async () => {
  const loaded = await loadWaypointConfig(WAYPOINT_TEMPLATE, { config: "/etc/ambient" });
  if (!loaded.ok) throw new Error(loaded.errors.join("\n"));
  expect(loaded.config).toMatchObject({
    authority: { kind: "remote", address: "https://istiod.istio-system.svc:15012" },
    trustDomain: "cluster.local",
    namespace: "shop",
    serviceAccount: "waypoint",
    instanceIp: "10.244.0.8",
    network: "network1",
    clusterId: "Kubernetes",
    exitWhenIdle: true,
    warnings: [],
  });
});

test("under istiod alone a waypoint says in one line what it lacks", async () => {
  const loaded = await loadWaypointConfig(WAYPOINT_TEMPLATE);
  if (loaded.ok) throw new Error("it starts");
  expect(loaded.errors).toHaveLength(1);
  expect(loaded.errors[0]).toMatch(/--config PATH.*does not take a waypoint's configuration from istiod/);
});
