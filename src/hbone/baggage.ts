/**
 * W3C Baggage as HBONE uses it: a description of the workload at the other end, for telemetry only.
 *
 * Unlike the W3C form, values are neither escaped nor trimmed, and members have no properties.
 */
import type { Workload } from "../mesh/workload.ts";

/** What baggage can say of a workload; absent members are undefined. */
export interface Baggage {
  readonly clusterId: string | undefined;
  readonly namespace: string | undefined;
  /** `deployment`, `cronjob`, `pod` or `job` */
  readonly workloadType: string | undefined;
  readonly workloadName: string | undefined;
  readonly serviceName: string | undefined;
  readonly revision: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
}

const WORKLOAD_KEYS: ReadonlyMap<string, string> = new Map(
  ["deployment", "cronjob", "pod", "job"].map((type) => [`k8s.${type}.name`, type]),
);

/** The header for a workload, possibly empty. Members without a value are left out. */
export function formatBaggage(workload: Workload): string {
  let text = member("", "k8s.cluster.name", workload.clusterId);
  text = member(text, "k8s.namespace.name", workload.namespace);
  text = member(text, `k8s.${workload.workloadType}.name`, workload.workloadName);
  text = member(text, "service.name", workload.canonicalName);
  text = member(text, "service.version", workload.canonicalRevision);
  text = member(text, "cloud.region", workload.locality.region);
  return member(text, "cloud.availability_zone", workload.locality.zone);
}

function member(text: string, key: string, value: string): string {
  if (value === "") return text;
  return text === "" ? `${key}=${value}` : `${text},${key}=${value}`;
}

/** Reads all baggage header lines of a request. Unknown keys are skipped, later members win. */
export function parseBaggage(headers: readonly string[]): Baggage {
  const found: { -readonly [K in keyof Baggage]: Baggage[K] } = {
    clusterId: undefined,
    namespace: undefined,
    workloadType: undefined,
    workloadName: undefined,
    serviceName: undefined,
    revision: undefined,
    region: undefined,
    zone: undefined,
  };
  for (const header of headers) {
    for (const part of header.split(",")) {
      const equals = part.indexOf("=");
      if (equals < 0) continue;
      const key = part.slice(0, equals);
      const value = part.slice(equals + 1);
      if (value === "") continue;
      if (key === "k8s.cluster.name") found.clusterId = value;
      else if (key === "k8s.namespace.name") found.namespace = value;
      else if (key === "service.name") found.serviceName = value;
      else if (key === "service.version") found.revision = value;
      else if (key === "cloud.region") found.region = value;
      else if (key === "cloud.availability_zone") found.zone = value;
      else {
        const type = WORKLOAD_KEYS.get(key);
        if (type !== undefined) {
          found.workloadType = type;
          found.workloadName = value;
        }
      }
    }
  }
  return found;
}
