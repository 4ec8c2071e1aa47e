import { type ConnectFailure, connectFailure } from "../hbone/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { Relay, type RelayOwner } from "../net/relay.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import { suspendRelay, type Suspension } from "../net/suspension.ts";
import type { PolicyDecision, PolicySet } from "../policy/mod.ts";
import type { AccessLog, ConnectionEnds, KnownTraffic, TrafficFlow } from "../telemetry/mod.ts";
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

/** What another process must be told of a connection of plain TCP on both sides, to go on with it. */
export interface PlainConnection {
  readonly direction: "inbound" | "outbound";
  readonly source: SocketAddress;
  /** Where the client wanted to go. */
  readonly destination: SocketAddress;
  /** Where it went. */
  readonly dialled: SocketAddress;
  /** Uid of the workload that is there, where it is known and not ours. */
  readonly workload: string | undefined;
  readonly service: TrafficFlow["service"];
}

/** How far a connection had come. */
export interface Progress {
  /** Bytes from downstream to upstream, and back: those that were read. */
  readonly received: number;
  readonly sent: number;
  /** How many of them were not sent on, and are the first that the endpoints hold. */
  readonly unsentUp: number;
  readonly unsentDown: number;
  /** Since it was let in, ms. */
  readonly age: number;
}

/** A connection that another process was carrying. */
export type PlainRelay = PlainConnection & Progress;

/** Goes on with it, once its sockets are ours. */
export type GoOn = (downstream: TcpEndpoint, upstream: TcpEndpoint) => void;

/** A connection that stands still: either keep() or release() must follow. */
export interface SuspendedConnection extends PlainConnection, Progress {
  readonly suspension: Pick<Suspension, "fds" | "unsent">;
  /** It goes on here after all. */
  keep(): void;
  /** It goes on in another process, which will count and tell its end. */
  release(): void;
}

/**
 * A connection that was let in: counted and logged when it opens, relayed, counted and logged when it ends, and cut
 * when it must not go on. Subclasses decide where it goes.
 */
export abstract class Connection implements RelayOwner {
  readonly #log: AccessLog;
  readonly #tracker: ConnectionTracker;
  /** ms of performance.now() */
  #started: number = performance.now();
  #traffic: KnownTraffic | undefined = undefined;
  /** `opened` was counted for #traffic. */
  #counted = false;
  #ends: ConnectionEnds | undefined = undefined;
  #relay: Relay | undefined = undefined;
  #failure: ConnectionFailure | undefined = undefined;
  /** Bytes in both directions when they were last looked at, and since when they are the same. */
  #moved = 0;
  #movedAt = this.#started;
  /** Set while the connection is offered to another process, with what would have cut it meanwhile. */
  #offered: { cut: ConnectionFailure | undefined } | undefined = undefined;

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

  /** What another process must know to carry it; undefined: only this one can. */
  protected plain(): PlainConnection | undefined {
    return undefined;
  }

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

  /** When it was let in; ms of performance.now(). */
  get started(): number {
    return this.#started;
  }

  /** Whether it has ended, so that a late answer of a peer finds nobody. */
  get ended(): boolean {
    return this.#traffic === undefined;
  }

  protected relay(downstream: Endpoint, upstream: Endpoint): void {
    const { series } = this.#traffic as KnownTraffic;
    this.#relay = new Relay(downstream, upstream, this, series.received, series.sent);
    this.#tracker.relayed?.(this);
  }

  /** Goes on with what another process began and counted as opened. */
  protected continued(
    traffic: KnownTraffic,
    ends: ConnectionEnds,
    downstream: Endpoint,
    upstream: Endpoint,
    { received, sent, unsentUp, unsentDown, age }: Progress,
  ): void {
    this.begun(traffic, ends);
    this.#counted = true;
    this.#started -= age;
    this.#moved = received + sent;
    downstream.bytesRead = received - unsentUp;
    upstream.bytesRead = sent - unsentDown;
    this.relay(downstream, upstream);
    // As soon as they are joined the endpoints pass on, and count, what was unsent; the other process had counted it.
    traffic.series.received.value -= unsentUp;
    traffic.series.sent.value -= unsentDown;
  }

  /** Stands still for another process to go on with it; undefined: it cannot, or it is ending. */
  suspend(): SuspendedConnection | undefined {
    const relay = this.#relay;
    const plain = this.plain();
    if (relay === undefined || plain === undefined || this.ended || this.#offered !== undefined) return undefined;
    const suspension = suspendRelay(relay);
    if (suspension === undefined) return undefined;
    this.#offered = { cut: undefined };
    const { received, sent } = relay;
    const [unsentDown, unsentUp] = suspension.unsent.map(total) as [number, number];
    return {
      ...plain,
      ...{ received, sent, unsentUp, unsentDown, suspension },
      age: performance.now() - this.#started,
      keep: () => {
        const cut = this.#offered?.cut;
        this.#offered = undefined;
        suspension.resume();
        if (cut !== undefined) this.cut(cut);
      },
      release: () => {
        suspension.release();
        this.#traffic = undefined;
        this.#tracker.remove(this);
      },
    };
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
    if (this.#offered !== undefined) {
      this.#offered.cut ??= failure; // whoever takes it asks for itself
      return;
    }
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
      durationMs: performance.now() - this.#started,
      error: failure?.text,
      decisions: failure?.decisions,
    });
  }
}

function total(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
