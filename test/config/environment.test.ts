import { expect, test } from "bun:test";
import { dumpConfig, type ZtunnelConfig } from "../../src/config/mod.ts";
import { errors, type Given, read, settings } from "./fixtures.ts";

test("defaults", () => {
  const config = settings();
  expect(config).toMatchObject({
    proxyMode: "shared",
    proxyWorkload: undefined,
    selfWorkload: undefined,
    proxy: true,
    dnsProxy: true,
    dnsProxyAddress: { kind: "localhost", ipv6: true, port: 15053 },
    network: "",
    nodeName: undefined,
    clusterId: "Kubernetes",
    clusterDomain: "cluster.local",
    ipv6Enabled: true,
    inboundAddress: { ip: "::", port: 15008 },
    inboundPlaintextAddress: { ip: "::", port: 15006 },
    outboundAddress: { ip: "::", port: 15001 },
    socks5Address: undefined,
    adminAddress: { kind: "localhost", ipv6: true, port: 15000 },
    statsAddress: { kind: "address", ip: "::", port: 15020 },
    readinessAddress: { kind: "address", ip: "::", port: 15021 },
    illegalPorts: [15008, 15006, 15001],
    xdsAddress: undefined,
    xdsOnDemand: false,
    localState: undefined,
    authority: { kind: "embedded", directory: "/var/lib/ambient/ca" },
    authToken: { kind: "none" },
    secretTtl: 86_400_000,
    crlPath: undefined,
    pqc: false,
    tls12: false,
    poolMaxStreamsPerConnection: 100,
    poolUnusedReleaseTimeout: 300_000,
    streamWindow: 4_194_304,
    connectionWindow: 16_777_216,
    frameSize: 1_048_576,
    terminationDeadline: 5000,
    requireOriginalSource: undefined,
    packetMark: 1337,
    socket: {
      keepaliveEnabled: true,
      keepaliveTime: 180_000,
      keepaliveInterval: 180_000,
      keepaliveRetries: 9,
      userTimeoutEnabled: false,
    },
    inpodSocket: "/var/run/ztunnel/ztunnel.sock",
    inpodPortReuse: true,
    localhostAppTunnel: true,
    responseBaggage: true,
    policyInfoLogging: false,
    logFormat: "plain",
    logFilter: "info",
    instanceIp: "1.1.1.1",
    istioVersion: "unknown",
  });
});

const selfPod = { POD_NAME: "z-1", POD_NAMESPACE: "istio-system", SERVICE_ACCOUNT: "ztunnel" };
const dedicated = { PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: "shop/cart-1/cart" };

const variables: [env: Record<string, string>, expected: Partial<ZtunnelConfig>, given?: Given][] = [
  [dedicated, {
    proxyMode: "dedicated",
    proxyWorkload: { namespace: "shop", name: "cart-1", serviceAccount: "cart" },
    packetMark: undefined,
  }],
  [{ ...dedicated, PACKET_MARK: "7" }, { packetMark: 7 }],
  [{ PROXY_WORKLOAD_INFO: "a/b/c" }, { proxyWorkload: undefined }],
  [selfPod, { selfWorkload: { name: "z-1", namespace: "istio-system", serviceAccount: "ztunnel" } }],
  [{ POD_NAME: "z-1", POD_NAMESPACE: "istio-system" }, { selfWorkload: undefined, podName: "z-1" }],
  [{ ENABLE_PROXY: "false" }, { proxy: false }],
  [{ NETWORK: "n1", NODE_NAME: "node-a", CLUSTER_DOMAIN: "mesh.local" }, {
    network: "n1",
    nodeName: "node-a",
    clusterDomain: "mesh.local",
  }],
  [{ CLUSTER_ID: "c1" }, { clusterId: "c1" }],
  [{ CLUSTER_ID: "c1", ISTIO_META_CLUSTER_ID: "c2" }, { clusterId: "c2" }],
  [{ IPV6_ENABLED: "false" }, {
    ipv6Enabled: false,
    inboundAddress: { kind: "address", ip: "0.0.0.0", port: 15008 },
    statsAddress: { kind: "address", ip: "0.0.0.0", port: 15020 },
    adminAddress: { kind: "localhost", ipv6: false, port: 15000 },
  }],
  [{}, { adminAddress: { kind: "localhost", ipv6: false, port: 15000 } }, { machine: { ipv6Loopback: false } }],
  [{ UNSTABLE_ENABLE_SOCKS5: "true" }, {
    socks5Address: { kind: "address", ip: "127.0.0.1", port: 15080 },
    illegalPorts: [15008, 15006, 15001, 15080],
  }],
  [{ XDS_ROOT_CA: "/here" }, { xdsRootCertificate: { kind: "file", path: "/here" } }, {
    machine: { exists: (path) => path === "/here" },
  }],
  [{ XDS_ROOT_CA: "SYSTEM" }, { xdsRootCertificate: { kind: "system" } }],
  [{ CA_ROOT_CA: "-----BEGIN" }, { caRootCertificate: { kind: "pem", pem: "-----BEGIN" } }],
  [{}, { caRootCertificate: { kind: "file", path: "./var/run/secrets/istio/root-cert.pem" } }],
  [{ ALT_XDS_HOSTNAME: "x", ALT_CA_HOSTNAME: "c" }, { altXdsHostname: "x", altCaHostname: "c" }],
  [{ "XDS_HEADER_X-One": "1", "XDS_HEADER_b": "2", CA_HEADER_c: "3", CA_HEADER_: "4" }, {
    xdsHeaders: [["x-one", "1"], ["b", "2"]],
    caHeaders: [["c", "3"]],
  }],
  [{ XDS_ON_DEMAND: "true", ISTIO_META_DNS_CAPTURE: "false" }, { xdsOnDemand: true, dnsProxy: false }],
  [{ ISTIO_META_DNS_CAPTURE: "TRUE" }, { dnsProxy: true }],
  [{ ISTIO_META_DNS_CAPTURE: "yes" }, { dnsProxy: false }],
  [{ ISTIO_META_DNS_PROXY_ADDR: "127.0.0.1:53" }, { dnsProxyAddress: { kind: "address", ip: "127.0.0.1", port: 53 } }],
  [{ ISTIO_META_DNS_PROXY_ADDR: "localhost:53" }, { dnsProxyAddress: { kind: "localhost", ipv6: true, port: 53 } }],
  [{ LOCAL_XDS_PATH: "/x.yaml" }, { localState: { kind: "file", path: "/x.yaml" } }],
  [{ LOCAL_XDS: "workloads: []" }, { localState: { kind: "inline", text: "workloads: []" } }],
  [{ PREFERED_SERVICE_NAMESPACE: "p" }, { preferredServiceNamespace: "p" }],
  [{ SECRET_TTL: "1h" }, { secretTtl: 3_600_000 }],
  [{ AUTH_TOKEN: "/token" }, { authToken: { kind: "file", path: "/token" } }, { machine: { exists: () => true } }],
  [{ AUTH_TOKEN: "./var/token-to-come" }, { authToken: { kind: "file", path: "./var/token-to-come" } }],
  [{ XDS_ROOT_CA: "/roots-to-come" }, { xdsRootCertificate: { kind: "file", path: "/roots-to-come" } }],
  [{ ALT_XDS_HOSTNAME: "", ALT_CA_HOSTNAME: "" }, { altXdsHostname: undefined, altCaHostname: undefined }],
  [{ AUTH_TOKEN: "abc" }, { authToken: { kind: "static", token: "abc" } }],
  [{}, { authToken: { kind: "file", path: "./var/run/secrets/tokens/istio-token" } }, {
    machine: { exists: (path) => path.endsWith("istio-token") },
  }],
  [{ CRL_PATH: "" }, { crlPath: undefined }],
  [{ COMPLIANCE_POLICY: "pqc", TLS12_ENABLED: "true" }, { pqc: true, tls12: true }],
  [{ COMPLIANCE_POLICY: "" }, { pqc: false }],
  [{ POOL_MAX_STREAMS_PER_CONNECTION: "5", POOL_UNUSED_RELEASE_TIMEOUT: "1m" }, {
    poolMaxStreamsPerConnection: 5,
    poolUnusedReleaseTimeout: 60_000,
  }],
  [
    { HTTP2_STREAM_WINDOW_SIZE: "65535", HTTP2_CONNECTION_WINDOW_SIZE: "131072", HTTP2_FRAME_SIZE: "16384" },
    { streamWindow: 65_535, connectionWindow: 131_072, frameSize: 16_384 },
  ],
  [{ CONNECTION_TERMINATION_DEADLINE: "7s", TERMINATION_GRACE_PERIOD_SECONDS: "30" }, { terminationDeadline: 7000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "30" }, { terminationDeadline: 25_000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "11" }, { terminationDeadline: 6000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "10" }, { terminationDeadline: 9000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "9" }, { terminationDeadline: 8000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "1" }, { terminationDeadline: 1000 }],
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "0" }, { terminationDeadline: 1000 }],
  // A year is more than a timer takes, which would fire at once.
  [{ TERMINATION_GRACE_PERIOD_SECONDS: "31536000" }, { terminationDeadline: 2 ** 31 - 1 }],
  [{ CONNECTION_TERMINATION_DEADLINE: "365d" }, { terminationDeadline: 2 ** 31 - 1 }],
  [{ ENABLE_ORIG_SRC: "true" }, { requireOriginalSource: true }],
  [{ ENABLE_ORIG_SRC: "false" }, { requireOriginalSource: false }],
  [
    {
      KEEPALIVE_ENABLED: "false",
      KEEPALIVE_TIME: "1s",
      KEEPALIVE_INTERVAL: "2s",
      KEEPALIVE_RETRIES: "3",
      USER_TIMEOUT_ENABLED: "true",
    },
    {
      socket: {
        keepaliveEnabled: false,
        keepaliveTime: 1000,
        keepaliveInterval: 2000,
        keepaliveRetries: 3,
        userTimeoutEnabled: true,
      },
    },
  ],
  [{ INPOD_UDS: "/s", INPOD_PORT_REUSE: "false", LOCALHOST_APP_TUNNEL: "false", ENABLE_RESPONSE_BAGGAGE: "false" }, {
    inpodSocket: "/s",
    inpodPortReuse: false,
    localhostAppTunnel: false,
    responseBaggage: false,
  }],
  [{ AUTHZ_POLICY_INFO_LOGGING: "true", LOG_FORMAT: "json", RUST_LOG: "debug" }, {
    policyInfoLogging: true,
    logFormat: "json",
    logFilter: "debug",
  }],
  [{ INSTANCE_IP: "10.0.0.9", TRUST_DOMAIN: "td" }, { instanceIp: "10.0.0.9", selfTrustDomain: "td" }],
  [{ ISTIO_META_A: "1", ISTIO_META_ISTIO_VERSION: "1.30" }, {
    proxyMetadata: { A: "1", ISTIO_VERSION: "1.30" },
    istioVersion: "1.30",
  }],
  [{ ISTIO_METAJSON_L: '{"a":[1]}' }, { jsonMetadata: { L: { a: [1] } } }],
  [{}, {
    statsAddress: { kind: "address", ip: "::", port: 1 },
    adminAddress: { kind: "localhost", ipv6: true, port: 2 },
  }, {
    proxyConfig: { statsPort: 1, proxyAdminPort: 2, proxyMetadata: {} },
  }],
  [{ ISTIO_META_A: "env" }, { proxyMetadata: { A: "env", B: "mesh" } }, {
    proxyConfig: { proxyMetadata: { ISTIO_META_A: "mesh", B: "mesh" } },
  }],
];
// Rows differ in length, so they come as rest parameters: a missing last argument would be taken for a callback.
test.each(variables)("%j", (...[env, expected, given]) => {
  expect(settings(env, given)).toMatchObject(expected);
});

const threads: [env: Record<string, string>, concurrency: number | undefined, threads: number][] = [
  [{}, undefined, 2],
  [{ ZTUNNEL_CPU_LIMIT: "64" }, undefined, 16],
  [{ ZTUNNEL_CPU_LIMIT: "9" }, undefined, 3],
  [{ ZTUNNEL_RESOURCE_CPU_LIMIT: "1500m" }, undefined, 2],
  [{ ZTUNNEL_RESOURCE_CPU_LIMIT: "500m" }, undefined, 1],
  [{ ZTUNNEL_RESOURCE_CPU_LIMIT: "1", ZTUNNEL_RESOURCE_CPU_REQUEST: "2.5" }, undefined, 3],
  [{ ZTUNNEL_RESOURCE_CPU_REQUEST: "5" }, undefined, 5],
  [{ ZTUNNEL_RESOURCE_CPU_REQUEST: "200m" }, undefined, 2],
  [{}, 3, 3],
  [{}, 0, 8],
  [{ ZTUNNEL_CPU_LIMIT: "6" }, 0, 6],
  [{ ZTUNNEL_WORKER_THREADS: "5" }, 3, 5],
  [{ ZTUNNEL_WORKER_THREADS: "0" }, 3, 8],
  [{ ZTUNNEL_WORKER_THREADS: "50%" }, undefined, 4],
  [{ ZTUNNEL_WORKER_THREADS: "51%" }, undefined, 5],
  [{ ZTUNNEL_WORKER_THREADS: "1%" }, undefined, 1],
  [{ ZTUNNEL_WORKER_THREADS: "100%" }, undefined, 8],
];
test.each(threads)("threads: %j, concurrency %p → %p", (env, concurrency, expected) => {
  const proxyConfig = concurrency === undefined ? undefined : { concurrency, proxyMetadata: {} };
  expect(settings(env, proxyConfig && { proxyConfig }).workerThreads).toBe(expected);
});

const bad: [env: Record<string, string>, error: string, given?: Given][] = [
  [{ PROXY_MODE: "sidecar" }, "invalid env var PROXY_MODE=sidecar (expected shared or dedicated)"],
  [{ PROXY_MODE: "dedicated" }, "PROXY_MODE=dedicated needs PROXY_WORKLOAD_INFO=namespace/name/service-account"],
  [
    { PROXY_MODE: "dedicated", PROXY_WORKLOAD_INFO: "a/b" },
    "invalid env var PROXY_WORKLOAD_INFO=a/b (expected namespace/name/service-account)",
  ],
  [{ ENABLE_PROXY: "yes" }, "invalid env var ENABLE_PROXY=yes (expected true or false)"],
  [{ ENABLE_PROXY: "" }, "invalid env var ENABLE_PROXY= (expected true or false)"],
  [{ IPV6_ENABLED: "TRUE" }, "invalid env var IPV6_ENABLED=TRUE (expected true or false)"],
  [
    { ENABLE_PROXY: "false", ISTIO_META_DNS_CAPTURE: "false" },
    "ENABLE_PROXY=false with the DNS proxy off leaves nothing to do",
  ],
  [
    { XDS_ON_DEMAND: "true" },
    "XDS_ON_DEMAND=true does not work with the DNS proxy: set ISTIO_META_DNS_CAPTURE=false",
  ],
  [
    { XDS_ADDRESS: "ftp://x" },
    "invalid env var XDS_ADDRESS=ftp://x (expected an https address such as https://localhost:15012)",
  ],
  [
    { CA_ADDRESS: "" },
    "invalid env var CA_ADDRESS= (there is no running without certificates: give an address, or embedded)",
  ],
  [{ "XDS_HEADER_a b": "1" }, 'invalid env var XDS_HEADER_a b ("a b" is no name for metadata)'],
  [{ XDS_HEADER_TE: "1" }, 'invalid env var XDS_HEADER_TE ("te" is no name for metadata)'],
  [
    { "CA_HEADER_grpc-timeout": "1S" },
    'invalid env var CA_HEADER_grpc-timeout ("grpc-timeout" is no name for metadata)',
  ],
  [
    { CA_HEADER_a: "secret\n" },
    `invalid env var CA_HEADER_a (the value of a has characters that a header may not have there)`,
  ],
  [
    { CA_HEADER_a: "secret " },
    `invalid env var CA_HEADER_a (the value of a has characters that a header may not have there)`,
  ],
  [{ SECRET_TTL: "soon" }, "invalid env var SECRET_TTL=soon (expected a duration such as 5m, 1h30m or 500ms)"],
  [
    { POOL_MAX_STREAMS_PER_CONNECTION: "65536" },
    "invalid env var POOL_MAX_STREAMS_PER_CONNECTION=65536 (expected a whole number from 1 to 65535)",
  ],
  [
    { KEEPALIVE_RETRIES: "0x9" },
    "invalid env var KEEPALIVE_RETRIES=0x9 (expected a whole number from 0 to 4294967295)",
  ],
  [{ HTTP2_FRAME_SIZE: "1" }, "invalid env var HTTP2_FRAME_SIZE=1 (expected a whole number from 16384 to 16777215)"],
  [{ COMPLIANCE_POLICY: "fips" }, "invalid env var COMPLIANCE_POLICY=fips (expected pqc)"],
  [{ LOG_FORMAT: "text" }, "invalid env var LOG_FORMAT=text (expected plain or json)"],
  [
    { ZTUNNEL_WORKER_THREADS: "0%" },
    "invalid env var ZTUNNEL_WORKER_THREADS=0% (expected more than 0% and at most 100%)",
  ],
  [
    { ZTUNNEL_WORKER_THREADS: "many" },
    "invalid env var ZTUNNEL_WORKER_THREADS=many (expected a whole number from 0 to 4096)",
  ],
  [
    { ZTUNNEL_RESOURCE_CPU_LIMIT: "1Gi" },
    "invalid env var ZTUNNEL_RESOURCE_CPU_LIMIT=1Gi (expected a CPU quantity such as 2, 1.5 or 500m)",
  ],
  [
    { ISTIO_META_DNS_PROXY_ADDR: "dns" },
    "invalid proxy metadata DNS_PROXY_ADDR=dns (expected localhost:PORT or IP:PORT)",
  ],
  [{ LOCAL_XDS_PATH: "/a", LOCAL_XDS: "b" }, "LOCAL_XDS_PATH and LOCAL_XDS are both set: give one"],
  [{ LOCAL_XDS: "b" }, "--config and LOCAL_XDS are both set: give one", { flags: { config: "/a" } }],
  [{ LOCAL_XDS_PATH: "/a" }, "--config /b and LOCAL_XDS_PATH=/a name different files: give one", {
    flags: { config: "/b" },
  }],
  [{ LOCAL_XDS_PATH: "" }, "the path of the local file is empty"],
];
test.each(bad)("refused: %j", (...[env, error, given]) => {
  expect(errors(env, given)).toEqual([error]);
});

test.each(["", " ", "a b", "päss"])("the token %j is refused, and not shown", (token) => {
  const [error] = errors({ AUTH_TOKEN: token });
  expect(error).toBe(
    "invalid env var AUTH_TOKEN (neither a file nor a token: it is empty or has characters no header may have)",
  );
});

test.each<[env: Record<string, string>, warning: string]>([
  [
    {},
    "the control plane is called without a token: AUTH_TOKEN is not set, and there is no " +
    "./var/run/secrets/tokens/istio-token",
  ],
  [
    { AUTH_TOKEN: "tokens/mine" },
    "AUTH_TOKEN names no file that is there and is taken for the token itself; write a path with ./ or / in front",
  ],
])("a token that may not be what was meant is told: %j", (env, warning) => {
  const result = read({ XDS_ADDRESS: "x:1", CA_ADDRESS: "c:2", ...env });
  expect(result).toMatchObject({ ok: true, config: { warnings: [warning] } });
});

test("in a cluster the projected token may come later", () => {
  expect(read({ KUBERNETES_SERVICE_HOST: "10.0.0.1" })).toMatchObject({
    ok: true,
    config: { authToken: { kind: "file", path: "./var/run/secrets/tokens/istio-token" }, warnings: [] },
  });
});

test("a bad ISTIO_METAJSON value is refused by name", () => {
  expect(errors({ ISTIO_METAJSON_X: "{" })[0]).toStartWith("invalid env var ISTIO_METAJSON_X={ (");
});

test("everything that is wrong is told at once", () => {
  expect(errors({ ENABLE_PROXY: "x", LOG_FORMAT: "y", SECRET_TTL: "z" })).toHaveLength(3);
});

/** Addresses of the control plane; a CA that is a path is the embedded one. */
interface Sources {
  readonly xds?: string;
  readonly ca: string;
}
const sources: [name: string, env: Record<string, string>, given: Given, expected: Sources | string[]][] = [
  ["nothing set", {}, {}, [
    "give the mesh with --config PATH (a file or a folder, see `ambient help`), or istiod's address with XDS_ADDRESS",
  ]],
  ["in a cluster", { KUBERNETES_SERVICE_HOST: "" }, {}, {
    xds: "https://istiod.istio-system.svc:15012",
    ca: "https://istiod.istio-system.svc:15012",
  }],
  ["in a cluster, CA of this machine", { KUBERNETES_SERVICE_HOST: "", CA_ADDRESS: "embedded" }, {}, {
    xds: "https://istiod.istio-system.svc:15012",
    ca: "/var/lib/ambient/ca",
  }],
  ["discovery address of the mesh", { FAKE_CA: "true" }, {
    proxyConfig: { discoveryAddress: "istiod:15012", proxyMetadata: {} },
  }, { xds: "https://istiod:15012", ca: "/var/lib/ambient/ca" }],
  ["both addresses given", { XDS_ADDRESS: "x:1", CA_ADDRESS: "c:2" }, {}, { xds: "https://x:1", ca: "https://c:2" }],
  ["pilot-agent's name", { XDS_ADDRESS: "x:1", CA_ADDR: "c:2" }, {}, { xds: "https://x:1", ca: "https://c:2" }],
  ["local path, CA by FAKE_CA", { LOCAL_XDS_PATH: "/x", FAKE_CA: "true" }, {}, { ca: "/var/lib/ambient/ca" }],
  ["local path, no CA", { LOCAL_XDS_PATH: "/x" }, {}, { ca: "https://localhost:15012" }],
  ["local path in a cluster", { LOCAL_XDS_PATH: "/x", KUBERNETES_SERVICE_HOST: "1" }, {}, {
    xds: "https://istiod.istio-system.svc:15012",
    ca: "https://istiod.istio-system.svc:15012",
  }],
  ["local path and an address", { LOCAL_XDS_PATH: "/x", XDS_ADDRESS: "x:1", FAKE_CA: "true" }, {}, {
    xds: "https://x:1",
    ca: "/var/lib/ambient/ca",
  }],
  ["--config alone", {}, { flags: { config: "/x" } }, { ca: "/var/lib/ambient/ca" }],
  ["--config and LOCAL_XDS_PATH agree", { LOCAL_XDS_PATH: "/x" }, { flags: { config: "/x" } }, {
    ca: "/var/lib/ambient/ca",
  }],
  ["--config in a cluster", { KUBERNETES_SERVICE_HOST: "1" }, { flags: { config: "/x" } }, {
    ca: "https://istiod.istio-system.svc:15012",
  }],
  ["--ca-dir", { FAKE_CA: "true", XDS_ADDRESS: "" }, { flags: { caDir: "/ca" } }, { ca: "/ca" }],
  [
    "not root",
    { FAKE_CA: "true", XDS_ADDRESS: "" },
    { machine: { root: false } },
    { ca: "/home/user/.local/state/ambient/ca" },
  ],
  [
    "not root, XDG",
    { FAKE_CA: "true", XDS_ADDRESS: "", XDG_STATE_HOME: "/s" },
    { machine: { root: false } },
    { ca: "/s/ambient/ca" },
  ],
];
test.each(sources)("control plane: %s", (_name, env, given, expected) => {
  const result = read(env, given);
  if (Array.isArray(expected)) {
    expect(result).toEqual({ ok: false, errors: expected });
    return;
  }
  const { xds, ca } = expected;
  const authority = ca.startsWith("/") ? { kind: "embedded", directory: ca } : { kind: "remote", address: ca };
  expect(result).toMatchObject({ ok: true, config: { xdsAddress: xds, authority } });
});

test("the embedded CA warns that it is for one machine, and says when nobody asked for it", () => {
  expect(settings().warnings).toEqual([
    "certificates come from the embedded CA in /var/lib/ambient/ca, which serves this machine only",
  ]);
  const result = read({}, { flags: { config: "/x" } });
  expect(result.ok && result.config.warnings).toEqual([
    "no CA_ADDRESS given: certificates come from the embedded CA in /var/lib/ambient/ca, " +
    "which serves this machine only",
  ]);
});

test.each([
  ["info", undefined],
  ["inof", "inof"],
  ["info,ztunnel::proxy=debug,access", undefined],
  ["ztunnel::dns,hyper=off", undefined],
  ["debug, waypiont", "waypiont"],
])("RUST_LOG=%s: a word that silences everything is told", (text, word) => {
  const told = settings({ RUST_LOG: text }).warnings.filter((warning) => warning.startsWith("RUST_LOG"));
  expect(told).toEqual(
    word === undefined
      ? []
      : [`RUST_LOG: ${word} is no level and no scope; only lines of a scope ${word} will be written`],
  );
});

test("the dump has ztunnel's names and shapes, and no secrets", () => {
  const config = settings({
    ...selfPod,
    AUTH_TOKEN: "hush-token",
    XDS_HEADER_authorization: "hush-header",
    CA_ROOT_CA: "hush-pem",
    LOCAL_XDS: "# hush-local",
    POOL_UNUSED_RELEASE_TIMEOUT: "1500ms",
    NODE_NAME: "node-a",
    ISTIO_META_DNS_CAPTURE: "true",
  });
  const dump = dumpConfig(config);
  expect(dump).toMatchObject({
    adminAddr: { Localhost: [true, 15000] },
    dnsProxyAddr: { Localhost: [true, 15053] },
    statsAddr: { SocketAddr: "[::]:15020" },
    readinessAddr: { SocketAddr: "[::]:15021" },
    inboundAddr: "[::]:15008",
    outboundAddr: "[::]:15001",
    illegalPorts: [15008, 15006, 15001],
    localNode: "node-a",
    packetMark: 1337,
    poolUnusedReleaseTimeout: { secs: 1, nanos: 500_000_000 },
    secretTtl: { secs: 86_400, nanos: 0 },
    proxyMode: "Shared",
    proxyMetadata: { DNS_CAPTURE: "true" },
    requireOriginalSource: null,
    socketConfig: { keepaliveTime: { secs: 180, nanos: 0 } },
    xdsAddress: null,
    xdsRootCert: { File: "./var/run/secrets/istio/root-cert.pem" },
    ztunnelIdentity: "spiffe://cluster.local/ns/istio-system/sa/ztunnel",
    ztunnelWorkload: { name: "z-1", namespace: "istio-system", serviceAccount: "ztunnel" },
  });
  expect(JSON.stringify(dump)).not.toContain("hush");
  expect(dumpConfig(settings(dedicated))).toMatchObject({
    proxyMode: "Dedicated",
    packetMark: null,
    proxyWorkloadInformation: { namespace: "shop", name: "cart-1", serviceAccount: "cart" },
  });
});
