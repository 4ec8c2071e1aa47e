import type { AccessLog, ConnectionEnds } from "./access_log.ts";
import type { KnownTraffic, TrafficMetrics } from "./traffic.ts";
import type { ResponseFlag, TrafficFlow } from "./traffic_labels.ts";

/** Why a connection ended badly: the text for the log, the flag for the metrics (`-` leaves it out of the failures). */
export interface ConnectionFailure {
  readonly error: string;
  readonly flag: ResponseFlag;
}

/** The telemetry of one connection (or of one tunnelled stream), from open to close. */
export class ConnectionRecord {
  /** Bytes from downstream to upstream. */
  received = 0;
  /** Bytes from upstream to downstream. */
  sent = 0;
  readonly #traffic: KnownTraffic;
  readonly #ends: ConnectionEnds;
  readonly #log: AccessLog;
  readonly #started = performance.now();
  #closed = false;

  constructor(log: AccessLog, traffic: KnownTraffic, ends: ConnectionEnds) {
    this.#log = log;
    this.#traffic = traffic;
    this.#ends = ends;
    traffic.series.opened.value++;
    log.connectionOpened(ends, traffic);
  }

  /** Counts bytes that moved from downstream to upstream. */
  countReceived(bytes: number): void {
    this.received += bytes;
    this.#traffic.series.received.value += bytes;
  }

  /** Counts bytes that moved from upstream to downstream. */
  countSent(bytes: number): void {
    this.sent += bytes;
    this.#traffic.series.sent.value += bytes;
  }

  /** Ends the record; only the first call counts. */
  close(failure?: ConnectionFailure): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#traffic.series.close(failure?.flag ?? "-");
    this.#log.connectionComplete(this.#ends, this.#traffic, {
      received: this.received,
      sent: this.sent,
      durationMs: performance.now() - this.#started,
      error: failure?.error,
    });
  }
}

/** Opens records. */
export class ConnectionTelemetry {
  readonly log: AccessLog;
  readonly metrics: TrafficMetrics;

  constructor(log: AccessLog, metrics: TrafficMetrics) {
    this.log = log;
    this.metrics = metrics;
  }

  /** Counts an opened connection. Call it once the flow is resolved and before the upstream is dialled. */
  open(flow: TrafficFlow, ends: ConnectionEnds): ConnectionRecord {
    return new ConnectionRecord(this.log, this.metrics.lookup(flow), ends);
  }
}
