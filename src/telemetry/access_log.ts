import { formatAddress, type SocketAddress } from "../net/address.ts";
import { denialFields, type PolicyDecision } from "../policy/mod.ts";
import type { Level } from "./log_filter.ts";
import { type Field, formatFields } from "./log_format.ts";
import type { Logger, LogScope } from "./log.ts";
import type { KnownTraffic } from "./traffic.ts";
import { destinationIdentityOf, type TrafficFlow } from "./traffic_labels.ts";

/** Between whom bytes move. */
export interface ConnectionEnds {
  readonly source: SocketAddress;
  /** Outbound: the next hop that was dialled; inbound: the address the peer connected to. */
  readonly destination: SocketAddress;
  /** Inbound HBONE: `:authority` as received. */
  readonly hboneAuthority?: string | undefined;
}

export interface ConnectionFigures {
  /** From downstream to upstream. */
  readonly received: number;
  /** From upstream to downstream. */
  readonly sent: number;
  readonly durationMs: number;
  readonly error: string | undefined;
  /** What in the policies denied it; written behind `error` as `policy` and `rule`. */
  readonly decisions?: readonly PolicyDecision[] | undefined;
}

export type Direction = "outbound" | "inbound";

/**
 * What is known of a connection that was turned away before it counted; all of it is written, each in its place.
 * Identities only where `security` is `mutual_tls`.
 */
export interface FailedConnection extends Partial<Omit<TrafficFlow, "reporter">> {
  /** Inbound HBONE: `:authority` as received. */
  readonly hboneAuthority?: string | undefined;
  readonly decisions?: readonly PolicyDecision[] | undefined;
}
const NOTHING_KNOWN: FailedConnection = {};

/** Drops fields without a value. */
function present(fields: readonly (readonly [string, string | undefined])[]): Field[] {
  return fields.filter((field): field is readonly [string, string] => field[1] !== undefined && field[1] !== "");
}

function sourceFields(flow: TrafficFlow): Field[] {
  const { source, sourceBaggage: baggage } = flow;
  return present([
    ["src.workload", source === undefined ? baggage?.canonicalName : source.name || source.canonicalName],
    ["src.namespace", source === undefined ? baggage?.namespace : source.namespace],
    ["src.identity", flow.security === "mutual_tls" ? flow.sourceIdentity : undefined],
    ["src.cluster", source === undefined ? baggage?.clusterId : source.clusterId],
  ]);
}

function destinationFields(flow: TrafficFlow): Field[] {
  const { destination, destinationBaggage: baggage } = flow;
  return present([
    ["dst.service", flow.service?.hostname],
    ["dst.workload", baggage === undefined ? destination?.name || destination?.canonicalName : baggage.workloadName],
    ["dst.namespace", (baggage ?? destination)?.namespace],
    ["dst.identity", flow.security === "mutual_tls" ? destinationIdentityOf(flow) : undefined],
    ["dst.cluster", (baggage ?? destination)?.clusterId],
    ["direction", directionOf(flow)],
  ]);
}

/** `policy` and `rule`. */
function decisionFields(decisions: readonly PolicyDecision[] | undefined): Field[] {
  if (decisions === undefined || decisions.length === 0) return [];
  const { policy, rule } = denialFields(decisions);
  return present([["policy", policy], ["rule", rule]]);
}

function directionOf(flow: TrafficFlow): Direction {
  return flow.reporter === "source" ? "outbound" : "inbound";
}

/** Lines about connections in scope `access`, fields and order as istio's ztunnel writes them. */
export class AccessLog {
  readonly #logger: Logger;
  readonly #scope: LogScope;

  constructor(logger: Logger) {
    this.#logger = logger;
    this.#scope = logger.scope("access");
  }

  /** At debug. */
  connectionOpened(ends: ConnectionEnds, traffic: KnownTraffic): void {
    if (this.#scope.enabled("debug")) this.#write("debug", "connection opened", this.#common(ends, traffic), []);
  }

  /** At info, or at error when it ended with one. Bytes are told as the reporter's own workload sees them. */
  connectionComplete(ends: ConnectionEnds, traffic: KnownTraffic, figures: ConnectionFigures): void {
    const level = figures.error === undefined ? "info" : "error";
    if (!this.#scope.enabled(level)) return;
    const outbound = traffic.flow.reporter === "source";
    const fields: Field[] = [
      ["bytes_sent", outbound ? figures.received : figures.sent],
      ["bytes_recv", outbound ? figures.sent : figures.received],
      ["duration", `${Math.trunc(figures.durationMs)}ms`],
    ];
    if (figures.error !== undefined) fields.push(["error", figures.error]);
    fields.push(...decisionFields(figures.decisions));
    this.#write(level, "connection complete", this.#common(ends, traffic), fields);
  }

  /** At warn: connecting failed before any byte, and goes on at another endpoint, whose address is `next`. */
  connectionRetried(ends: ConnectionEnds, traffic: KnownTraffic, error: string, next: SocketAddress): void {
    if (!this.#scope.enabled("warn")) return;
    const fields: Field[] = [["error", error], ["retry", { display: formatAddress(next) }]];
    this.#write("warn", "connection retried", this.#common(ends, traffic), fields);
  }

  /** At warn: a connection that was turned away before it counted. */
  connectionFailed(
    source: SocketAddress,
    destination: SocketAddress,
    direction: Direction,
    error: string,
    known: FailedConnection = NOTHING_KNOWN,
  ): void {
    if (!this.#scope.enabled("warn")) return;
    const flow: TrafficFlow = {
      security: "unknown",
      source: undefined,
      sourceIdentity: undefined,
      destination: undefined,
      service: undefined,
      ...known,
      reporter: direction === "outbound" ? "source" : "destination",
    };
    const fields: Field[] = [
      ["src.addr", { display: formatAddress(source) }],
      ...sourceFields(flow),
      ["dst.addr", { display: formatAddress(destination) }],
    ];
    if (known.hboneAuthority !== undefined) fields.push(["dst.hbone_addr", { display: known.hboneAuthority }]);
    fields.push(...destinationFields(flow), ["error", error], ...decisionFields(known.decisions));
    this.#scope.warn("connection failed", fields);
  }

  get #separator(): string {
    return this.#logger.format === "plain" ? " " : ",";
  }

  #common(ends: ConnectionEnds, traffic: KnownTraffic): string {
    const format = this.#logger.format;
    const separator = this.#separator;
    traffic.sourceFields ??= formatFields(format, sourceFields(traffic.flow));
    traffic.destinationFields ??= formatFields(format, destinationFields(traffic.flow));
    let text = formatFields(format, [["src.addr", { display: formatAddress(ends.source) }]]) + separator;
    if (traffic.sourceFields !== "") text += traffic.sourceFields + separator;
    text += formatFields(format, [["dst.addr", { display: formatAddress(ends.destination) }]]) + separator;
    if (ends.hboneAuthority !== undefined) {
      text += formatFields(format, [["dst.hbone_addr", { display: ends.hboneAuthority }]]) + separator;
    }
    return text + traffic.destinationFields;
  }

  #write(level: Level, message: string, common: string, more: readonly Field[]): void {
    const fields = more.length === 0 ? common : common + this.#separator + formatFields(this.#logger.format, more);
    this.#logger.writeFormatted(this.#scope.name, level, message, fields);
  }
}
