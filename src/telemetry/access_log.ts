import { formatAddress, type SocketAddress } from "../net/address.ts";
import type { Level } from "./log_filter.ts";
import { type Field, formatFields } from "./log_format.ts";
import type { Logger, LogScope } from "./log.ts";
import type { KnownTraffic } from "./traffic.ts";
import { recordIdentity, type TrafficFlow } from "./traffic_labels.ts";

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
}

export type Direction = "outbound" | "inbound";

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
  const { destination } = flow;
  return present([
    ["dst.service", flow.service?.hostname],
    ["dst.workload", destination?.name || destination?.canonicalName],
    ["dst.namespace", destination?.namespace],
    ["dst.identity", flow.security === "mutual_tls" && destination ? recordIdentity(destination) : undefined],
    ["dst.cluster", destination?.clusterId],
    ["direction", directionOf(flow)],
  ]);
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
    if (this.#scope.enabled("debug")) this.#write("debug", "connection opened", this.#common(ends, traffic));
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
    const text = this.#common(ends, traffic) + this.#separator + formatFields(this.#logger.format, fields);
    this.#write(level, "connection complete", text);
  }

  /** At warn: a connection that was turned away before anything was known of it. */
  connectionFailed(source: SocketAddress, destination: SocketAddress, direction: Direction, error: string): void {
    this.#scope.warn("connection failed", [
      ["src.addr", { display: formatAddress(source) }],
      ["dst.addr", { display: formatAddress(destination) }],
      ["direction", direction],
      ["error", error],
    ]);
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

  #write(level: Level, message: string, fields: string): void {
    this.#logger.writeFormatted(this.#scope.name, level, message, fields);
  }
}
