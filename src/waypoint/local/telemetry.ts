/** Telemetry objects as what a chain logs and counts (spec/waypoint.md §1.18, §1.19). */
import type {
  LocalObject,
  LocalObjects,
  MetricOverrideYaml,
  TelemetryYaml,
  ValuePath,
} from "../../config/objects/mod.ts";
import type { Service } from "../../mesh/service.ts";
import type { AccessLog, ChainTelemetry, MetricOverride } from "../snapshot/mod.ts";
import { inspectDimension, inspectLogExpression } from "../telemetry/mod.ts";
import type { OwnGateway } from "./gateway.ts";
import { byAge, type Report } from "./input.ts";
import type { WaypointOptions } from "./options.ts";
import { targetsOf } from "./targets.ts";

type Spec = TelemetryYaml["spec"];

const STANDARD_OUTPUT = "/dev/stdout";

/** Names of metrics as istio.stats knows them, without their prefix; ALL_METRICS: every one. */
const METRIC_NAMES: Readonly<Record<string, string>> = {
  ALL_METRICS: "",
  REQUEST_COUNT: "requests_total",
  REQUEST_DURATION: "request_duration_milliseconds",
  REQUEST_SIZE: "request_bytes",
  RESPONSE_SIZE: "response_bytes",
  TCP_OPENED_CONNECTIONS: "tcp_connections_opened_total",
  TCP_CLOSED_CONNECTIONS: "tcp_connections_closed_total",
  TCP_SENT_BYTES: "tcp_sent_bytes_total",
  TCP_RECEIVED_BYTES: "tcp_received_bytes_total",
  GRPC_REQUEST_MESSAGES: "request_messages_total",
  GRPC_RESPONSE_MESSAGES: "response_messages_total",
};

function forServer(mode: "CLIENT_AND_SERVER" | "CLIENT" | "SERVER" | undefined): boolean {
  return mode !== "CLIENT";
}

/**
 * An expression that cannot be evaluated, or that names what is no attribute, is an error. Attributes that only Envoy
 * knows are legitimate, since the same objects configure sidecars too: one is told, and they never have a value.
 */
function checkExpression(
  object: LocalObject<"Telemetry">,
  path: ValuePath,
  inspected: ReturnType<typeof inspectDimension>,
  report: Report,
): void {
  if (inspected === undefined) return;
  if (!inspected.ok) return report.error(object, path, inspected.error);
  for (const name of inspected.format.unknown) report.error(object, path, `there is no attribute ${name}`);
  for (const name of inspected.format.absent) {
    report.warn(object, path, `the attribute ${name} is not known in this version: it never has a value`);
  }
}

function checkFilters(object: LocalObject<"Telemetry">, report: Report): void {
  for (const [i, { filter }] of (object.spec.accessLogging ?? []).entries()) {
    if (filter?.expression === undefined) continue;
    const path = ["spec", "accessLogging", i, "filter", "expression"];
    checkExpression(object, path, inspectLogExpression(filter.expression), report);
  }
}

function checkTags(object: LocalObject<"Telemetry">, report: Report): void {
  for (const [i, { overrides }] of (object.spec.metrics ?? []).entries()) {
    for (const [j, { tagOverrides }] of (overrides ?? []).entries()) {
      for (const [name, { value }] of Object.entries(tagOverrides ?? {})) {
        if (value === undefined) continue;
        const path = ["spec", "metrics", i, "overrides", j, "tagOverrides", name, "value"];
        checkExpression(object, path, inspectDimension(value), report);
      }
    }
  }
}

/** Root namespace, waypoint's namespace, service's namespace, then what is targeted: the later one decides. */
export class TelemetryTable {
  readonly #objects: LocalObjects["Telemetry"];
  readonly #gateway: OwnGateway;
  readonly #options: WaypointOptions;

  constructor(objects: LocalObjects["Telemetry"], gateway: OwnGateway, options: WaypointOptions, report: Report) {
    this.#objects = objects.toSorted(byAge);
    this.#gateway = gateway;
    this.#options = options;
    for (const object of objects) {
      checkTags(object, report);
      checkFilters(object, report);
      if (object.spec.selector !== undefined) {
        report.warn(object, ["spec", "selector"], "a waypoint is attached by targetRefs: no effect here");
      }
    }
  }

  /** @param service undefined: a chain to workloads */
  of(service: Service | undefined): ChainTelemetry {
    const specs = this.#specsOf(service);
    return { accessLogs: this.#accessLogs(specs), metrics: metricsOf(specs) };
  }

  #specsOf(service: Service | undefined): Spec[] {
    const { rootNamespace } = this.#options;
    const waypoint = this.#gateway.namespace;
    const namespaces = new Set([rootNamespace, waypoint, service?.namespace ?? waypoint]);
    const plain = (namespace: string) =>
      this.#objects.find((object) =>
        object.namespace === namespace && object.spec.selector === undefined && targetsOf(object.spec).length === 0
      );
    const targeted = this.#objects.filter((object) => this.#isTargeted(object, service));
    return [...[...namespaces].map(plain), ...targeted].flatMap((object) => object === undefined ? [] : [object.spec]);
  }

  #isTargeted(object: LocalObject<"Telemetry">, service: Service | undefined): boolean {
    return targetsOf(object.spec).some(({ kind, name }) =>
      kind === "Service"
        ? service !== undefined && object.namespace === service.namespace && name === service.name
        : kind === "Gateway"
        ? object.namespace === this.#gateway.namespace && name === this.#gateway.name
        : object.namespace === this.#options.rootNamespace && name === this.#gateway.object.spec.gatewayClassName
    );
  }

  /** The most specific object that speaks of access logs replaces what the others say. */
  #accessLogs(specs: readonly Spec[]): AccessLog[] {
    const spec = specs.findLast(({ accessLogging }) => (accessLogging ?? []).length > 0);
    const mesh = this.#options.accessLog;
    if (spec === undefined) return mesh === undefined ? [] : [mesh];
    const logs: AccessLog[] = [];
    for (const { match, disabled, filter } of spec.accessLogging ?? []) {
      if (!forServer(match?.mode) || disabled === true) continue;
      const log = mesh ?? { path: STANDARD_OUTPUT, format: this.#options.accessLogFormat, filter: undefined };
      logs.push(filter?.expression === undefined ? log : withFilter(log, filter.expression));
    }
    return logs;
  }
}

/** What the mesh's log leaves out stays out. */
function withFilter(log: AccessLog, expression: string): AccessLog {
  const cel = { kind: "cel", expression } as const;
  return { ...log, filter: log.filter === undefined ? cel : { kind: "and", filters: [log.filter, cel] } };
}

/** Overrides of all levels together, the more specific ones later. */
function metricsOf(specs: readonly Spec[]): ChainTelemetry["metrics"] {
  const overrides: MetricOverride[] = [];
  for (const { metrics } of specs) {
    for (const { overrides: list } of metrics ?? []) {
      for (const override of list ?? []) if (forServer(override.match?.mode)) overrides.push(overrideOf(override));
    }
  }
  const counted = new Set(Object.values(METRIC_NAMES).filter((name) => name !== ""));
  const all = [...counted];
  for (const { name, drop } of overrides) {
    for (const metric of drop === undefined ? [] : name === "" ? all : [name]) {
      if (drop) counted.delete(metric);
      else counted.add(metric);
    }
  }
  return counted.size === 0 ? undefined : { overrides };
}

function overrideOf({ match, disabled, tagOverrides }: MetricOverrideYaml): MetricOverride {
  const tags = Object.entries(tagOverrides ?? {});
  return {
    name: METRIC_NAMES[match?.metric ?? "ALL_METRICS"] as string,
    dimensions: Object.fromEntries(
      tags.filter(([, { operation }]) => operation !== "REMOVE").map(([name, { value }]) => [name, value ?? ""]),
    ),
    tagsToRemove: tags.filter(([, { operation }]) => operation === "REMOVE").map(([name]) => name),
    drop: disabled,
  };
}
