/** Settings of ztunnel mode, typed: what the environment, the flags and the mesh file say together. */
import type { WorkloadInfo } from "../mesh/workload.ts";

/** Command line flags that have a say in the settings. */
export interface Flags {
  /** `--config FILE`: local mesh state, the same as LOCAL_XDS_PATH. */
  readonly config?: string | undefined;
  /** `--ca-dir DIR`: where the embedded CA keeps its key. */
  readonly caDir?: string | undefined;
  /** `--upgrade-from SOCKET`: the same as AMBIENT_UPGRADE_SOCKET. */
  readonly upgradeFrom?: string | undefined;
  /** `--domain`: DNS domain of the pod, `NAMESPACE.svc.CLUSTER_DOMAIN`. */
  readonly domain?: string | undefined;
  /** `--serviceCluster`: `SERVICE_ACCOUNT.NAMESPACE`, the cluster of the xDS node. */
  readonly serviceCluster?: string | undefined;
  /** `--meshConfig`: where the mesh file is. */
  readonly meshConfig?: string | undefined;
  /** Log levels in the form of RUST_LOG, which is asked first. */
  readonly logFilter?: string | undefined;
  /** `--log_as_json`; LOG_FORMAT is asked first. */
  readonly logFormat?: "json" | undefined;
  /** What of the command line is not known, to be told at the start. */
  readonly warnings?: readonly string[] | undefined;
}

/** What JSON can say. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Where a server listens: the loopback addresses (IPv6 as well if `ipv6`), or one given address. */
export type ListenAddress =
  | { readonly kind: "localhost"; readonly ipv6: boolean; readonly port: number }
  | { readonly kind: "address"; readonly ip: string; readonly port: number };

/** What the control plane's certificate must chain to. */
export type RootCertificate =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "pem"; readonly pem: string };

/** Token for the control plane. */
export type AuthToken =
  | { readonly kind: "none" }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "static"; readonly token: string };

/** Where certificates come from. */
export type AuthoritySource =
  | { readonly kind: "embedded"; readonly directory: string }
  | { readonly kind: "remote"; readonly address: string };

/** Local mesh state. */
export type LocalState =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "inline"; readonly text: string };

/** Keepalive and user timeout of mesh sockets. Milliseconds. */
export interface SocketSettings {
  readonly keepaliveEnabled: boolean;
  readonly keepaliveTime: number;
  readonly keepaliveInterval: number;
  readonly keepaliveRetries: number;
  readonly userTimeoutEnabled: boolean;
}

/** How certificates are got and peers' are judged: the same in both modes. */
export interface CertificateSettings {
  /** CA_ADDRESS, FAKE_CA, --ca-dir */
  readonly authority: AuthoritySource;
  readonly caRootCertificate: RootCertificate;
  readonly altCaHostname: string | undefined;
  readonly caHeaders: readonly (readonly [name: string, value: string])[];
  readonly authToken: AuthToken;
  /** Sent with the token. */
  readonly clusterId: string;
  /** SECRET_TTL */
  readonly secretTtl: number;
  /** CRL_PATH */
  readonly crlPath: string | undefined;
  /** COMPLIANCE_POLICY=pqc */
  readonly pqc: boolean;
  /** TLS12_ENABLED */
  readonly tls12: boolean;
  /** Proxy metadata, prefix ISTIO_META_ stripped; CERT_SIGNER says which signer of the CA is to sign. */
  readonly proxyMetadata: Readonly<Record<string, string>>;
}

/** All durations are milliseconds, all sizes bytes. Names in capitals are the environment variables. */
export interface ZtunnelConfig extends CertificateSettings {
  /** PROXY_MODE */
  readonly proxyMode: "shared" | "dedicated";
  /** PROXY_WORKLOAD_INFO; present exactly in dedicated mode. */
  readonly proxyWorkload: WorkloadInfo | undefined;
  /** POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT: ourselves; with all three in shared mode there is a self listener. */
  readonly selfWorkload: WorkloadInfo | undefined;
  /** TRUST_DOMAIN: trust domain of ourselves. */
  readonly selfTrustDomain: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: string;

  /** ENABLE_PROXY */
  readonly proxy: boolean;
  /** Proxy metadata DNS_CAPTURE */
  readonly dnsProxy: boolean;
  /** Proxy metadata DNS_PROXY_ADDR */
  readonly dnsProxyAddress: ListenAddress;
  readonly network: string;
  readonly nodeName: string | undefined;
  readonly clusterDomain: string;
  readonly ipv6Enabled: boolean;
  readonly preferredServiceNamespace: string | undefined;

  readonly inboundAddress: ListenAddress & { readonly kind: "address" };
  readonly inboundPlaintextAddress: ListenAddress & { readonly kind: "address" };
  readonly outboundAddress: ListenAddress & { readonly kind: "address" };
  /** UNSTABLE_ENABLE_SOCKS5 */
  readonly socks5Address: (ListenAddress & { readonly kind: "address" }) | undefined;
  readonly adminAddress: ListenAddress;
  readonly statsAddress: ListenAddress;
  readonly readinessAddress: ListenAddress;
  /** Ports that are never a legal target: our own. */
  readonly illegalPorts: readonly number[];

  /** XDS_ADDRESS; undefined: no control plane. */
  readonly xdsAddress: string | undefined;
  readonly xdsRootCertificate: RootCertificate;
  readonly altXdsHostname: string | undefined;
  readonly xdsHeaders: readonly (readonly [name: string, value: string])[];
  readonly xdsOnDemand: boolean;
  readonly localState: LocalState | undefined;

  readonly fakeCa: boolean;

  readonly workerThreads: number;
  readonly poolMaxStreamsPerConnection: number;
  readonly poolUnusedReleaseTimeout: number;
  /** AMBIENT_IDLE_TIMEOUT, ours: a connection without a byte in either direction ends after this long; undefined: never. */
  readonly idleTimeout: number | undefined;
  /**
   * AMBIENT_ENDPOINT_EJECTION, ours: endpoints whose connects fail are passed over for a while, and a connect that failed
   * before any byte is tried once at another endpoint.
   */
  readonly endpointEjection: boolean;
  /**
   * AMBIENT_UPGRADE_SOCKET or `--upgrade-from`, ours: where the process before us gives us its plain relays when it ends, and
   * where the next one gets ours; undefined: neither.
   */
  readonly upgradeSocket: string | undefined;
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly frameSize: number;
  /** How long connections may go on after the stop signal. */
  readonly terminationDeadline: number;
  /** ENABLE_ORIG_SRC; undefined: try. */
  readonly requireOriginalSource: boolean | undefined;
  /** PACKET_MARK; undefined: no mark. */
  readonly packetMark: number | undefined;
  readonly socket: SocketSettings;
  /** INPOD_UDS */
  readonly inpodSocket: string;
  readonly inpodPortReuse: boolean;
  readonly localhostAppTunnel: boolean;
  /** ENABLE_RESPONSE_BAGGAGE */
  readonly responseBaggage: boolean;

  /** AUTHZ_POLICY_INFO_LOGGING */
  readonly policyInfoLogging: boolean;
  readonly logFormat: "plain" | "json";
  /** RUST_LOG, without the constant prefix. */
  readonly logFilter: string;

  /** ISTIO_METAJSON_*, parsed, prefix stripped. */
  readonly jsonMetadata: Readonly<Record<string, JsonValue>>;
  /** ISTIO_META_ISTIO_VERSION or `unknown` */
  readonly istioVersion: string;
  /** Things to tell the user at startup; one line each. */
  readonly warnings: readonly string[];
}

export type ConfigResult =
  | { readonly ok: true; readonly config: ZtunnelConfig }
  | { readonly ok: false; readonly errors: readonly string[] };
