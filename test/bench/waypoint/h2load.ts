/** Small HTTP/2 requests by h2load (Debian's nghttp2-client): prior knowledge, no TLS, so many streams on each connection. */
import { readFileSync, rmSync } from "node:fs";
import type { LabPod } from "../../lab/topology/mod.ts";

/** Longest time beyond the load's own duration, milliseconds. */
const PATIENCE_MS = 20_000;

export interface StreamPlan {
  readonly connections: number;
  /** Requests outstanding on each connection. */
  readonly streams: number;
}

/** One request of the load's log: microseconds. */
interface LoggedRequest {
  readonly end: number;
  readonly elapsed: number;
  readonly ok: boolean;
}

export interface WindowOutcome {
  readonly count: number;
  readonly errors: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

export class H2load {
  readonly #pod: LabPod;
  readonly #target: { ip: string; port: number };
  readonly #log: string;

  /** `log` is the path of a file of its own. */
  constructor(pod: LabPod, target: { ip: string; port: number }, log: string) {
    this.#pod = pod;
    this.#target = target;
    this.#log = log;
  }

  /** Runs the load for so long; afterwards `window` tells of any stretch of it. @throws Error with what it said */
  async run({ connections, streams }: StreamPlan, ms: number): Promise<(from: number, to: number) => WindowOutcome> {
    rmSync(this.#log, { force: true });
    const load = this.#pod.namespace.spawn([
      "h2load",
      "--threads=1",
      `--clients=${connections}`,
      `--max-concurrent-streams=${streams}`,
      `--duration=${Math.ceil(ms / 1000)}`,
      `--log-file=${this.#log}`,
      `http://${this.#target.ip}:${this.#target.port}/`,
    ]);
    const timer = setTimeout(() => load.signal("SIGKILL"), ms + PATIENCE_MS);
    const code = await load.exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`h2load ended with ${code}:\n${load.lines.join("\n")}`);
    const requests = parseH2loadLog(readFileSync(this.#log, "utf8"));
    return (from, to) => windowOf(requests, from * 1000, to * 1000);
  }
}

/** Lines of start in microseconds since the epoch, status, microseconds until the end. */
export function parseH2loadLog(text: string): LoggedRequest[] {
  return text.trimEnd().split("\n").map((line) => {
    const [start = Number.NaN, status = 0, elapsed = Number.NaN] = line.split("\t").map(Number);
    return { end: start + elapsed, elapsed, ok: status === 200 };
  });
}

/** What ended within a stretch of time, microseconds since the epoch. */
export function windowOf(requests: readonly LoggedRequest[], from: number, to: number): WindowOutcome {
  const inside = requests.filter(({ end }) => end >= from && end < to);
  const latencies = inside.filter(({ ok }) => ok).map(({ elapsed }) => elapsed).sort((a, b) => a - b);
  const quantile = (share: number) => (latencies[Math.floor(latencies.length * share)] ?? Number.NaN) / 1000;
  return {
    count: latencies.length,
    errors: inside.length - latencies.length,
    p50: quantile(0.5),
    p99: quantile(0.99),
  };
}
