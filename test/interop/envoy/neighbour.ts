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

/** TCP connections go as CONNECT streams of one mTLS connection to the waypoint. */
export function hboneClient(
  tunnels: readonly TunnelPlan[],
  waypointIp: string,
  certificate: PeerCertificate,
  waypoint: PeerMatch,
): EnvoyConfiguration {
  const listeners = tunnels.map(({ port, authority }) => {
    const tunnel = { stat_prefix: "tunnel", cluster: "waypoint", tunneling_config: { hostname: authority } };
    return {
      name: `${port}-to-${authority}`,
      address: socketAddress("127.0.0.1", port),
      filter_chains: [{ filters: [extension("tcp", "filters.network.tcp_proxy.v3.TcpProxy", tunnel)] }],
    };
  });
  const cluster = {
    ...staticCluster("waypoint", waypointIp, 15008),
    typed_extension_protocol_options: http2Upstream({ allow_connect: true }),
    transport_socket: upstreamTls(certificate, waypoint),
  };
  return { static_resources: { listeners, clusters: [cluster] } };
}

/** CONNECT streams over mTLS at 15008 go to the application on loopback, whatever their authority. */
export function hboneServer(
  applicationPort: number,
  certificate: PeerCertificate,
  clients: PeerMatch,
): EnvoyConfiguration {
  const listener = {
    name: "connect_terminate",
    address: socketAddress("0.0.0.0", 15008),
    filter_chains: [{
      transport_socket: downstreamTls(certificate, clients),
      filters: [connectionManager({
        stat_prefix: "hbone",
        stream_idle_timeout: "0s",
        http2_protocol_options: { allow_connect: true },
        upgrade_configs: [{ upgrade_type: "CONNECT" }],
        route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [connectRoute("application")] }] },
        http_filters: [router()],
      })],
    }],
  };
  return {
    static_resources: { listeners: [listener], clusters: [staticCluster("application", "127.0.0.1", applicationPort)] },
  };
}
