import { type ConnectFailure, connectFailure } from "../hbone/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { Relay, type RelayOwner } from "../net/relay.ts";
import type { PolicyDecision, PolicySet } from "../policy/mod.ts";
import type { AccessLog, ConnectionEnds, KnownTraffic } from "../telemetry/mod.ts";
import type { ConnectionTracker } from "./tracker.ts";

/** Error of connections that end because their pod is gone or the process is. */
export const CONNECTION_DRAIN = "connection closed due to connection drain";

/** A line of `workloadState[uid].connections` in the configuration dump. */
export interface ConnectionSummary {
  readonly src: SocketAddress;
  /** Outbound: where the application wanted to go; inbound: the service host of the forwarded header. */
  readonly originalDst: string | null;
  readonly actualDst: SocketAddress;
  readonly protocol: "HBONE" | "TCP" | "DOUBLEHBONE";
}

/** Why a connection ended badly, with the places in the policies that decided where they did. */
export interface ConnectionFailure extends ConnectFailure {
  readonly decisions?: readonly PolicyDecision[];
}

/**
 * A connection that was let in: counted and logged when it opens, relayed, counted and logged when it ends, and cut
 * when it must not go on. Subclasses decide where it goes.
 */
export abstract class Connection implements RelayOwner {
  readonly #log: AccessLog;
  readonly #tracker: ConnectionTracker;
  /** ms of performance.now() */
  readonly started: number = performance.now();
  #traffic: KnownTraffic | undefined = undefined;
  /** `opened` was counted for #traffic. */
  #counted = false;
  #ends: ConnectionEnds | undefined = undefined;
  #relay: Relay | undefined = undefined;
  #failure: ConnectionFailure | undefined = undefined;
  /** Bytes in both directions when they were last looked at, and since when they are the same. */
  #moved = 0;
  #movedAt = this.started;

  constructor(log: AccessLog, tracker: ConnectionTracker) {
    this.#log = log;
    this.#tracker = tracker;
  }

  abstract readonly direction: "inbound" | "outbound";
  abstract summary(): ConnectionSummary;
  /** Asks the policies again after a change; the failure with which to cut a connection that they no longer let in. */
  abstract recheck(policies: PolicySet): ConnectionFailure | undefined;
  /** Lets go of what is there before the relay: sockets half made, requests under way. */
  protected abstract abandon(): void;

  /** From here on the connection counts; every `opened` is followed by exactly one end. */
  protected opened(traffic: KnownTraffic, ends: ConnectionEnds): void {
    this.begun(traffic, ends);
    this.count(traffic);
  }

  /**
   * As `opened`, where what is counted is known only later: `count` follows, or the end counts it (spec/ztunnel.md §10.1,
   * double HBONE).
   */
  protected begun(traffic: KnownTraffic, ends: ConnectionEnds): void {
    this.#traffic = traffic;
    this.#ends = ends;
    this.#counted = false;
    this.#tracker.add(this);
  }

  protected count(traffic: KnownTraffic): void {
    this.#traffic = traffic;
    this.#counted = true;
    traffic.series.opened.value++;
    this.#log.connectionOpened(this.#ends as ConnectionEnds, traffic);
  }

  /** An attempt failed before any byte and another one follows at once: it is counted and told on its own. */
  protected retried(failure: ConnectFailure, next: SocketAddress): void {
    const traffic = this.#traffic as KnownTraffic;
    if (!this.#counted) traffic.series.opened.value++;
    traffic.series.close(failure.flag);
    this.#log.connectionRetried(this.#ends as ConnectionEnds, traffic, failure.text, next);
  }

  /** Whether it has ended, so that a late answer of a peer finds nobody. */
  get ended(): boolean {
    return this.#traffic === undefined;
  }

  protected relay(downstream: Endpoint, upstream: Endpoint): void {
    const { series } = this.#traffic as KnownTraffic;
    this.#relay = new Relay(downstream, upstream, this, series.received, series.sent);
  }

  /** Ends a connection in which no byte has moved for `limit` ms. Asked at every tick, so a byte costs nothing for it. */
  cutIfIdle(now: number, limit: number): void {
    const relay = this.#relay;
    if (relay === undefined) return;
    const moved = relay.received + relay.sent;
    if (moved !== this.#moved) {
      this.#moved = moved;
      this.#movedAt = now;
    } else if (now - this.#movedAt >= limit) {
      this.cut(connectFailure("connection idle timeout"));
    }
  }

  relayFinished(relay: Relay): void {
    const failure = this.#failure ??
      (relay.error === undefined ? undefined : connectFailure(relay.error.text, relay.error.flag));
    this.#end(failure, relay.received, relay.sent);
  }

  /** Ends a connection that never got as far as a relay. */
  protected failed(failure: ConnectionFailure): void {
    this.#end(failure, 0, 0);
  }

  /** Ends the connection now, for a reason of ours. */
  cut(failure: ConnectionFailure): void {
    if (this.ended) return;
    const relay = this.#relay;
    if (relay === undefined) {
      this.abandon();
      this.failed(failure);
      return;
    }
    this.#failure ??= failure;
    relay.cut({ text: failure.text });
  }

  #end(failure: ConnectionFailure | undefined, received: number, sent: number): void {
    const traffic = this.#traffic;
    if (traffic === undefined) return;
    this.#traffic = undefined;
    this.#tracker.remove(this);
    if (!this.#counted) traffic.series.opened.value++;
    traffic.series.close(failure?.flag ?? "-");
    this.#log.connectionComplete(this.#ends as ConnectionEnds, traffic, {
      received,
      sent,
      durationMs: performance.now() - this.started,
      error: failure?.text,
      decisions: failure?.decisions,
    });
  }
}
