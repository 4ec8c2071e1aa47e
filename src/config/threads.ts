/** How many data plane threads to run. */
import type { Variables } from "./variables.ts";

/** Part of the cores that a node proxy takes when nobody says how many. */
const DEFAULT_SHARE = 0.25;
const DEFAULT_MINIMUM = 2;
const MAXIMUM = 4096;

/**
 * ZTUNNEL_WORKER_THREADS decides; else the mesh's concurrency; else the CPU limit of the container with its request as
 * floor; else a quarter of the cores. Never less than 1.
 *
 * @param cores cores of the machine, unless ZTUNNEL_CPU_LIMIT says otherwise
 */
export function workerThreads(variables: Variables, cores: number, concurrency: number | undefined): number {
  const cpus = variables.integer("ZTUNNEL_CPU_LIMIT", 0, Number.MAX_SAFE_INTEGER) ?? cores;
  const limit = cpuQuantity(variables, "ZTUNNEL_RESOURCE_CPU_LIMIT");
  const request = cpuQuantity(variables, "ZTUNNEL_RESOURCE_CPU_REQUEST") ?? 0;
  return Math.max(1, explicit(variables, cpus) ?? fromConcurrency(concurrency, cpus) ?? fromResources());

  function fromResources(): number {
    if (limit !== undefined) return Math.max(limit, request);
    return Math.max(Math.ceil(cpus * DEFAULT_SHARE), request, DEFAULT_MINIMUM);
  }
}

function fromConcurrency(concurrency: number | undefined, cpus: number): number | undefined {
  return concurrency === 0 ? cpus : concurrency;
}

function explicit(variables: Variables, cpus: number): number | undefined {
  const name = "ZTUNNEL_WORKER_THREADS";
  const text = variables.text(name);
  if (text === undefined) return undefined;
  const percent = /^([0-9]{1,3}(?:\.[0-9]+)?)%$/.exec(text);
  if (percent === null) {
    const count = variables.integer(name, 0, MAXIMUM);
    return count === 0 ? cpus : count;
  }
  const share = Number(percent[1]);
  if (share > 0 && share <= 100) return Math.ceil((cpus * share) / 100);
  variables.invalid(name, "expected more than 0% and at most 100%");
  return undefined;
}

/** A Kubernetes CPU quantity (`2`, `1.5`, `500m`), rounded up to whole cores. */
function cpuQuantity(variables: Variables, name: string): number | undefined {
  const text = variables.text(name);
  if (text === undefined) return undefined;
  const found = /^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m?)$/.exec(text);
  if (found === null) {
    variables.invalid(name, "expected a CPU quantity such as 2, 1.5 or 500m");
    return undefined;
  }
  return Math.ceil(found[2] === "m" ? Number(found[1]) / 1000 : Number(found[1]));
}
