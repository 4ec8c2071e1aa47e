/** Istio's metrics of a waypoint: istio_requests_total and its kin (spec/waypoint.md §4.1, §4.2). */
import type { Workload } from "../../mesh/mod.ts";
import { parseAddress } from "../../net/address.ts";
import type { Histogram, LabelSet, MetricRegistry, Sample } from "../../telemetry/mod.ts";
import type { ChainTelemetry, ClusterEndpoint, ClusterService } from "../snapshot/mod.ts";
import type { DownstreamInfo, StreamInfo } from "../stream_info.ts";
import type { Compiled } from "./format.ts";
import { grpcStatusOf, isGrpcRequest } from "./grpc_status.ts";
import { compileMetricPlan, type MetricName, type MetricPlan } from "./metric_plan.ts";
import { type CounterName, type HistogramName, RequestFamilies } from "./request_families.ts";
import { destinationValues, sourceValues, UNKNOWN, withoutWorkloads } from "./request_labels.ts";

/** The record of the workload that has an IP now; asked for each request, so it must be one look-up. */
export type MeshLookup = (ip: string) => Workload | undefined;

/** Counts of one TCP connection. Every byte that its StreamInfo counts is reported once. */
export interface TcpMetrics {
  /** Reports what has moved since the last report. Each scrape does this by itself for all that are open. */
  progress(): void;
  /** The last report, and the connection counts as closed. */
  closed(): void;
}

/** The metrics of one chain, with its overrides. */
export interface ChainMetrics {
  /**
   * Counts one HTTP request that has ended. Sizes are those of head and body: wireBytes of the heads as they were read,
   * and the body bytes of StreamInfo.
   */
  record(info: StreamInfo): void;
  /**
   * Follows a TCP connection until it is closed. Its labels are fixed, and it counts as opened, as soon as its endpoint
   * is known: at once, at the next report, or when it closes without one.
   */
  opened(info: StreamInfo): TcpMetrics;
}

/** What is counted for one outcome of requests between two peers; undefined: an override drops it. */
interface HttpSeries {
  readonly requests: Sample | undefined;
  readonly duration: Histogram | undefined;
  readonly requestBytes: Histogram | undefined;
  readonly responseBytes: Histogram | undefined;
  /** gRPC only. */
  readonly requestMessages: Sample | undefined;
  readonly responseMessages: Sample | undefined;
}

/** Outcomes of a pair of peers that are kept at hand; the others are looked up by their labels. */
const MAX_OUTCOMES = 256;
/** Identities without a workload record that are kept at hand. */
const MAX_STRANGERS = 1024;

class Destination {
  readonly workload: Workload | undefined;
  readonly service: ClusterService | undefined;
  /** Of the endpoint; empty when it is no IP. */
  readonly ip: string;
  readonly values: readonly string[];

  constructor(
    workload: Workload | undefined,
    ip: string,
    endpoint: ClusterEndpoint | undefined,
    service: ClusterService | undefined,
  ) {
    this.workload = workload;
    this.service = service;
    this.ip = ip;
    this.values = destinationValues(workload, endpoint, service);
  }
}

class Source {
  readonly workload: Workload | undefined;
  readonly values: readonly string[];
  readonly security: string;
  readonly #outcomes = new WeakMap<Destination, Map<number | string, HttpSeries>>();

  constructor(workload: Workload | undefined, downstream: DownstreamInfo) {
    this.workload = workload;
    this.values = sourceValues(workload, downstream);
    this.security = downstream.peerPrincipal ? "mutual_tls" : "none";
  }

  outcomes(destination: Destination): Map<number | string, HttpSeries> {
    let outcomes = this.#outcomes.get(destination);
    if (outcomes === undefined) this.#outcomes.set(destination, outcomes = new Map());
    return outcomes;
  }
}

/** Stands for a workload, an endpoint or a service that is not known. */
const NOBODY = {};

/**
 * How a request ended, as a number: its code, and for gRPC its status. 0 to 31: not gRPC, no answer, no number, the
 * statuses 0 to 28.
 */
function outcomeOf(code: number, grpc: boolean, status: number | undefined): number {
  if (!grpc) return code * 32;
  if (status === undefined) return code * 32 + 1;
  return code * 32 + (status < 0 || status > 16 ? 2 : status + 3);
}

/** What `outcomeOf` says of gRPC, as label. */
function grpcLabel(outcome: number): string {
  const status = outcome % 32;
  if (status < 2) return "";
  return status === 2 ? UNKNOWN : String(status - 3);
}

/**
 * The metrics of one set of overrides. Records, endpoints and connections are immutable and replaced when they change,
 * so the objects themselves are the keys: a request on a known connection costs a few look-ups and joins no labels.
 */
class PlannedMetrics implements ChainMetrics {
  readonly #families: RequestFamilies;
  readonly #plan: MetricPlan;
  readonly #lookup: MeshLookup;
  readonly #open: Set<TcpMetrics>;
  readonly #connections = new WeakMap<DownstreamInfo, Source>();
  readonly #sources = new WeakMap<object, Map<string, Source>>();
  readonly #destinations = new WeakMap<object, Destination>();

  constructor(families: RequestFamilies, plan: MetricPlan, lookup: MeshLookup, open: Set<TcpMetrics>) {
    this.#families = families;
    this.#plan = plan;
    this.#lookup = lookup;
    this.#open = open;
  }

  record(info: StreamInfo): void {
    const source = this.#source(info.downstream);
    const destination = this.#destination(info);
    const grpc = isGrpcRequest(info.request);
    const outcome = outcomeOf(info.responseCode, grpc, grpc ? grpcStatusOf(info) : undefined);
    const series = this.#outcome(info, source, destination, outcome, grpc);
    if (series.requests !== undefined) series.requests.value++;
    const endedAt = info.endedAt === 0 ? performance.now() : info.endedAt;
    series.duration?.observe(Math.max(0, endedAt - info.startedAt));
    series.requestBytes?.observe((info.request?.wireBytes ?? 0) + info.bytesReceived);
    series.responseBytes?.observe((info.response?.wireBytes ?? 0) + info.bytesSent);
    if (!grpc) return;
    if (series.requestMessages !== undefined) series.requestMessages.value += info.requestMessages;
    if (series.responseMessages !== undefined) series.responseMessages.value += info.responseMessages;
  }

  opened(info: StreamInfo): TcpMetrics {
    const connection = new TcpConnection(info, (name) => this.#tcpCounters(info, name), this.#open);
    this.#open.add(connection);
    connection.progress();
    return connection;
  }

  #source(downstream: DownstreamInfo): Source {
    const workload = this.#lookup(downstream.remote.ip);
    const known = this.#connections.get(downstream);
    if (known !== undefined && known.workload === workload) return known;
    const key = workload ?? NOBODY;
    let byPrincipal = this.#sources.get(key);
    if (byPrincipal === undefined) this.#sources.set(key, byPrincipal = new Map());
    const principal = downstream.peerPrincipal ?? "";
    let source = byPrincipal.get(principal);
    if (source === undefined) {
      source = new Source(workload, downstream);
      if (byPrincipal.size < MAX_STRANGERS) byPrincipal.set(principal, source);
    }
    this.#connections.set(downstream, source);
    return source;
  }

  #destination(info: StreamInfo): Destination {
    const { endpoint, service } = info;
    const key = endpoint ?? service ?? NOBODY;
    const known = this.#destinations.get(key);
    if (known !== undefined && known.service === service) {
      if (known.ip === "" || this.#lookup(known.ip) === known.workload) return known;
    }
    const ip = endpoint === undefined ? "" : parseAddress(endpoint.address)?.ip ?? "";
    const destination = new Destination(ip === "" ? undefined : this.#lookup(ip), ip, endpoint, service);
    this.#destinations.set(key, destination);
    return destination;
  }

  #outcome(info: StreamInfo, source: Source, destination: Destination, outcome: number, grpc: boolean): HttpSeries {
    const outcomes = source.outcomes(destination);
    const dimensions = this.#plan.hasDimensions ? this.#plan.evaluate(info) : NO_DIMENSIONS;
    const plain = info.flags.length === 0 && dimensions.length === 0;
    const key = plain ? outcome : `${outcome} ${info.flagText} ${dimensions.join("\u0000")}`;
    let series = outcomes.get(key);
    if (series === undefined) {
      series = this.#series(info, source, destination, outcome, grpc, dimensions);
      if (outcomes.size < MAX_OUTCOMES) outcomes.set(key, series);
    }
    return series;
  }

  #series(
    info: StreamInfo,
    source: Source,
    destination: Destination,
    outcome: number,
    grpc: boolean,
    dimensions: readonly string[],
  ): HttpSeries {
    const peers = [...source.values, ...destination.values];
    const rest = [
      grpc ? "grpc" : "http",
      String(info.responseCode),
      grpcLabel(outcome),
      info.flagText,
      source.security,
    ];
    const counter = (name: CounterName) =>
      this.#labelled(name, peers, rest, dimensions, (labels) => this.#families.counter(name, labels));
    const histogram = (name: HistogramName) =>
      this.#labelled(name, peers, rest, dimensions, (labels) => this.#families.histogram(name, labels));
    return {
      requests: counter("requests_total"),
      duration: histogram("request_duration_milliseconds"),
      requestBytes: histogram("request_bytes"),
      responseBytes: histogram("response_bytes"),
      requestMessages: grpc ? counter("request_messages_total") : undefined,
      responseMessages: grpc ? counter("response_messages_total") : undefined,
    };
  }

  /** The series of a metric for standard values `peers` and `rest`; undefined when the metric is dropped. */
  #labelled<S>(
    name: MetricName,
    peers: readonly string[],
    rest: readonly string[],
    dimensions: readonly string[],
    find: (labels: LabelSet) => S,
  ): S | undefined {
    const plan = this.#plan.labels(name);
    if (plan === undefined) return undefined;
    return find(this.#families.labels(plan, [...peers, ...rest], dimensions, () => ({
      standard: [...withoutWorkloads(peers), ...rest],
      dimensions: dimensions.map(() => UNKNOWN),
    })));
  }

  /** The counter that `name` is for this connection as it is known now. */
  #tcpCounters(info: StreamInfo, name: CounterName): Sample | undefined {
    const source = this.#source(info.downstream);
    const peers = [...source.values, ...this.#destination(info).values];
    const rest = ["tcp", info.flagText, source.security];
    const dimensions = this.#plan.evaluate(info);
    return this.#labelled(name, peers, rest, dimensions, (labels) => this.#families.counter(name, labels));
  }
}

const NO_DIMENSIONS: readonly string[] = [];

class TcpConnection implements TcpMetrics {
  readonly #info: StreamInfo;
  readonly #find: (name: CounterName) => Sample | undefined;
  readonly #open: Set<TcpMetrics>;
  #state: "unreported" | "reported" | "closed" = "unreported";
  #sent: Sample | undefined;
  #received: Sample | undefined;
  #closed: Sample | undefined;
  #bytesSent = 0;
  #bytesReceived = 0;

  constructor(info: StreamInfo, find: (name: CounterName) => Sample | undefined, open: Set<TcpMetrics>) {
    this.#info = info;
    this.#find = find;
    this.#open = open;
  }

  progress(): void {
    if (this.#state === "unreported" && this.#info.endpoint !== undefined) this.#begin();
    if (this.#state === "reported") this.#report();
  }

  closed(): void {
    if (this.#state === "closed") return;
    if (this.#state === "unreported") this.#begin();
    this.#report();
    this.#state = "closed";
    this.#open.delete(this);
    if (this.#closed !== undefined) this.#closed.value++;
  }

  #begin(): void {
    this.#state = "reported";
    const opened = this.#find("tcp_connections_opened_total");
    if (opened !== undefined) opened.value++;
    this.#sent = this.#find("tcp_sent_bytes_total");
    this.#received = this.#find("tcp_received_bytes_total");
    this.#closed = this.#find("tcp_connections_closed_total");
  }

  #report(): void {
    const { bytesSent, bytesReceived } = this.#info;
    if (this.#sent !== undefined) this.#sent.value += bytesSent - this.#bytesSent;
    if (this.#received !== undefined) this.#received.value += bytesReceived - this.#bytesReceived;
    this.#bytesSent = bytesSent;
    this.#bytesReceived = bytesReceived;
  }
}

/** Counts nothing. */
const NO_METRICS: ChainMetrics = {
  record: () => {},
  opened: () => ({ progress: () => {}, closed: () => {} }),
};

export class RequestMetrics {
  readonly #families: RequestFamilies;
  readonly #lookup: MeshLookup;
  readonly #open = new Set<TcpMetrics>();
  /** By overrides as JSON. */
  readonly #chains = new Map<string, ChainMetrics>();

  constructor(registry: MetricRegistry, lookup: MeshLookup) {
    this.#families = new RequestFamilies(registry);
    this.#lookup = lookup;
    registry.beforeScrape(() => {
      for (const connection of this.#open) connection.progress();
    });
  }

  /**
   * The metrics of a chain; equal overrides give the same object, so that a new snapshot goes on with what is known.
   * undefined: the chain has none. Refuses expressions that are no CEL, by override and label.
   */
  chain(telemetry: ChainTelemetry["metrics"]): Compiled<ChainMetrics> {
    if (telemetry === undefined) return { ok: true, format: NO_METRICS };
    const key = JSON.stringify(telemetry.overrides);
    let metrics = this.#chains.get(key);
    if (metrics === undefined) {
      const plan = compileMetricPlan(telemetry.overrides);
      if (!plan.ok) return plan;
      metrics = new PlannedMetrics(this.#families, plan.format, this.#lookup, this.#open);
      this.#chains.set(key, metrics);
    }
    return { ok: true, format: metrics };
  }
}
