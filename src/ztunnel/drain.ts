/** The graceful end of all workloads' proxies (spec/ztunnel.md §11.3). */
import type { Field, LogScope } from "../telemetry/mod.ts";
import { CONNECTION_DRAIN } from "./connection.ts";
import { drainFields, type HoldingPod } from "./drain_report.ts";

/** How often a drain says what it waits for, ms. */
const REPORT_MS = 5_000;

/** What can be drained: a workload's proxy. */
export interface Drainable {
  /** Takes no new work; resolves when all has ended. */
  drain(): Promise<void>;
  /** Cuts everything now. */
  stop(reason: string): void;
  readonly holding: HoldingPod;
}

export interface DrainOptions {
  readonly deadlineMs: number;
  readonly log: LogScope;
  /** `namespace/name` of the workload at an address, for the log. */
  readonly nameOf: (ip: string) => string | undefined;
}

/** Lets the connections of all proxies end until the deadline, telling what is still there, and cuts the rest. */
export async function drainAll(proxies: readonly Drainable[], options: DrainOptions): Promise<void> {
  const { deadlineMs, log, nameOf } = options;
  const report = (): Field[] =>
    drainFields(proxies.map(({ holding }) => holding), nameOf, { monotonic: performance.now(), wall: Date.now() });
  log.info("shutdown: draining", report());
  const deadline = Promise.withResolvers<"deadline">();
  const timer = setTimeout(() => deadline.resolve("deadline"), deadlineMs);
  const reports = setInterval(() => log.info("shutdown: still draining", report()), REPORT_MS);
  const drained = Promise.all(proxies.map((proxy) => proxy.drain())).then(() => "drained" as const);
  const outcome = await Promise.race([drained, deadline.promise]);
  clearTimeout(timer);
  clearInterval(reports);
  if (outcome === "drained") return;
  log.warn("drain duration expired with pending connections, forcefully shutting down", report());
  for (const proxy of proxies) proxy.stop(CONNECTION_DRAIN);
}
