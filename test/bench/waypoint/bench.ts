/**
 * The run: (a) no waypoint, once, (b) Envoy and (c) ours in alternating rounds. CPU is that of the waypoint's process alone;
 * latencies are those that the client sees.
 */
import process from "node:process";
import { installPrograms, type Redirector } from "../../lab/topology/mod.ts";
import { Figures, judge, noWorse } from "../figures.ts";
import { cpuTime, settledMemory, SETTLING_MS } from "../gauge.ts";
import { environmentLine } from "../path.ts";
import { chosen, type Plan, type Results, type Say } from "../plan.ts";
import { ENVOY_VERSION } from "../../interop/envoy/mod.ts";
import { type Hop, HopLab, type HopName, HOPS } from "./hop.ts";
import { CONNECTIONS, DIRECTIONS, LIMITS, STREAMS } from "./limits.ts";
import { renderHops } from "./report.ts";

const PARTS = ["requests", "h2", "bodies"] as const;

interface Measures {
  readonly requestMs: number;
  /** Octets in each direction. */
  readonly bodyBytes: number;
  readonly warmUpMs: number;
}

const THOROUGH: Measures = { requestMs: 4000, bodyBytes: 1e9, warmUpMs: 6000 };
const QUICK: Measures = { requestMs: 1500, bodyBytes: 0.3e9, warmUpMs: 3000 };
/** Time for all connections to be made before the measured window, and left to the load after it; milliseconds. */
const RAMP_MS = 1000;
const TAIL_MS = 500;
const WARM_UP_CONNECTIONS = 32;
const BODY_CONNECTIONS = 4;
const BODY_BYTES = 1e6;
const MICROSECOND = 1000; // in nanoseconds

type Measure = (hop: Hop, figures: Figures<HopName>, measures: Measures) => Promise<void>;

const cpuOf = (hop: Hop) => hop.waypoint === undefined ? 0 : cpuTime(hop.waypoint);

function addCpu(hop: Hop, figures: Figures<HopName>, figure: string, value: number): void {
  if (hop.waypoint !== undefined) figures.add(hop.name, `${figure}.cpu`, value);
}

function tellErrors(hop: Hop, figure: string, errors: number): void {
  if (errors > 0) process.stderr.write(`bench: ${hop.name} ${figure}: ${errors} errors\n`);
}

async function requests(hop: Hop, figures: Figures<HopName>, measures: Measures): Promise<void> {
  for (const connections of CONNECTIONS) {
    const figure = `h1.${connections}`;
    const load = hop.requests.requests(connections, RAMP_MS + measures.requestMs + TAIL_MS);
    await Bun.sleep(RAMP_MS);
    const start = performance.now();
    const cpu = cpuOf(hop);
    const served = await hop.served();
    await Bun.sleep(measures.requestMs);
    const count = await hop.served() - served;
    addCpu(hop, figures, figure, (cpuOf(hop) - cpu) / count / MICROSECOND);
    figures.add(hop.name, `${figure}.rate`, count * 1000 / (performance.now() - start));
    const { p50, p99, errors } = await load;
    tellErrors(hop, figure, errors);
    figures.add(hop.name, `${figure}.p50`, p50 ?? Number.NaN);
    figures.add(hop.name, `${figure}.p99`, p99 ?? Number.NaN);
  }
}

async function streams(hop: Hop, figures: Figures<HopName>, measures: Measures): Promise<void> {
  const load = hop.streams.run(STREAMS, RAMP_MS + measures.requestMs + TAIL_MS);
  await Bun.sleep(RAMP_MS);
  const from = Date.now();
  const before = cpuOf(hop);
  await Bun.sleep(measures.requestMs);
  const cpu = cpuOf(hop) - before;
  const to = Date.now();
  const { count, errors, p50, p99 } = (await load)(from, to);
  tellErrors(hop, "h2", errors);
  addCpu(hop, figures, "h2", cpu / count / MICROSECOND);
  figures.add(hop.name, "h2.rate", count * 1000 / (to - from));
  figures.add(hop.name, "h2.p50", p50);
  figures.add(hop.name, "h2.p99", p99);
}

async function bodies(hop: Hop, figures: Figures<HopName>, measures: Measures): Promise<void> {
  for (const direction of DIRECTIONS) {
    const figure = `bodies.${direction}`;
    const cpu = cpuOf(hop);
    const count = Math.ceil(measures.bodyBytes / BODY_BYTES);
    const outcome = await hop.bodies.order({
      kind: "bodies",
      direction,
      connections: BODY_CONNECTIONS,
      count,
      bytes: BODY_BYTES,
    });
    tellErrors(hop, figure, outcome.errors);
    const bytes = outcome.count * BODY_BYTES;
    // Nanoseconds per byte are seconds per GB.
    addCpu(hop, figures, figure, (cpuOf(hop) - cpu) / bytes);
    figures.add(hop.name, `${figure}.rate`, bytes * 8 / 1e9 / outcome.seconds);
  }
}

const MEASURES: Readonly<Record<(typeof PARTS)[number], Measure>> = { requests, h2: streams, bodies };

/** Of all waypoints at the same age, when garbage has been collected. */
async function memory(hops: readonly Hop[], figures: Figures<HopName>, figure: string): Promise<void> {
  await Bun.sleep(SETTLING_MS);
  await Promise.all(hops.map(async ({ name, waypoint }) => {
    if (waypoint !== undefined) figures.add(name, figure, await settledMemory(waypoint) / 1024);
  }));
}

/** A proxy runs for weeks: what the runtime compiles in its first seconds is not what a request costs. */
async function warmUp(hop: Hop, measures: Measures, parts: readonly string[]): Promise<void> {
  if (hop.waypoint === undefined) return;
  if (parts.includes("requests")) await hop.requests.requests(WARM_UP_CONNECTIONS, measures.warmUpMs);
  if (parts.includes("h2")) await hop.streams.run(STREAMS, measures.warmUpMs / 2);
}

export async function benchWaypoints(plan: Plan, redirector: Redirector, say: Say): Promise<Results> {
  const missing = installPrograms(["h2load", "nghttpd"]);
  if (missing.length > 0) throw new Error(`bench: not installed here: ${missing.join(", ")}`);
  const measures = plan.quick ? QUICK : THOROUGH;
  const { before } = plan;
  const strangers = before === undefined;
  const names = chosen(
    "path",
    plan.only,
    HOPS.filter((name) => name === "ambient" || (name !== "before") === strangers),
  );
  const parts = chosen("part", plan.parts, PARTS);
  const figures = new Figures<HopName>();
  const lab = new HopLab(redirector, before);
  try {
    say(`starting ${names.join(", ")}`);
    const hops = await lab.start(names);
    await memory(hops, figures, "idle.memory");
    for (const hop of hops) {
      say(`${hop.name}: warming up`);
      await warmUp(hop, measures, parts);
    }
    for (let round = 1; round <= plan.rounds; round++) {
      for (const hop of hops) {
        // Without a waypoint little varies, and it decides nothing: one round.
        if (hop.name === "none" && round > 1) continue;
        for (const part of parts) {
          say(`round ${round} of ${plan.rounds}: ${hop.name}: ${part}`);
          await MEASURES[part](hop, figures, measures);
        }
      }
    }
    await memory(hops, figures, "used.memory");
    return {
      environment: `${environmentLine(hops[0]?.requests.requestProgram ?? "")}${
        strangers ? `, Envoy ${ENVOY_VERSION}` : ""
      }`,
      figures,
      table: renderHops(figures, names),
      judgements: strangers
        ? judge(figures, LIMITS, { own: "ambient", yardstick: "envoy" })
        : judge(figures, noWorse(LIMITS), { own: "ambient", yardstick: "before" }),
    };
  } finally {
    await lab.close();
  }
}
