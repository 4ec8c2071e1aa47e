/** What Envoy's configurations here are made of, as plain values in the shape of its JSON. */
import type { PeerCertificate } from "../../lab/mesh/mod.ts";

export type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };
/** A Bootstrap message of Envoy. */
export type EnvoyConfiguration = JsonObject;

const TYPE = "type.googleapis.com";

/** An extension with its message, whose type is named from `envoy.extensions.` on. */
export function extension(name: string, type: string, fields: JsonObject = {}): JsonObject {
  return { name, typed_config: { "@type": `${TYPE}/envoy.extensions.${type}`, ...fields } };
}

export function socketAddress(ip: string, port: number): JsonObject {
  return { socket_address: { address: ip, port_value: port } };
}

/** A cluster with one endpoint at an address. */
export function staticCluster(name: string, ip: string, port: number): JsonObject {
  const endpoint = { endpoint: { address: socketAddress(ip, port) } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
  };
}

/** Which peers are believed: a matcher of the URI in their certificate, `{ exact }` or `{ prefix }`. */
export type PeerMatch = { readonly exact: string } | { readonly prefix: string };

function tlsContext(certificate: PeerCertificate, peers: PeerMatch): JsonObject {
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

/** Transport of a listener that asks its clients for certificates. */
export function downstreamTls(certificate: PeerCertificate, peers: PeerMatch): JsonObject {
  return extension("tls", "transport_sockets.tls.v3.DownstreamTlsContext", {
    require_client_certificate: true,
    common_tls_context: tlsContext(certificate, peers),
  });
}

/** Transport of a cluster whose endpoints ask for certificates. */
export function upstreamTls(certificate: PeerCertificate, peers: PeerMatch): JsonObject {
  return extension("tls", "transport_sockets.tls.v3.UpstreamTlsContext", {
    common_tls_context: tlsContext(certificate, peers),
  });
}

/** Options of a cluster that is spoken to in HTTP/2. */
export function http2Upstream(options: JsonObject = {}): JsonObject {
  return {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${TYPE}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: options },
    },
  };
}

export function connectionManager(fields: JsonObject): JsonObject {
  return extension("http", "filters.network.http_connection_manager.v3.HttpConnectionManager", fields);
}

export function router(): JsonObject {
  return extension("router", "filters.http.router.v3.Router");
}

/** A route of CONNECT requests whose streams go to a cluster as bytes. */
export function connectRoute(cluster: string): JsonObject {
  const upgrade = { upgrade_type: "CONNECT", connect_config: {} };
  return { match: { connect_matcher: {} }, route: { cluster, timeout: "0s", upgrade_configs: [upgrade] } };
}
