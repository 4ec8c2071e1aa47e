/** One TCP connection of a chain: authorization, a host, a byte stream to it, a relay (spec/waypoint.md §1.8). */
import type { Endpoint } from "../net/endpoint.ts";
import { PendingEndpoint } from "../net/pending_endpoint.ts";
import { Relay } from "../net/relay.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { Choice, HostState } from "./cluster/mod.ts";
import type { CompiledTcpChain, Configuration } from "./configuration.ts";
import type { WaypointPlane } from "./plane.ts";
import { type DownstreamInfo, StreamInfo } from "./stream_info.ts";
import type { TcpMetrics } from "./telemetry/mod.ts";
import type { PendingConnection, UpstreamConnectFailure, UpstreamConnectionInfo } from "./upstream/mod.ts";

/** Hosts that are tried before the connection is given up: nothing was sent to any of them. */
const CONNECT_ATTEMPTS = 3;

/**
 * Begins as soon as it is made. Its `endpoint` is what the downstream's relay is joined with: it stands in for the
 * upstream until that is there.
 */
export class TcpConnection implements Ticking {
  readonly endpoint: PendingEndpoint;
  readonly info: StreamInfo;
  readonly #plane: WaypointPlane;
  #chain: CompiledTcpChain;
  #cluster = "";
  #hash: bigint | undefined = undefined;
  #host: HostState | undefined = undefined;
  #tried: Set<HostState> | undefined = undefined;
  #choice: Choice | undefined = undefined;
  #dial: PendingConnection | undefined = undefined;
  #relay: Relay | undefined = undefined;
  #metrics: TcpMetrics | undefined = undefined;
  #state: "connecting" | "open" | "ended" = "connecting";
  #lastBytes = 0;
  #lastProgress = 0;

  constructor(plane: WaypointPlane, chain: CompiledTcpChain, downstream: DownstreamInfo) {
    this.#plane = plane;
    this.#chain = chain;
    this.info = new StreamInfo(downstream);
    this.endpoint = new PendingEndpoint(() => this.#abandoned());
  }

  /** The relay that joins the client with `endpoint`. */
  start(relay: Relay): void {
    if (this.#state !== "connecting") return; // the client was gone before
    this.#relay = relay;
    const { info } = this;
    info.service = this.#chain.chain.service;
    this.#metrics = this.#chain.metrics?.opened(info);
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      this.#fail(refusal);
      return;
    }
    if (!this.#authorized()) {
      this.#fail("");
      return;
    }
    this.#cluster = this.#pickCluster();
    if (this.#chain.chain.hashSourceIp) this.#hash = Bun.hash.xxHash64(info.downstream.remote.ip);
    info.clusterName = this.#cluster;
    info.service = this.#plane.clusters.get(this.#cluster)?.cluster.service ?? info.service;
    this.#try();
  }

  /** A new configuration serves: a connection whose chain is gone, or that its policies now deny, ends. */
  reconfigured(configuration: Configuration): void {
    if (this.#state === "ended") return;
    const chain = configuration.chain(this.#chain.chain.name);
    if (chain === this.#chain) return;
    if (chain?.kind !== "tcp") {
      this.info.connectionTerminationDetails = "filter_chain_is_being_removed";
      this.cut("its service is not served here any more");
      return;
    }
    this.#chain = chain;
    const refusal = this.#refusal();
    if (refusal !== undefined) this.cut(refusal);
    else if (!this.#authorized()) this.cut("denied by policy");
  }

  /** Why nothing may pass, whatever the policies say of it. */
  #refusal(): string | undefined {
    const { refusal, readsServerName } = this.#chain;
    const { serverNameUnknown } = this.info.downstream;
    if (refusal !== undefined || !readsServerName || serverNameUnknown === undefined) return refusal;
    this.info.connectionTerminationDetails = "rbac_access_denied_matched_policy[none]";
    return `a policy asks for the server name: ${serverNameUnknown}`;
  }

  #authorized(): boolean {
    const { rbac } = this.#chain;
    if (rbac === undefined) return true;
    const { info } = this;
    const verdict = this.#plane.authorize(rbac, this.#chain.chain.name, info, undefined);
    if (!verdict.allowed) info.connectionTerminationDetails = verdict.responseCodeDetails;
    return verdict.allowed;
  }

  /** Ends it now. */
  cut(text: string): void {
    if (this.#state === "open") this.#relay?.cut({ text });
    else this.#fail(text);
  }

  #pickCluster(): string {
    const { clusters } = this.#chain.chain;
    let total = 0;
    for (const { weight } of clusters) total += weight;
    let point = Math.random() * total;
    for (const { cluster, weight } of clusters) {
      point -= weight;
      if (point < 0) return cluster;
    }
    return clusters.at(-1)?.cluster ?? "";
  }

  #try(): void {
    this.#choice = this.#plane.clusters.choose(this.#cluster, {
      hash: this.#hash,
      excluded: this.#tried,
      originalDestination: this.info.downstream.originalDestination,
    }, (host) => {
      this.#choice = undefined;
      if (this.#state === "connecting") this.#connect(host);
    });
  }

  #connect(host: HostState | undefined): void {
    const { info } = this;
    const balanced = this.#plane.clusters.get(this.#cluster);
    const target = host && balanced && this.#plane.targets.of(balanced.cluster, host, {
      authority: undefined,
      source: info.downstream.remote,
      destination: info.downstream.local,
    });
    if (host === undefined || target === undefined) {
      info.flag(balanced === undefined ? "NC" : "UH");
      this.#fail("no healthy upstream");
      return;
    }
    info.endpoint = host.endpoint;
    info.upstreamAddress = host.endpoint.address;
    info.attempts++;
    host.activeRequests++;
    this.#host = host;
    this.#dial = this.#plane.connector.connect(target, {
      connected: (endpoint, connection) => this.#connected(endpoint, connection),
      connectFailed: (failure) => this.#connectFailed(host, failure),
    });
  }

  #connected(endpoint: Endpoint, connection: UpstreamConnectionInfo): void {
    this.#dial = undefined;
    if (this.#state !== "connecting") {
      endpoint.abort();
      return;
    }
    this.#state = "open";
    this.info.upstreamLocalAddress = connection.localAddress;
    this.#lastProgress = performance.now();
    startTicking(this);
    this.endpoint.become(endpoint);
  }

  #connectFailed(host: HostState, failure: UpstreamConnectFailure): void {
    this.#dial = undefined;
    this.#leaveHost();
    const { info } = this;
    info.upstreamFailure = failure.detail;
    if (this.#state !== "connecting") return;
    const balanced = this.#plane.clusters.get(this.#cluster);
    (this.#tried ??= new Set()).add(host);
    const others = balanced?.pick({ excluded: this.#tried, originalDestination: info.downstream.originalDestination });
    if (info.attempts < CONNECT_ATTEMPTS && others !== undefined && !this.#tried.has(others)) {
      this.#try();
      return;
    }
    info.flag("UF");
    this.#fail(failure.detail);
  }

  /** The client is gone, or nothing can be done for it. */
  #abandoned(): void {
    if (this.#state !== "connecting") return;
    this.#choice?.abandon();
    this.#dial?.abandon();
    this.#leaveHost();
  }

  #fail(text: string): void {
    if (this.#state !== "connecting") return;
    this.#abandoned();
    if (text !== "") this.info.upstreamFailure ||= text;
    this.#relay?.cut({ text });
  }

  #leaveHost(): void {
    if (this.#host !== undefined) this.#host.activeRequests--;
    this.#host = undefined;
  }

  tick(now: number): void {
    const { idleTimeoutMs, maxConnectionDurationMs } = this.#chain.chain;
    const relay = this.#relay as Relay;
    const bytes = relay.received + relay.sent;
    this.info.bytesReceived = relay.received;
    this.info.bytesSent = relay.sent;
    if (bytes !== this.#lastBytes) {
      this.#lastBytes = bytes;
      this.#lastProgress = now;
    } else if (idleTimeoutMs > 0 && now - this.#lastProgress >= idleTimeoutMs) {
      this.info.connectionTerminationDetails = "idle_timeout";
      this.cut("idle timeout");
      return;
    }
    if (maxConnectionDurationMs > 0 && now - this.info.startedAt >= maxConnectionDurationMs) {
      this.info.flag("DT");
      this.info.connectionTerminationDetails = "max_connection_duration_reached";
      this.cut("maximum duration reached");
    }
  }

  /** By who owns the relay: both sides are closed. */
  finished(relay: Relay): void {
    if (this.#state === "ended") return;
    if (this.#state === "open") stopTicking(this);
    this.#abandoned();
    this.#leaveHost();
    this.#state = "ended";
    const { info } = this;
    info.bytesReceived = relay.received;
    info.bytesSent = relay.sent;
    info.endedAt = performance.now();
    this.#metrics?.closed();
    this.#chain.log(info);
  }
}
