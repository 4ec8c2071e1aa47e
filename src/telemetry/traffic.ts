import { LabelSchema, type LabelSet } from "./labels.ts";
import type { Family, MetricRegistry, Sample } from "./metrics.ts";
import {
  FLAG_INDEX,
  LOCALITY_LABELS,
  type ResponseFlag,
  TRAFFIC_LABELS,
  type TrafficFlow,
  trafficValues,
  type TrafficWorkload,
} from "./traffic_labels.ts";

interface TrafficFamilies {
  readonly opened: Family;
  readonly closed: Family;
  readonly failed: Family;
  readonly received: Family;
  readonly sent: Family;
}

/** The counters of one kind of traffic. */
export class TrafficSeries {
  readonly opened: Sample;
  /** Bytes from downstream to upstream (client to server), whoever reports. */
  readonly received: Sample;
  /** Bytes from upstream to downstream. */
  readonly sent: Sample;
  readonly #families: TrafficFamilies;
  readonly #values: readonly string[];
  readonly #intern: (values: readonly string[]) => LabelSet;
  readonly #closed: Sample;

  constructor(families: TrafficFamilies, values: readonly string[], intern: (values: readonly string[]) => LabelSet) {
    const labels = intern(values);
    this.opened = families.opened.with(labels);
    this.received = families.received.with(labels);
    this.sent = families.sent.with(labels);
    this.#closed = families.closed.with(labels);
    this.#families = families;
    this.#values = values;
    this.#intern = intern;
  }

  /** Counts the end of one connection. */
  close(flag: ResponseFlag): void {
    if (flag === "-") {
      this.#closed.value++;
      return;
    }
    const labels = this.#intern(this.#values.with(FLAG_INDEX, flag));
    this.#families.closed.with(labels).value++;
    this.#families.failed.with(labels).value++;
  }
}

/** A flow as it was described, with its counters and with what the access log always says of it. */
export class KnownTraffic {
  readonly flow: TrafficFlow;
  readonly series: TrafficSeries;
  /** Text of the access log's constant fields; kept here by the access log. */
  sourceFields: string | undefined;
  destinationFields: string | undefined;

  constructor(flow: TrafficFlow, series: TrafficSeries) {
    this.flow = flow;
    this.series = series;
    this.sourceFields = undefined;
    this.destinationFields = undefined;
  }

  /** Whether `flow`, whose workloads are the same objects, is this one. */
  matches(flow: TrafficFlow): boolean {
    const own = this.flow;
    return own.reporter === flow.reporter && own.security === flow.security &&
      own.sourceIdentity === flow.sourceIdentity && own.destinationIdentity === flow.destinationIdentity &&
      own.service?.hostname === flow.service?.hostname && own.service?.namespace === flow.service?.namespace &&
      own.service?.name === flow.service?.name;
  }
}

/** Stands for a workload that is not known. */
const NOBODY = {} as TrafficWorkload;

/**
 * The five traffic families and the way from a flow to its counters. Workload records are immutable and replaced when
 * they change, so the record itself is the key: for a known pair of records a connection costs two look-ups.
 */
export class TrafficMetrics {
  readonly #families: TrafficFamilies;
  readonly #series = new Map<string, TrafficSeries>();
  readonly #plain = new LabelSchema(TRAFFIC_LABELS);
  readonly #located = new LabelSchema([...TRAFFIC_LABELS, ...LOCALITY_LABELS]);
  readonly #known = new WeakMap<TrafficWorkload, WeakMap<TrafficWorkload, KnownTraffic[]>>();
  /** Sockets that were accepted and are open: applications' on the source side, peers' on the destination side. */
  readonly sockets: { readonly source: Sample; readonly destination: Sample };

  constructor(registry: MetricRegistry) {
    const counter = (name: string, help: string) =>
      registry.family({ name: `istio_tcp_${name}`, type: "counter", help });
    this.#families = {
      opened: counter("connections_opened", "Connections opened."),
      closed: counter("connections_closed", "Connections closed, by how they ended."),
      failed: counter("connections_failed", "Connections that failed, by why (unstable)."),
      received: counter("received_bytes", "Bytes received from the client and sent to the server."),
      sent: counter("sent_bytes", "Bytes received from the server and sent to the client."),
    };
    const sockets = registry.family({
      name: "istio_tcp_sockets_open",
      type: "gauge",
      help: "Accepted TCP sockets that are open now (unstable).",
      labelNames: ["reporter"],
    });
    this.sockets = { source: sockets.labels(["source"]), destination: sockets.labels(["destination"]) };
  }

  /** The counters for a flow. */
  lookup(flow: TrafficFlow): KnownTraffic {
    // Baggage is parsed anew for each connection, so no object stands for it.
    if (heard(flow)) return new KnownTraffic(flow, this.#find(flow));
    const source = flow.source ?? NOBODY;
    const destination = flow.destination ?? NOBODY;
    let bySource = this.#known.get(source);
    if (bySource === undefined) this.#known.set(source, bySource = new WeakMap());
    let candidates = bySource.get(destination);
    if (candidates === undefined) bySource.set(destination, candidates = []);
    for (const candidate of candidates) {
      if (candidate.matches(flow)) return candidate;
    }
    const found = new KnownTraffic(flow, this.#find(flow));
    // Peers without a record can show any number of identities; those are not worth keeping.
    if (candidates.length < MAX_CANDIDATES) candidates.push(found);
    return found;
  }

  #find(described: TrafficFlow): TrafficSeries {
    // A peer may say anything of itself in baggage: beyond a bound its words no longer make series of their own.
    const flow = heard(described) && this.#series.size >= MAX_SERIES_WITH_BAGGAGE
      ? { ...described, sourceBaggage: undefined, destinationBaggage: undefined }
      : described;
    const values = trafficValues(flow);
    const key = values.join("\u0000");
    let series = this.#series.get(key);
    if (series === undefined) {
      const schema = values.length === TRAFFIC_LABELS.length ? this.#plain : this.#located;
      series = new TrafficSeries(this.#families, values, (all) => schema.intern(all));
      this.#series.set(key, series);
    }
    return series;
  }
}

/** Whether a label of the flow comes from a peer's baggage. */
function heard({ source, sourceBaggage, destinationBaggage }: TrafficFlow): boolean {
  return destinationBaggage !== undefined || (source === undefined && sourceBaggage !== undefined);
}

/** Series up to which those of workloads known by their baggage only are kept apart. */
const MAX_SERIES_WITH_BAGGAGE = 4096;

/** Flows between one pair of records: both reporters, a few services. */
const MAX_CANDIDATES = 64;
