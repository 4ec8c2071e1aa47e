import type { Workload } from "../mesh/mod.ts";
import type { Histogram, HistogramFamily } from "./histogram.ts";
import { LabelSchema, type LabelSet } from "./labels.ts";
import type { Family, MetricRegistry, Sample } from "./metrics.ts";
import { recordIdentity, SOURCE_LABELS, type TrafficWorkload, workloadValues } from "./traffic_labels.ts";

/** What the metrics say of the pod that asks. */
export type DnsSource = Pick<Workload, "canonicalName" | "canonicalRevision">;
export type DnsProtocol = "udp" | "tcp";

/** Upper bounds in seconds, as ztunnel's (spec/ztunnel.md §10.1). */
const DURATION_BUCKETS = [0.0005, 0.001, 0.01, 0.1, 1, 5];

/** Query types that are told apart. A pod may ask for any of 65 536: the others share `unknown`. */
const NAMED_TYPES = new Set(
  ("a aaaa any axfr caa cds cdnskey cert cname csync dnskey ds hinfo https ixfr key loc mx naptr ns nsec nsec3 " +
    "nsec3param null openpgpkey opt ptr rrsig rp sig soa srv sshfp svcb tlsa tsig txt uri").split(" "),
);

/** The metrics of one kind of query: type, transport and who asks. Families appear with their first count. */
export class DnsSeries {
  readonly #families: DnsFamilies;
  readonly #labels: LabelSet;

  constructor(families: DnsFamilies, labels: LabelSet) {
    this.#families = families;
    this.#labels = labels;
  }

  /** Every query, whoever it is from. */
  get requests(): Sample {
    return this.#families.requests.with(this.#labels);
  }
  /** Queries that went to a name server. */
  get upstreamRequests(): Sample {
    return this.#families.upstreamRequests.with(this.#labels);
  }
  /** Those to which no name server gave an answer that could be passed on. */
  get upstreamFailures(): Sample {
    return this.#families.upstreamFailures.with(this.#labels);
  }
  /** How long forwarding took. */
  get upstreamSeconds(): Histogram {
    return this.#families.upstreamSeconds.with(this.#labels);
  }
}

interface DnsFamilies {
  readonly requests: Family;
  readonly upstreamRequests: Family;
  readonly upstreamFailures: Family;
  readonly upstreamSeconds: HistogramFamily;
}

/** Stands for a pod that is not known. */
const NOBODY: DnsSource = { canonicalName: "", canonicalRevision: "" };

/** The families istio_dns_* (spec/ztunnel.md §10.1). */
export class DnsMetrics {
  readonly #families: DnsFamilies;
  readonly #dropped: Family;
  readonly #schema = new LabelSchema([
    "request_query_type",
    "request_protocol",
    "source_canonical_service",
    "source_canonical_revision",
  ]);
  /** Records are immutable and replaced when they change, so the record is the key; then transport and type. */
  readonly #known = new WeakMap<DnsSource, Record<DnsProtocol, Map<string, DnsSeries>>>();

  constructor(registry: MetricRegistry) {
    const counter = (name: string, help: string) =>
      registry.family({ name: `istio_dns_${name}`, type: "counter", help });
    this.#families = {
      requests: counter("requests", "DNS queries received (unstable)."),
      upstreamRequests: counter("upstream_requests", "DNS queries passed on to a name server (unstable)."),
      upstreamFailures: counter("upstream_failures", "DNS queries passed on in vain (unstable)."),
      upstreamSeconds: registry.histogram({
        name: "istio_dns_upstream_request_duration_seconds",
        help: "Seconds until a name server answered (unstable).",
        unit: "seconds",
        buckets: DURATION_BUCKETS,
      }),
    };
    this.#dropped = registry.family({
      name: "ambient_dns_dropped",
      type: "counter",
      help: "DNS queries that nobody looked at, because too many came at a time (unstable).",
    });
  }

  /** Queries that were not heard, of all pods. */
  get dropped(): Sample {
    return this.#dropped.labels();
  }

  /**
   * The series of a query.
   * @param queryType lower case: `a`, `aaaa`, …; types that have no name share `unknown`
   * @param source record of the asking pod; undefined: not known
   */
  lookup(queryType: string, protocol: DnsProtocol, source: DnsSource | undefined): DnsSeries {
    const key = source ?? NOBODY;
    let byProtocol = this.#known.get(key);
    if (byProtocol === undefined) this.#known.set(key, byProtocol = { udp: new Map(), tcp: new Map() });
    const type = NAMED_TYPES.has(queryType) ? queryType : "unknown";
    let series = byProtocol[protocol].get(type);
    if (series === undefined) {
      const { canonicalName, canonicalRevision } = key;
      const values = [type, protocol, canonicalName || "unknown", canonicalRevision || "unknown"];
      byProtocol[protocol].set(type, series = new DnsSeries(this.#families, this.#schema.intern(values)));
    }
    return series;
  }
}

/** `istio_on_demand_dns_total`: resolutions of workloads that have only a name (spec/ztunnel.md §10.1). */
export class OnDemandDnsMetrics {
  readonly #family: Family;

  constructor(registry: MetricRegistry) {
    this.#family = registry.family({
      name: "istio_on_demand_dns",
      type: "counter",
      help: "Resolutions of workloads that have a host name and no address (unstable).",
      labelNames: [...SOURCE_LABELS, "hostname"],
    });
  }

  /** `source` wanted to reach `hostname`. */
  count(source: TrafficWorkload, hostname: string): void {
    this.#family.labels([...workloadValues(source, recordIdentity(source)), hostname]).value++;
  }
}
