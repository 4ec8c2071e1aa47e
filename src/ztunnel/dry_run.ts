/**
 * What policies in dry run would have done: counted, told in the log, and kept for `/debug/dryrun`. No sockets and no timers:
 * it is told of every verdict, and looks at a clock.
 */
import { formatIdentity } from "../identity/mod.ts";
import type { InboundRoute } from "../mesh/mod.ts";
import { denialFields, type PolicyDecision, type PolicyFlow, type Verdict } from "../policy/mod.ts";
import type { Family, Field, LogScope, MetricRegistry, Sample } from "../telemetry/mod.ts";

/** Distinct flows that are kept; the one not seen for longest makes room. */
const MAX_FLOWS = 1000;
/** Policies that the counter tells apart for each verdict; those above count as policy `other`. */
const MAX_POLICIES = 1000;
const OTHER = "other";
/** Time between two lines about one flow, and of the window that LINES_IN_PERIOD bounds. */
const LOG_PERIOD = 60_000; // ms
const LINES_IN_PERIOD = 100;

export interface DryRunRecorderOptions {
  readonly registry: MetricRegistry;
  readonly log: LogScope;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What is told of a connection beside what policies look at. */
export type DryRunRoute = Pick<InboundRoute, "workload" | "source" | "service">;

/** A flow that dry-run policies would have denied. Plain JSON data. */
export interface DryRunFlow {
  /** DENY policies that matched and where, or ALLOW policies none of which did and what each lacked; the first eight. */
  readonly policies: readonly {
    readonly policy: string;
    readonly rule: string | null;
    readonly reason: string | null;
  }[];
  /** Policies besides those. */
  readonly morePolicies: number;
  readonly source: { readonly identity: string | null; readonly workload: string | null; readonly ip: string };
  readonly destination: {
    readonly workload: string;
    readonly service: string | null;
    readonly ip: string;
    readonly port: number;
  };
  /** Connections. */
  readonly count: number;
  /** RFC 3339 */
  readonly first: string;
  readonly last: string;
}

/** The body of `/debug/dryrun`. */
export interface DryRunReport {
  /** Connections by policy and by what it would have made of them, since the start. */
  readonly connections: readonly { readonly policy: string; readonly verdict: string; readonly count: number }[];
  /** Flows that would have been denied, the most recent first. */
  readonly flows: readonly DryRunFlow[];
  /** Flows that made room for others. */
  readonly forgotten: number;
}

interface Entry {
  readonly decisions: readonly PolicyDecision[];
  readonly ends: Pick<DryRunFlow, "source" | "destination">;
  readonly first: number;
  last: number;
  count: number;
  /** When a line was last written about it. */
  told: number;
}

export class DryRunRecorder {
  readonly #family: Family;
  readonly #log: LogScope;
  readonly #now: () => number;
  readonly #counts = {
    allowed: new Map<string, Sample>(),
    denied: new Map<string, Sample>(),
  };
  /** The one seen last is last. */
  readonly #flows = new Map<string, Entry>();
  #forgotten = 0;
  #windowStart = -Infinity;
  #linesInWindow = 0;

  constructor(options: DryRunRecorderOptions) {
    this.#log = options.log;
    this.#now = options.now;
    this.#family = options.registry.family({
      name: "ambient_policy_dry_run_connections",
      type: "counter",
      help: "Connections by what policies in dry run would have made of them (unstable).",
      labelNames: ["policy", "verdict"],
    });
  }

  /**
   * Call for each inbound connection that was authorized, and again when it was after a change. Costs nothing where no
   * policy is in dry run.
   *
   * @param counted what was counted of this connection before, and is not again; kept up to date
   */
  record(verdict: Verdict, flow: PolicyFlow, route: DryRunRoute, counted: Set<string>): void {
    const dry = verdict.dryRun;
    if (dry === undefined) return;
    const before = counted.size;
    for (const { policy, outcome } of dry.outcomes) {
      const answer = `${policy} ${outcome}`;
      if (counted.has(answer)) continue;
      counted.add(answer);
      this.#sample(policy, outcome).value++;
    }
    // A connection that is denied already is not one that would be.
    if (counted.size > before && dry.differs && dry.wouldBe === "denied") {
      this.#wouldBeDenied(dry.decision(), flow, route);
    }
  }

  /** What there is to show, as plain JSON data. */
  report(): DryRunReport {
    const connections = (["denied", "allowed"] as const).flatMap((verdict) =>
      Array.from(this.#counts[verdict], ([policy, sample]) => ({ policy, verdict, count: sample.value }))
    );
    const flows = Array.from(this.#flows.values(), ({ decisions, ends, count, first, last }): DryRunFlow => ({
      policies: decisions.map(({ policy, rule, reason }) => ({ policy, rule: rule ?? null, reason: reason ?? null })),
      morePolicies: decisions.at(-1)?.more ?? 0,
      ...ends,
      count,
      first: new Date(first).toISOString(),
      last: new Date(last).toISOString(),
    }));
    return { connections, flows: flows.reverse(), forgotten: this.#forgotten };
  }

  #sample(policy: string, verdict: "allowed" | "denied"): Sample {
    const samples = this.#counts[verdict];
    let sample = samples.get(policy);
    if (sample !== undefined) return sample;
    if (samples.size >= MAX_POLICIES && policy !== OTHER) return this.#sample(OTHER, verdict);
    samples.set(policy, sample = this.#family.labels([policy, verdict]));
    return sample;
  }

  #wouldBeDenied(decisions: readonly PolicyDecision[], flow: PolicyFlow, route: DryRunRoute): void {
    const now = this.#now();
    const identity = flow.identity === undefined ? null : formatIdentity(flow.identity);
    const { source, workload, service } = route;
    const places = decisions.map(({ policy, rule }) => `${policy} ${rule}`);
    const parties = [identity, source?.uid, flow.sourceIp, workload.uid, service?.namespace, service?.hostname];
    const key = [...places, ...parties, flow.destinationIp, flow.destinationPort].join("\0");
    let entry = this.#flows.get(key);
    if (entry === undefined) {
      const ends = {
        source: {
          identity,
          workload: source === undefined ? null : `${source.namespace}/${source.name}`,
          ip: flow.sourceIp,
        },
        destination: {
          workload: `${workload.namespace}/${workload.name}`,
          service: service === undefined ? null : `${service.namespace}/${service.hostname}`,
          ip: flow.destinationIp,
          port: flow.destinationPort,
        },
      };
      entry = { decisions, ends, first: now, last: now, count: 0, told: -Infinity };
      if (this.#flows.size >= MAX_FLOWS) this.#forgetOldest();
    } else {
      this.#flows.delete(key);
    }
    this.#flows.set(key, entry);
    entry.count++;
    entry.last = now;
    this.#tell(entry, now);
  }

  #forgetOldest(): void {
    const oldest = this.#flows.keys().next();
    if (oldest.done !== true && this.#flows.delete(oldest.value)) this.#forgotten++;
  }

  /** The first of a flow, then at most one line in a period; where there are many flows, those that still have room. */
  #tell(entry: Entry, now: number): void {
    if (!this.#log.enabled("info") || now - entry.told < LOG_PERIOD) return;
    if (now - this.#windowStart >= LOG_PERIOD) {
      this.#windowStart = now;
      this.#linesInWindow = 0;
    }
    if (this.#linesInWindow >= LINES_IN_PERIOD) return;
    this.#linesInWindow++;
    entry.told = now;
    this.#log.info("dry-run: would be denied", lineFields(entry));
  }
}

function lineFields({ decisions, ends: { source, destination }, count }: Entry): Field[] {
  const { policy, rule } = denialFields(decisions);
  const fields: Field[] = [["policy", policy], ["rule", rule], ["src.ip", source.ip]];
  if (source.workload !== null) fields.push(["src.workload", source.workload]);
  if (source.identity !== null) fields.push(["src.identity", source.identity]);
  fields.push(["dst.workload", destination.workload]);
  if (destination.service !== null) fields.push(["dst.service", destination.service]);
  fields.push(["dst.ip", destination.ip], ["dst.port", destination.port], ["count", count]);
  return fields;
}
