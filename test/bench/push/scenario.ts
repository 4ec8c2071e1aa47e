/**
 * A large mesh arrives while traffic flows: at first all is new, then all of it changes, then the stream breaks and all of
 * it comes again, changed. What requests and event loops feel of it, and what it costs in memory.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { ADDRESS_TYPE, type DiscoveryRequest } from "../../istiod/mod.ts";
import type { Redirector } from "../../lab/topology/mod.ts";
import { residentMemory, settledMemory } from "../gauge.ts";
import type { Say } from "../plan.ts";
import { type Holds, PushMesh } from "./mesh.ts";
import type { Lap } from "./steady.ts";

export const PUSH_PHASES = ["new", "changed", "again"] as const;
export type PushPhase = (typeof PUSH_PHASES)[number];

export const WORKLOADS = 70_000;
const CONNECTIONS = 32;
/** New connections a second. */
const FRESH = 50;
const SATURATION_MS = 1_500;
const QUIET_MS = 4_000;
/** A mesh of this size takes its time to be made up, on a machine that does other things; ms. */
const PATIENCE_MS = 60_000;

export interface PushFigures {
  /** Requests a second of the steady load. */
  readonly rate: number;
  readonly quiet: Lap;
  readonly quietHolds: readonly Holds[];
  readonly phases: ReadonlyMap<PushPhase, PhaseFigures>;
  /** One changed workload in the large mesh: from the push to its acknowledgement, ms, the slowest node. */
  readonly changeMs: number;
  /** Resident memory of each node with two workloads, at most, and at the end; MB. */
  readonly memory: readonly { readonly before: number; readonly peak: number; readonly after: number }[];
}

export interface PhaseFigures {
  readonly lap: Lap;
  readonly holds: readonly Holds[];
  /** From the first byte of the push (`again`: from the first new stream) to the acknowledgement of the slowest node, ms. */
  readonly ms: number;
}

export async function measurePush(redirector: Redirector, say: Say, workloads = WORKLOADS): Promise<PushFigures> {
  const mesh = new PushMesh(redirector);
  try {
    say("push: starting");
    await mesh.start();
    return await measure(mesh, say, workloads);
  } finally {
    await mesh.close();
  }
}

async function measure(mesh: PushMesh, say: Say, workloads: number): Promise<PushFigures> {
  const { istiod } = mesh;
  const pids = mesh.ztunnels.map((ztunnel) => ztunnel.process.pid);
  const before = pids.map(residentMemory);
  await mesh.saturate(CONNECTIONS, SATURATION_MS);
  const { count, seconds } = await mesh.saturate(CONNECTIONS, SATURATION_MS);
  const rate = Math.round(count / seconds / 2);
  say(`push: ${rate} requests/s over ${CONNECTIONS} connections, half of what there can be`);
  await mesh.steady({ kind: "start", connections: CONNECTIONS, rate, fresh: FRESH });
  await Bun.sleep(1_000);
  await mesh.steady({ kind: "lap" });
  const calm = Bun.sleep(QUIET_MS);
  const quietHolds = mesh.watch(calm);
  await calm;
  const quiet = await mesh.steady({ kind: "lap" });
  pids.forEach(resetPeak);

  const phases = new Map<PushPhase, PhaseFigures>();
  const phase = async (name: PushPhase, run: (revision: string) => Promise<number>) => {
    say(`push: ${workloads} workloads, ${name}`);
    const pushed = run(name);
    const holds = mesh.watch(pushed);
    const ms = await pushed;
    const lap = await mesh.steady({ kind: "lap" });
    phases.set(name, { lap, holds: await holds, ms });
  };
  const push = async (revision: string) => {
    const since = istiod.seen.mark;
    const answered = answers(mesh, since, workloads);
    const generated = istiod.generate({ workloads, revision });
    const response = await istiod.seen.until("response", ({ resources }) => resources >= workloads, {
      since,
      deadlineMs: PATIENCE_MS,
    });
    await mesh.steady({ kind: "lap" });
    await generated;
    return latest(await answered) - response.at;
  };
  await phase("new", push);
  await phase("changed", push);
  await phase("again", async (revision) => {
    await istiod.setPort({ connections: "refuse" });
    await istiod.breakStreams({ how: "tcp reset" });
    await istiod.generate({ workloads, revision });
    const since = istiod.seen.mark;
    const opened = istiod.seen.until("stream", ({ path }) => path.endsWith("DeltaAggregatedResources"), {
      since,
      deadlineMs: PATIENCE_MS,
    });
    const answered = answers(mesh, since, workloads);
    await istiod.setPort({ connections: "accept" });
    const { at } = await opened;
    await mesh.steady({ kind: "lap" });
    return latest(await answered) - at;
  });
  const since = istiod.seen.mark;
  await mesh.put({ put: [mesh.workload("server", "another")] });
  const changeMs = Math.max(...(await answers(mesh, since, 1)).map(({ afterMs }) => afterMs ?? Number.NaN));
  await mesh.steady({ kind: "stop" });
  const peaks = pids.map(peakMemory);
  const after = await Promise.all(pids.map((pid) => settledMemory(pid, 10_000)));
  const mb = (list: readonly number[], i: number) => (list[i] ?? Number.NaN) / 1024;
  return {
    rate,
    quiet,
    quietHolds: await quietHolds,
    phases,
    changeMs,
    memory: pids.map((_, i) => ({ before: mb(before, i), peak: mb(peaks, i), after: mb(after, i) })),
  };
}

/** The acknowledgements of both nodes to a push of at least so many resources, which istiod sends after the mark. */
async function answers(mesh: PushMesh, since: number, least: number): Promise<DiscoveryRequest[]> {
  const { seen } = mesh.istiod;
  const options = { since, deadlineMs: PATIENCE_MS };
  const nonces = new Set<string>();
  const answered: DiscoveryRequest[] = [];
  while (answered.length < mesh.ztunnels.length) {
    const answer = await seen.until(
      "request",
      ({ meaning, nonce }) => meaning !== "first" && !nonces.has(nonce),
      options,
    );
    nonces.add(answer.nonce);
    if (answer.meaning !== "ack") throw new Error(`bench: a push was answered by ${answer.meaning}`);
    const response = seen.all("response").find(({ nonce }) => nonce === answer.nonce);
    if (answer.typeUrl === ADDRESS_TYPE && response !== undefined && response.resources >= least) answered.push(answer);
  }
  return answered;
}

function latest(answers: readonly DiscoveryRequest[]): number {
  return Math.max(...answers.map(({ at }) => at));
}

/** Forgets the peak of resident memory until now (Linux, proc(5), clear_refs). */
function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** KB */
function peakMemory(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN);
}
