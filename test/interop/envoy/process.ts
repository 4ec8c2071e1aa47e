/** An Envoy process in a pod of the lab. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LabPod, LabProcess } from "../../lab/topology/mod.ts";
import type { EnvoyConfiguration } from "./configuration.ts";

/** Longest start, milliseconds. */
const START_MS = 60_000;

/**
 * Starts Envoy in a pod and waits until it serves. One worker thread, as our proxies have one thread that moves bytes:
 * what is compared is CPU time for each request, and a second worker does not make a request cheaper.
 * @throws DeadlineError with its last lines
 */
export async function startEnvoy(
  binary: string,
  pod: LabPod,
  directory: string,
  configuration: EnvoyConfiguration,
): Promise<LabProcess> {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `envoy-${pod.name}.json`);
  writeFileSync(path, JSON.stringify(configuration));
  const options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "info"];
  const process = pod.namespace.spawn([binary, "-c", path, ...options]);
  await process.line((line) => line.includes("starting main dispatch loop"), START_MS);
  return process;
}
