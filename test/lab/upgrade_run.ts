/** Rolling updates of the ztunnels of two nodes under load, one after the other, as often as wanted. */
import { Mesh } from "./fixture.ts";
import { EchoServer, type Mishap, tally, UpgradeLoad } from "./upgrade_load.ts";
import { UpgradedNode } from "./upgrade_node.ts";

export const PORT = 8080;
export const VIP = "10.96.0.10";
/** Where pods send their questions; nobody has it, so that only the proxy can answer. */
const NAMESERVER = "10.96.0.53";
/** How long a process that goes may wait for its connections unless a plan says otherwise, ms. */
const DEADLINE_MS = 1_500;
/** A long-lived connection may break so far from a process's end, ms: how late a busy test hears of either. */
const SLACK_MS = 2_000;

export interface UpgradePlan {
  readonly restarts: number;
  /** New connections a second, and questions. */
  readonly rate: number;
  readonly questions: number;
  readonly held: number;
  /** How long a process that goes may wait for its connections, ms. */
  readonly deadlineMs?: number;
  readonly onRestart?: (restart: number, load: UpgradeLoad) => void;
}

export interface UpgradeReport {
  readonly restarts: number;
  readonly seconds: number;
  readonly begun: number;
  readonly served: number;
  readonly failed: readonly Mishap[];
  /**
   * Those of `failed` that had lived for longer than a process that goes waits, and broke when one went: the machine was
   * that slow, and they were not new any more.
   */
  readonly slow: readonly Mishap[];
  readonly asked: number;
  readonly unanswered: readonly Mishap[];
  /** Long-lived connections that broke, and those of them that broke when no process ended. */
  readonly broken: readonly Mishap[];
  readonly unexplained: readonly Mishap[];
  /** Connections by the error of their last line, over all processes that have ended. */
  readonly ends: Readonly<Record<string, number>>;
  readonly statuses: readonly number[];
  /** ms, median and longest. */
  readonly readyAfter: readonly [number, number];
  readonly leftAfter: readonly [number, number];
}

/** Two nodes with a client and a server; the seats are the network namespaces of the ztunnels' own pods. */
export function upgradeMesh(): Mesh {
  return new Mesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "late", node: 1, captured: true },
      ...[0, 1].flatMap((node) => [0, 1].map((seat) => ({ name: `seat-${node}-${seat}`, node, captured: false }))),
    ],
    meshed: ["client", "server"],
    dnsCapture: true,
    configuration: (lab) => ({
      workloads: ["client", "server", "late"].map((name) => ({
        pod: lab.pod(name),
        hbone: true,
        ...(name === "server" ? { services: { server: { 80: PORT } } } : {}),
      })),
      services: [{ name: "server", vip: VIP, ports: { 80: PORT } }],
    }),
  });
}

/** The node's ztunnels, none started yet. The mesh's own are not used: they are stopped. */
export async function upgradedNodes(mesh: Mesh, deadlineMs = DEADLINE_MS): Promise<[UpgradedNode, UpgradedNode]> {
  for (const ztunnel of mesh.ztunnels) await ztunnel.process.stop("SIGKILL");
  const seat = (node: number, index: number) => mesh.lab.pod(`seat-${node}-${index}`).namespace;
  const nodes = [0, 1].map((node) =>
    new UpgradedNode(mesh, node, [seat(node, 0), seat(node, 1)], {
      CONNECTION_TERMINATION_DEADLINE: `${deadlineMs}ms`,
    })
  );
  await Promise.all(nodes.map((node) => node.begin()));
  return nodes as [UpgradedNode, UpgradedNode];
}

export function startLoad(mesh: Mesh, { rate, questions, held }: Omit<UpgradePlan, "restarts">): UpgradeLoad {
  const server = new EchoServer(mesh.lab.pod("server"), PORT);
  mesh.onClose(() => Promise.resolve(server.close()));
  const load = new UpgradeLoad({
    client: mesh.lab.pod("client"),
    server: mesh.lab.pod("server"),
    port: PORT,
    rate,
    held,
    ...(questions === 0 ? {} : { questions: { rate: questions, server: NAMESERVER, name: "server" } }),
  });
  mesh.onClose(() => load.stop());
  return load;
}

/** Replaces the ztunnels of both nodes in turn under load. */
export async function rollingUpgrades(mesh: Mesh, plan: UpgradePlan): Promise<UpgradeReport> {
  const { deadlineMs = DEADLINE_MS } = plan;
  const nodes = await upgradedNodes(mesh, deadlineMs);
  const start = performance.now();
  const load = startLoad(mesh, plan);
  for (let restart = 0; restart < plan.restarts; restart++) {
    await (nodes[restart % 2] as UpgradedNode).upgrade();
    plan.onRestart?.(restart + 1, load);
  }
  await Promise.all(nodes.map((node) => node.settled()));
  const seconds = (performance.now() - start) / 1000;
  await load.stop();
  const endings = nodes.flatMap((node) => node.endings);
  const atAnEnd = ({ at }: Mishap) => endings.some((ending) => Math.abs(at - ending.at) < SLACK_MS);
  const slow = load.failed.filter((mishap) => mishap.age >= deadlineMs && atAnEnd(mishap));
  const ends: Record<string, number> = {};
  for (const ending of endings) {
    for (const [error, count] of Object.entries(ending.ends)) ends[error] = (ends[error] ?? 0) + count;
  }
  return {
    restarts: plan.restarts,
    seconds,
    begun: load.begun,
    served: load.served,
    failed: load.failed.filter((mishap) => !slow.includes(mishap)),
    slow,
    asked: load.asked,
    unanswered: load.unanswered,
    broken: load.broken,
    unexplained: load.broken.filter((mishap) => !atAnEnd(mishap)),
    ends,
    statuses: endings.map(({ status }) => status),
    readyAfter: middleAndLongest(nodes.flatMap(({ readyAfter }) => readyAfter)),
    leftAfter: middleAndLongest(endings.map(({ tookMs }) => tookMs)),
  };
}

function middleAndLongest(times: readonly number[]): [number, number] {
  const sorted = [...times].sort((a, b) => a - b);
  return [sorted[sorted.length >> 1] ?? 0, sorted.at(-1) ?? 0];
}

function ages(mishaps: readonly Mishap[]): string {
  const sorted = mishaps.map(({ age }) => age).sort((a, b) => a - b);
  if (sorted.length === 0) return "none";
  return [0, sorted.length >> 1, sorted.length - 1].map((index) => (sorted[index] ?? 0).toFixed(0)).join(" – ");
}

/** As text, for whoever looks at a run. */
export function formatReport(report: UpgradeReport): string {
  const { restarts, seconds, begun, served, failed, slow, asked, unanswered, broken, unexplained, ends } = report;
  const ms = ([middle, longest]: readonly [number, number]) =>
    `${middle.toFixed(0)} ms, longest ${longest.toFixed(0)} ms`;
  return [
    `${restarts} restarts in ${seconds.toFixed(0)} s; ready after ${ms(report.readyAfter)}; gone after ${
      ms(report.leftAfter)
    }`,
    `new connections: ${begun}, served ${served}, failed ${failed.length} ${JSON.stringify(tally(failed))}`,
    `  their ages in ms: ${ages(failed)}; too slow for the deadline and cut by it: ${slow.length} (${ages(slow)})`,
    `questions: ${asked}, unanswered ${unanswered.length} ${JSON.stringify(tally(unanswered))}`,
    `long-lived connections broken: ${broken.length} ${
      JSON.stringify(tally(broken))
    }, of these at no process's end: ${unexplained.length}`,
    `ends in the logs of processes that went: ${JSON.stringify(ends)}`,
  ].join("\n");
}
