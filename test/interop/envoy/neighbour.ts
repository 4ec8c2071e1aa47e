/** Envoy as a neighbour of a waypoint: a client as a sidecar is one, a server as a workload is one. */
import type { PeerCertificate } from "../../lab/mesh/mod.ts";
import {
  connectionManager,
  connectRoute,
  downstreamTls,
  type EnvoyConfiguration,
  extension,
  http2Upstream,
  type PeerMatch,
  router,
  socketAddress,
  staticCluster,
  upstreamTls,
} from "./configuration.ts";

export interface TunnelPlan {
  /** Port on loopback on which the application's connections come in. */
  readonly port: number;
  /** Authority of the CONNECT: the original destination. */
  readonly authority: string;
}

/** With what a neighbour shows itself, and what it believes. */
export interface Credentials {
  readonly certificate: PeerCertificate;
  /** Identities of peers that it accepts. */
  readonly peers: PeerMatch;
}

/** TCP connections go as CONNECT streams to the waypoint, those of each tunnel over an mTLS connection of its own. */
export function hboneClient(
  waypointIp: string,
  tunnels: readonly (TunnelPlan & Credentials)[],
): EnvoyConfiguration {
  const listeners = tunnels.map(({ port, authority }) => {
    const tunnel = { stat_prefix: "tunnel", cluster: `waypoint-${port}`, tunneling_config: { hostname: authority } };
    return {
      name: `${port}-to-${authority}`,
      address: socketAddress("127.0.0.1", port),
      filter_chains: [{ filters: [extension("tcp", "filters.network.tcp_proxy.v3.TcpProxy", tunnel)] }],
    };
  });
  const clusters = tunnels.map(({ port, certificate, peers }) => ({
    ...staticCluster(`waypoint-${port}`, waypointIp, 15008),
    typed_extension_protocol_options: http2Upstream({ allow_connect: true }),
    transport_socket: upstreamTls(certificate, peers),
  }));
  return { static_resources: { listeners, clusters } };
}

/** CONNECT streams over mTLS at 15008 go to loopback at the port that their authority names, one of these. */
export function hboneServer(ports: readonly number[], { certificate, peers }: Credentials): EnvoyConfiguration {
  const virtualHosts = ports.map((port) => ({
    name: `application-${port}`,
    domains: [`*:${port}`],
    routes: [connectRoute(`application-${port}`)],
  }));
  const listener = {
    name: "connect_terminate",
    address: socketAddress("0.0.0.0", 15008),
    filter_chains: [{
      transport_socket: downstreamTls(certificate, peers),
      filters: [connectionManager({
        stat_prefix: "hbone",
        stream_idle_timeout: "0s",
        http2_protocol_options: { allow_connect: true },
        upgrade_configs: [{ upgrade_type: "CONNECT" }],
        route_config: { virtual_hosts: virtualHosts },
        http_filters: [router()],
      })],
    }],
  };
  const clusters = ports.map((port) => staticCluster(`application-${port}`, "127.0.0.1", port));
  return { static_resources: { listeners: [listener], clusters } };
}
