/** Restarts of a node's ztunnel that hands its plain relays over, under load in both directions. */
import { join } from "node:path";
import { Mesh } from "./fixture.ts";
import { echoFaithfully, HandoverStream } from "./handover_stream.ts";
import { EchoServer, type Mishap, tally, UpgradeLoad } from "./upgrade_load.ts";
import { UpgradedNode } from "./upgrade_node.ts";

export const PORT = 8080;
const STREAM_PORT = 8081;
/** Longer than anything here takes: a process that waits for its deadline has failed to hand something over. */
const DEADLINE_MS = 60_000;
/** So long a pause explains that an answer was not seen in time: half of what is waited for it, ms. */
const FROZEN_MS = 10_000;

export interface HandoverPlan {
  readonly restarts: number;
  /** New connections a second, in each direction. */
  readonly rate: number;
  /** In each direction: connections that live as long as the run, most of them silent most of the time; and busy ones. */
  readonly held: number;
  readonly streams: number;
  readonly onRestart?: (restart: number) => void;
}

export interface HandoverReport {
  readonly begun: number;
  readonly served: number;
  readonly failed: readonly Mishap[];
  /** Those that failed while the whole test stood still for seconds: a machine that is too busy for it. */
  readonly frozen: readonly Mishap[];
  readonly broken: readonly Mishap[];
  /** What was wrong with busy connections, and how many bytes came back on all of them. */
  readonly corrupt: readonly string[];
  readonly streamed: number;
  /** Connections that all processes together said they had handed over, and taken over. */
  readonly handedOver: number;
  readonly takenOver: number;
  /** Ends in the access logs by their error. */
  readonly ends: Readonly<Record<string, number>>;
  /** Exit statuses, and the longest time from the signal to the exit, ms. */
  readonly statuses: readonly number[];
  readonly slowest: number;
}

/** Notices when nothing ran for long. */
class Pauses {
  readonly #timer: Timer;
  readonly #pauses: { readonly from: number; readonly to: number }[] = [];
  #last = performance.now();

  constructor() {
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (now - this.#last > FROZEN_MS) this.#pauses.push({ from: this.#last, to: now });
      this.#last = now;
    }, 50);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  during({ at, age }: Mishap): boolean {
    return this.#pauses.some(({ from, to }) => at - age < to && from < at);
  }
}

/** A pod in the mesh and one outside; the seats are the network namespaces of the ztunnels' own pods. */
export function handoverMesh(): Mesh {
  return new Mesh({
    pods: [
      { name: "inside", node: 0, captured: true },
      { name: "outside", node: 1, captured: false },
      ...[0, 1].map((seat) => ({ name: `seat-${seat}`, node: 0, captured: false })),
    ],
    meshed: ["inside"],
    configuration: (lab) => ({ workloads: [{ pod: lab.pod("inside"), hbone: true }] }),
  });
}

export function upgradeSocket(mesh: Mesh): string {
  return join(mesh.lab.directory, "upgrade.sock");
}

/** The node's ztunnel, which can be replaced. The mesh's own is stopped. */
export async function handoverNode(mesh: Mesh, environment: Record<string, string> = {}): Promise<UpgradedNode> {
  for (const ztunnel of mesh.ztunnels) await ztunnel.process.stop("SIGKILL");
  const seats = [mesh.lab.pod("seat-0").namespace, mesh.lab.pod("seat-1").namespace] as const;
  const node = new UpgradedNode(mesh, 0, seats, {
    AMBIENT_UPGRADE_SOCKET: upgradeSocket(mesh),
    CONNECTION_TERMINATION_DEADLINE: `${DEADLINE_MS}ms`,
    ...environment,
  });
  await node.begin();
  return node;
}

/** A number in the last of a process's log lines with a message. */
export function logged(lines: readonly string[], message: string, field: string): number {
  const line = lines.findLast((text) => text.includes(`\t${message}\t`)) ?? "";
  return Number(new RegExp(`\\b${field}=(\\d+)`).exec(line)?.[1] ?? 0);
}

export async function restartUnderLoad(mesh: Mesh, plan: HandoverPlan): Promise<HandoverReport> {
  // One client of hundreds of plain connections a second, and a proxy that borrows its address for as many more to the same
  // place, soon have chosen the same port.
  const node = await handoverNode(mesh, { ENABLE_ORIG_SRC: "false" });
  const [inside, outside] = [mesh.lab.pod("inside"), mesh.lab.pod("outside")];
  const ways = [[inside, outside], [outside, inside]] as const;
  const servers = ways.map(([, server]) => new EchoServer(server, PORT));
  const echoes = ways.map(([, server]) => echoFaithfully(server, STREAM_PORT));
  const { rate, held } = plan;
  const loads = ways.map(([client, server]) => new UpgradeLoad({ client, server, port: PORT, rate, held }));
  const streams = ways.flatMap(([client, server]) =>
    Array.from({ length: plan.streams }, () => new HandoverStream(client, server, STREAM_PORT))
  );
  mesh.onClose(async () => {
    await Promise.all(loads.map((load) => load.stop()));
    for (const server of servers) server.close();
    for (const echo of echoes) echo.stop(true);
  });
  const pauses = new Pauses();
  let [handedOver, takenOver] = [0, 0];
  for (let restart = 0; restart < plan.restarts; restart++) {
    const before = node.ztunnel;
    await node.upgrade();
    await node.settled();
    const gone = await node.ztunnel.process.line((text) => text.includes("the process before has gone"));
    handedOver += logged(before.process.lines, "connections handed over", "connections");
    takenOver += logged([gone], "the process before has gone", "connections");
    plan.onRestart?.(restart + 1);
  }
  await Promise.all(streams.map((stream) => stream.finish()));
  await Promise.all(loads.map((load) => load.stop()));
  pauses.stop();
  const failed = loads.flatMap((load) => load.failed);
  const ends: Record<string, number> = {};
  for (const ending of node.endings) {
    for (const [error, count] of Object.entries(ending.ends)) ends[error] = (ends[error] ?? 0) + count;
  }
  return {
    begun: loads.reduce((sum, { begun }) => sum + begun, 0),
    served: loads.reduce((sum, { served }) => sum + served, 0),
    failed: failed.filter((mishap) => !pauses.during(mishap)),
    frozen: failed.filter((mishap) => pauses.during(mishap)),
    broken: loads.flatMap(({ broken }) => broken),
    corrupt: streams.flatMap(({ error }) => error ?? []),
    streamed: streams.reduce((sum, { received }) => sum + received, 0),
    handedOver,
    takenOver,
    ends,
    statuses: node.endings.map(({ status }) => status),
    slowest: Math.max(...node.endings.map(({ tookMs }) => tookMs)),
  };
}

/** As text, for whoever looks at a run. */
export function formatHandover(report: HandoverReport): string {
  const { begun, served, failed, frozen, broken, corrupt, streamed, handedOver, takenOver, ends, statuses, slowest } =
    report;
  return [
    `${statuses.length} restarts, the slowest gone after ${slowest.toFixed(0)} ms`,
    `new connections: ${begun}, served ${served}, failed ${failed.length} ${JSON.stringify(tally(failed))}, ` +
    `while the machine stood still ${frozen.length}`,
    `long-lived connections broken: ${broken.length} ${JSON.stringify(tally(broken))}`,
    `busy ones: ${(streamed / 1e6).toFixed(0)} MB came back; ${
      corrupt.length === 0 ? "all as sent" : corrupt.join("; ")
    }`,
    `handed over ${handedOver}, taken over ${takenOver}; ends: ${JSON.stringify(ends)}`,
  ].join("\n");
}
