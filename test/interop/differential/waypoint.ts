/** Our waypoint's HTTP chains on loopback ports, without tunnels: everything behind the CONNECT is what runs in the pod. */
import { Pool } from "../../../src/hbone/mod.ts";
import { listenTcp } from "../../../src/linux/mod.ts";
import { Relay } from "../../../src/net/relay.ts";
import { acceptHandlers, adoptListener } from "../../../src/net/tcp.ts";
import type { TcpEndpoint } from "../../../src/net/tcp_endpoint.ts";
import { Logger, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { ProtocolSniffer } from "../../../src/http/mod.ts";
import { ClusterSet } from "../../../src/waypoint/cluster/mod.ts";
import { type CompiledHttpChain, Configuration } from "../../../src/waypoint/configuration.ts";
import { HttpConnection } from "../../../src/waypoint/http_connection.ts";
import { WaypointPlane } from "../../../src/waypoint/plane.ts";
import type { WaypointSnapshot } from "../../../src/waypoint/snapshot/mod.ts";
import { Targets } from "../../../src/waypoint/targets.ts";
import { registerDryRunMetrics, RequestMetrics } from "../../../src/waypoint/telemetry/mod.ts";
import { Connector, UpstreamPools } from "../../../src/waypoint/upstream/mod.ts";

const UNCOUNTED = { value: 0 };
const IDENTITY = "spiffe://cluster.local/ns/shop/sa/waypoint";

/** Serves every chain of a snapshot on a port of its own. */
export class LoopbackWaypoint {
  /** Port by chain. */
  readonly ports: ReadonlyMap<string, number>;
  /** What was written to the access log. */
  logged = "";
  readonly #listeners: Bun.TCPSocketListener<TcpEndpoint>[] = [];
  readonly #pools: UpstreamPools;

  /** @param principal identity of all clients */
  constructor(snapshot: WaypointSnapshot, principal: string) {
    const registry = new MetricRegistry();
    const log = new Logger({ write() {}, flush() {} });
    const tunnels = new Pool(
      { maxStreamsPerConnection: 100, unusedReleaseTimeout: 1000, waitTimeout: 1000 },
      () => {
        throw new Error("nothing here is in a tunnel");
      },
    );
    const connector = new Connector({ tunnels, sourceIdentity: IDENTITY, sourceIp: "127.0.0.1", dialOptions: {} });
    const pools = this.#pools = new UpstreamPools(connector);
    const clusters = new ClusterSet({ hostRemoved: (host, { cluster }) => pools.drain(cluster.name, host.key) });
    clusters.update(snapshot.clusters);
    const plane = new WaypointPlane({
      identity: IDENTITY,
      ownIp: "127.0.0.1",
      ownAddresses: new Set(),
      detectionTimeoutMs: 1000,
      clusters,
      targets: new Targets({ trustDomainPrefix: "spiffe://cluster.local/", ownAddresses: new Set() }),
      connector,
      pools,
      dryRun: registerDryRunMetrics(registry),
      logs: { listener: log.scope("test::listener"), policy: log.scope("test::policy") },
    });
    const compiled = Configuration.compile(snapshot, undefined, {
      outputs: () => ({ write: (text: string) => void (this.logged += text), flush() {} }),
      metrics: new RequestMetrics(registry, () => undefined),
      unsupportedFilter: "fail",
    });
    if (!compiled.ok) throw new Error(compiled.errors.join("\n"));
    if (compiled.configuration.problems.length > 0) throw new Error(compiled.configuration.problems.join("\n"));
    plane.configuration = compiled.configuration;
    this.ports = new Map(
      Object.keys(snapshot.chains).map((name) => [
        name,
        this.#serve(plane, compiled.configuration.chain(name) as CompiledHttpChain, principal),
      ]),
    );
  }

  #serve(plane: WaypointPlane, chain: CompiledHttpChain, principal: string): number {
    const inbound = listenTcp({
      address: { ip: "127.0.0.1", port: 0 },
      backlog: 256,
      reusePort: false,
      reuseAddress: true,
    });
    const { port } = inbound.address;
    const accept = (endpoint: TcpEndpoint) => {
      const downstream = {
        remote: { ip: "127.0.0.1", port: 40000 },
        local: { ip: "127.0.0.1", port },
        originalDestination: { ip: "127.0.0.1", port },
        authority: `127.0.0.1:${port}`,
        peerPrincipal: principal,
        sourceNamespace: "shop",
        localPrincipal: plane.identity,
        requestedServerName: undefined,
      };
      const sniffer = new ProtocolSniffer(
        (protocol) => new HttpConnection(plane, chain, downstream, protocol === "h2c" ? "http2" : "http1").endpoint,
        { timeoutMs: 0 },
      );
      new Relay(endpoint, sniffer, { relayFinished() {} }, UNCOUNTED, UNCOUNTED);
    };
    this.#listeners.push(adoptListener(inbound.fd, acceptHandlers(accept, () => {})));
    return port;
  }

  stop(): void {
    for (const listener of this.#listeners) listener.stop(true);
    this.#pools.close();
  }
}
