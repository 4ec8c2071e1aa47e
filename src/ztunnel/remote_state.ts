import type { ZtunnelConfig } from "../config/mod.ts";
import { controlPlaneChannel, watchRoots } from "../process/mod.ts";
import { type LogScope, type MetricRegistry, XdsMetrics } from "../telemetry/mod.ts";
import { ADDRESS_TYPE, AdsClient, type AdsStatus, ztunnelNode } from "../xds/mod.ts";
import { addressType, authorizationType, type MeshOwner } from "./mesh_resources.ts";

/** How often the wait for the first state is told, ms. */
const PATIENCE_MS = 15_000;

export interface RemoteStateOptions {
  /** istiod, `https://host:port` */
  readonly address: string;
  readonly config: ZtunnelConfig;
  readonly mesh: MeshOwner;
  readonly registry: MetricRegistry;
  readonly log: LogScope;
  /** istiod has answered: it was away, and what waits for it need not wait longer. */
  readonly onConnected: () => void;
}

/** The mesh as istiod tells it, from the first state on for as long as the process lives. */
export class RemoteState {
  readonly #address: string;
  readonly #log: LogScope;
  readonly #client: AdsClient;
  readonly #roots: { close(): void };
  #patience: Timer | undefined;

  constructor({ address, config, mesh, registry, log, onConnected }: RemoteStateOptions) {
    this.#address = address;
    this.#log = log;
    const { xdsRootCertificate: root, altXdsHostname: altHostname, xdsHeaders: headers } = config;
    const { authToken: token, clusterId, tls12, pqc } = config;
    const client = this.#client = new AdsClient({
      channel: controlPlaneChannel(
        { address, root, altHostname, headers },
        { token, clusterId, tlsPolicy: { tls12, pqc } },
      ),
      node: ztunnelNode({ ...config, metadata: config.proxyMetadata }),
      types: [addressType(mesh, log, config.xdsOnDemand), authorizationType(mesh, log)],
      log,
      metrics: new XdsMetrics(registry),
      onConnected,
    });
    client.start();
    this.#roots = watchRoots(root, log, () => client.retryNow());
    this.#patience = setInterval(() => this.#tell(), PATIENCE_MS);
    void client.synced.then(() => clearInterval(this.#patience));
  }

  /** The first state is in force. */
  get synced(): Promise<void> {
    return this.#client.synced;
  }

  /** Asks for a workload or service of this name (XDS_ON_DEMAND); resolves when the answer is in force. */
  demand(name: string): Promise<void> {
    return this.#client.demand(ADDRESS_TYPE, name);
  }

  status(): AdsStatus {
    return this.#client.status();
  }

  close(): void {
    clearInterval(this.#patience);
    this.#roots.close();
    this.#client.close();
  }

  /** Why we are not ready, for whoever looks. */
  #tell(): void {
    const { connected, lastError, types } = this.#client.status();
    const missing = types.flatMap(({ typeUrl, lastPush }) => lastPush === undefined ? [typeUrl] : []);
    const refused = types.flatMap(({ refused }) => refused === undefined ? [] : [refused.error]);
    this.#log.warn("still waiting for the first state of the control plane", [
      ["address", this.#address],
      ["connected", connected],
      ["missing", missing.join(", ")],
      ["refused", refused.join("; ")],
      ["last_error", lastError ?? ""],
    ]);
  }
}
