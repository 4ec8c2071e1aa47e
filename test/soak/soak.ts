/** The run: rounds of work and churn, a reading every few seconds, and between two rounds a point where nothing goes on. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { cpuTime } from "../bench/gauge.ts";
import { DeadlineError, eventually, isAlive, type Redirector } from "../lab/topology/mod.ts";
import { inNamespace } from "../../src/linux/mod.ts";
import { type Census, changes, descriptors, type Place, socketTable, takeCensus, waitedMs } from "./census.ts";
import { Churn } from "./churn.ts";
import { type Plan, roundsOf } from "./plan.ts";
import { Random } from "./random.ts";
import { type NodeRecord, SERIES, toldBy } from "./record.ts";
import { CERTIFICATE_SECONDS, Scene, UNUSED_SECONDS } from "./scene.ts";
import { type Count, type Failure, Traffic } from "./traffic.ts";

/** Between two readings, ms. */
const READING_MS = 10_000;
/** At a quiet point: longest wait for the baseline, ms. Peers that vanished are given up by then. */
const BASELINE_MS = 120_000;
/** Between two looks at whether it is there, ms. */
const LOOK_MS = 500;
/** The first baseline is what stays the same for so long, ms: longer than unused tunnels are kept. */
const STILL_MS = (UNUSED_SECONDS + 2) * 1000;
/** Readings of memory at a quiet point, of which the least counts, and the time between them, ms. */
const MEMORY_LOOKS = 5;
const MEMORY_LOOK_MS = 400;

export type Say = (text: string) => void;

/** All that a run has found out. */
export interface Outcome {
  readonly plan: Plan;
  readonly seconds: number;
  readonly nodes: readonly NodeRecord[];
  /** Quiet readings that count for nothing. */
  readonly warmUp: number;
  readonly errands: Readonly<Record<string, Count>>;
  readonly failures: readonly Failure[];
  readonly held: number;
  readonly churn: Readonly<Record<string, number>>;
  readonly churnFailures: readonly string[];
  /** What may never be: bugs that a ztunnel logged, NACKs, refusals of the CNI's requests, an end of the process. */
  readonly wrongs: readonly string[];
  /** Warnings and errors in the logs by their text without figures, and how many. */
  readonly said: Readonly<Record<string, number>>;
  /** Connections in the access logs by error (empty: none). */
  readonly results: Readonly<Record<string, number>>;
  /** Network namespaces of removed pods that live on, at each quiet point. */
  readonly ghosts: readonly number[];
  readonly certificatesIssued: number;
  /** Requests of the CNI's agents that a ztunnel had no time for. */
  readonly overtaken: number;
}

export async function soak(plan: Plan, redirector: Redirector, say: Say): Promise<Outcome> {
  const log = plan.log === undefined ? undefined : openSync(plan.log, "w");
  const note = (line: string) => log === undefined ? undefined : writeSync(log, `${line}\n`);
  const scene = await Scene.start(redirector, note);
  try {
    return await new Soak(plan, scene, say, note).run();
  } finally {
    await scene.close();
    if (log !== undefined) closeSync(log);
  }
}

class Soak {
  readonly #plan: Plan;
  readonly #scene: Scene;
  readonly #say: Say;
  readonly #note: Say;
  readonly #traffic: Traffic;
  readonly #churn: Churn;
  readonly #nodes: NodeRecord[];
  readonly #start = performance.now();
  readonly #wrongs: string[] = [];
  readonly #said = new Map<string, number>();
  readonly #ghosts: number[] = [];
  #issued = 0;
  #baseline: readonly Census["held"][] | undefined;
  #ending = false;

  constructor(plan: Plan, scene: Scene, say: Say, note: Say) {
    this.#plan = plan;
    this.#scene = scene;
    this.#say = say;
    this.#note = (text) => note(`${new Date().toISOString()} ${text}`);
    const random = new Random(plan.seed);
    this.#traffic = new Traffic(scene, random, plan.pace, note);
    this.#churn = new Churn(scene, this.#traffic, random, plan, note);
    this.#nodes = scene.ztunnels.map(({ node }) => ({ node: node.name, busy: [], quiet: [] }));
    for (const ztunnel of scene.ztunnels) {
      ztunnel.process.exited.then((code) => {
        if (!this.#ending) this.#wrongs.push(`ztunnel on node ${ztunnel.node.name} ended with ${code}`);
      });
    }
  }

  async run(): Promise<Outcome> {
    const { count, busyMs, settlingMs, warmUp } = roundsOf(this.#plan);
    this.#say(`${count} rounds of ${Math.round(busyMs / 1000)} s, a quiet point after each; ${warmUp} to warm up`);
    // Steps that leave no time for renewal would break connections by themselves.
    const rotates = busyMs > CERTIFICATE_SECONDS * 1000;
    try {
      for (let round = 1; round <= count && this.#alive(); round++) {
        await this.#work(busyMs);
        await this.#quietPoint(settlingMs);
        if (rotates) await this.#churn.rotate();
        this.#tell(round, count);
      }
    } catch (error) {
      const gone = this.#scene.ztunnels.filter(({ process }) => !isAlive(process.pid));
      if (gone.length === 0) throw error;
      // They are among the wrongs then, and the run is judged by what it has seen.
      await Promise.all(gone.map(({ process }) => process.exited));
    }
    this.#ending = true;
    return {
      plan: this.#plan,
      seconds: (performance.now() - this.#start) / 1000,
      nodes: this.#nodes,
      warmUp,
      errands: Object.fromEntries(this.#traffic.counts),
      failures: this.#traffic.failures,
      held: this.#traffic.held,
      churn: Object.fromEntries(this.#churn.counts),
      churnFailures: this.#churn.failures,
      wrongs: this.#wrongs,
      said: Object.fromEntries([...this.#said].sort(([, a], [, b]) => b - a)),
      results: Object.fromEntries(this.#scene.results),
      ghosts: this.#ghosts,
      certificatesIssued: this.#issued,
      overtaken: this.#scene.overtaken,
    };
  }

  #alive(): boolean {
    return this.#scene.ztunnels.every(({ process }) => process.exitCode === undefined);
  }

  async #work(ms: number): Promise<void> {
    this.#traffic.start();
    this.#churn.start();
    const end = performance.now() + ms;
    for (let left = ms; left > 0 && this.#alive(); left = end - performance.now()) {
      await Bun.sleep(Math.min(READING_MS, left));
      const censuses = this.#census();
      this.#scene.ztunnels.forEach(({ process }, index) => {
        this.#nodes[index]?.busy.push({
          at: performance.now() - this.#start,
          census: censuses[index] as Census,
          cpuMs: cpuTime(process.pid) / 1e6,
          waitedMs: waitedMs(process.pid),
        });
      });
      // A scrape is part of every node's life.
      await Promise.all(
        this.#scene.ztunnels.map((ztunnel) => this.#traffic.attempt("scrape", () => ztunnel.metrics())),
      );
    }
    this.#note("work ends");
    await this.#churn.pause();
    await this.#traffic.pause();
    this.#note("nothing runs");
  }

  async #quietPoint(settlingMs: number): Promise<void> {
    const from = performance.now();
    const settledMs = await this.#settle(from);
    this.#note("the baseline");
    await Bun.sleep(settlingMs);
    const least = this.#scene.ztunnels.map(() => ({ rssKb: Infinity, anonymousKb: Infinity }));
    let censuses = this.#census();
    for (let look = 0; look < MEMORY_LOOKS; look++) {
      censuses.forEach(({ rssKb, anonymousKb }, index) => {
        const before = least[index] as (typeof least)[number];
        least[index] = {
          rssKb: Math.min(rssKb, before.rssKb),
          anonymousKb: Math.min(anonymousKb, before.anonymousKb),
        };
      });
      await Bun.sleep(MEMORY_LOOK_MS);
      censuses = this.#census();
    }
    for (const [index, ztunnel] of this.#scene.ztunnels.entries()) {
      const census: Census = { ...censuses[index] as Census, ...least[index] };
      this.#nodes[index]?.quiet.push({
        at: performance.now() - this.#start,
        census,
        cpuMs: cpuTime(ztunnel.process.pid) / 1e6,
        waitedMs: waitedMs(ztunnel.process.pid),
        told: toldBy(await ztunnel.metrics(), await ztunnel.configDump()),
        settledMs,
        changed: settledMs === undefined ? changes(this.#baseline?.[index] ?? {}, census.held) : [],
      });
    }
    this.#ghosts.push(this.#countGhosts());
    this.#collect();
  }

  /** Waits for the baseline; the first time for what stays. @returns how long it took, or undefined if it did not come */
  async #settle(from: number): Promise<number | undefined> {
    let last = this.#census().map(({ held }) => held);
    let since = performance.now();
    const same = (a: readonly Census["held"][], b: readonly Census["held"][]) =>
      a.every((held, index) => changes(held, b[index] ?? {}).length === 0);
    try {
      await eventually("the baseline", async () => {
        await Bun.sleep(LOOK_MS);
        const now = this.#census().map(({ held }) => held);
        if (this.#baseline !== undefined) return same(this.#baseline, now);
        if (!same(last, now) || now.some(isConnected)) since = performance.now();
        last = now;
        return performance.now() - since >= STILL_MS;
      }, BASELINE_MS);
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
      return undefined;
    }
    this.#baseline ??= last;
    return performance.now() - from;
  }

  #census(): Census[] {
    const { lab, ztunnels, outside } = this.#scene;
    const places: Place[] = [
      ...lab.nodes.map(({ name, namespace }) => ({ label: `node ${name}`, fd: namespace.fd })),
      ...lab.pods.map(({ name, namespace }) => ({ label: name.replace(/^flock-\d+$/, "flock"), fd: namespace.fd })),
      { label: "istiod", fd: outside.fd },
    ];
    const table = socketTable(places);
    return ztunnels.map((ztunnel) => takeCensus(ztunnel.process.pid, table));
  }

  /** A pod's end of its cable is in the node for as long as its namespace lives. */
  #countGhosts(): number {
    const { lab } = this.#scene;
    const ports = lab.nodes.reduce((sum, { namespace }) => {
      const devices = inNamespace(namespace.fd, () => readFileSync("/proc/thread-self/net/dev", "utf8"));
      return sum + [...devices.matchAll(/^\s*pod\d+:/gm)].length;
    }, 0);
    return ports - lab.pods.length;
  }

  /** Takes what was said and seen since the last time, and forgets it. */
  #collect(): void {
    const scene = this.#scene;
    for (const { node, level, text } of scene.said) {
      if (text.includes("internal error")) this.#wrongs.push(`node ${node}: ${text}`);
      const kind = `${level}: ${text.replace(/[0-9a-f]*\d[\w:.-]*/gi, "#").slice(0, 160)}`;
      this.#said.set(kind, (this.#said.get(kind) ?? 0) + 1);
    }
    for (const nack of scene.istiod.seen.nacks()) this.#wrongs.push(`NACK: ${JSON.stringify(nack.error)}`);
    this.#issued += scene.istiod.seen.certificateRequests().filter(({ status }) => status === 0).length;
    for (const agent of scene.agents) {
      for (const error of agent.errors.splice(0)) {
        // The agent's own restart ends what it had under way.
        if (!error.message.includes("not connected") && !error.message.includes("closed the connection")) {
          this.#wrongs.push(`CNI: ${error.message}`);
        }
      }
    }
    scene.forget();
  }

  #tell(round: number, count: number): void {
    const minutes = ((performance.now() - this.#start) / 60_000).toFixed(1);
    const parts = this.#nodes.map(({ node, quiet }) => {
      const last = quiet.at(-1);
      if (last === undefined) return "";
      const { census, settledMs, changed, told } = last;
      const { rssKb, anonymousKb, threads, loose } = census;
      const calm = settledMs === undefined
        ? `NOT at the baseline (${changed.join("; ")})`
        : `${Math.round(settledMs)} ms`;
      return `${node}: RSS ${(rssKb / 1024).toFixed(1)} MB (anonymous ${(anonymousKb / 1024).toFixed(1)}), ${
        descriptors(census)
      }+${loose} ` +
        `fds, ${threads} threads, ${told[SERIES]} series, baseline after ${calm}`;
    });
    const failed = `${this.#traffic.done} errands, ${this.#traffic.failed} failed, ${this.#churn.failures.length} ` +
      `changes failed, ${this.#wrongs.length} wrongs, ${this.#ghosts.at(-1)} ghosts`;
    this.#say(`round ${round}/${count} at ${minutes} min\n  ${parts.join("\n  ")}\n  ${failed}`);
    for (const failure of this.#traffic.failures.slice(-3)) {
      this.#say(`    ${failure.at.toISOString()} ${failure.errand}: ${failure.error.slice(0, 300)}`);
    }
    for (const failure of this.#churn.failures.slice(-2)) this.#say(`    ${failure.slice(0, 300)}`);
  }
}

/** Whether a process has connections but those to the control plane: of peers that vanished, until they are given up. */
function isConnected(held: Census["held"]): boolean {
  return Object.keys(held).some((kind) => kind.endsWith(" ESTABLISHED"));
}
