/** The load program of one path, in its client's pod, and wrk where it is installed (it costs the shared cores less). */
import { join } from "node:path";
import process from "node:process";
import { findProgram, type LabPod, LabProcess } from "../lab/topology/mod.ts";
import type { Order, Outcome } from "./load.ts";

/** Longest time an order may take beyond its own duration, milliseconds. */
const PATIENCE_MS = 60_000;

export class Generator {
  readonly #pod: LabPod;
  readonly #process: LabProcess;
  readonly #target: { ip: string; port: number };
  readonly #wrk = findProgram("wrk");

  constructor(pod: LabPod, target: { ip: string; port: number }) {
    this.#pod = pod;
    this.#target = target;
    this.#process = pod.namespace.spawn(
      [process.execPath, join(import.meta.dir, "load.ts"), target.ip, `${target.port}`],
      { talk: true },
    );
  }

  /** Name of the program that makes the requests. */
  get requestProgram(): string {
    return this.#wrk === undefined ? "test/bench/load.ts" : "wrk";
  }

  async ready(): Promise<void> {
    await this.#process.line((line) => line === "ready");
  }

  async order(order: Order): Promise<Outcome> {
    const since = this.#process.lines.length;
    this.#process.say(JSON.stringify(order));
    return JSON.parse(await this.#process.line((line) => line.startsWith("{"), PATIENCE_MS, since)) as Outcome;
  }

  /** Keep-alive requests over so many connections. */
  requests(connections: number, ms: number): Promise<Outcome> {
    if (this.#wrk === undefined) return this.order({ kind: "requests", connections, ms });
    return this.#runWrk(this.#wrk, connections, ms);
  }

  stop(): Promise<number> {
    return this.#process.stop("SIGKILL");
  }

  async #runWrk(wrk: string, connections: number, ms: number): Promise<Outcome> {
    const url = `http://${this.#target.ip}:${this.#target.port}/`;
    const seconds = Math.max(1, Math.round(ms / 1000));
    const run = this.#pod.namespace.spawn([
      wrk,
      "--threads=1",
      `--connections=${connections}`,
      `--duration=${seconds}s`,
      "--latency",
      url,
    ]);
    const code = await run.exited;
    const outcome = parseWrk(run.lines.join("\n"));
    if (code !== 0 || outcome === undefined) throw new Error(`wrk ended with ${code}:\n${run.lines.join("\n")}`);
    return outcome;
  }
}

/** Reads wrk's report; latencies become ms. */
export function parseWrk(text: string): Outcome | undefined {
  const run = /(\d+) requests in ([\d.]+)(ms|s|m)/.exec(text);
  const p50 = /^\s*50%\s+([\d.]+)(us|ms|s)/m.exec(text);
  const p99 = /^\s*99%\s+([\d.]+)(us|ms|s)/m.exec(text);
  if (run === null || p50 === null || p99 === null) return undefined;
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  return {
    count: Number(run[1]),
    seconds: milliseconds(run) / 1000,
    p50: milliseconds(p50, 1),
    p99: milliseconds(p99, 1),
    errors: (errors ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0),
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

function milliseconds(match: RegExpExecArray, at = 2): number {
  return Number(match[at]) * (UNIT_MS[match[at + 1] ?? ""] ?? Number.NaN);
}
