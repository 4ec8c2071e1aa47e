/** Two nodes whose ztunnels have a control plane, a client and a server in captured pods, and the load between them. */
import { join } from "node:path";
import process from "node:process";
import { type Istiod, podWorkload, removeProgramBundle, startIstiod, ztunnelEnvironment } from "../../istiod/mod.ts";
import { CniStandIn } from "../../lab/cni/mod.ts";
import { ADMIN_PORT, ambientBinary, LAB_NAMESPACE, Ztunnel } from "../../lab/mesh/mod.ts";
import { httpRequest } from "../../lab/traffic/mod.ts";
import { Lab, type LabNode, LabProcess, type Redirector } from "../../lab/topology/mod.ts";
import type { EventLoopReport } from "../../../src/admin/event_loop.ts";
import type { Outcome } from "../load.ts";
import type { Lap, SteadyOrder } from "./steady.ts";

const APPLICATION_PORT = 8080;
const NODES = ["a", "b"];
/** Longest time that the load may take to answer an order beyond its own duration, ms. */
const PATIENCE_MS = 30_000;
/** The event loops are watched for so many seconds at a time, the one watch beginning so long before the other ends. */
const WATCH_S = 2;
const OVERLAP_MS = 200;
const HERE = import.meta.dir;

/** The longest that an event loop was held, ms: by the clock, and without the time in which others had the processor. */
export type Holds = Pick<EventLoopReport, "longestMs" | "longestOwnMs">;

export class PushMesh {
  readonly #lab: Lab;
  readonly #programs: LabProcess[] = [];
  readonly #agents: CniStandIn[] = [];
  readonly ztunnels: Ztunnel[] = [];
  #istiod: Istiod | undefined;
  #load: LabProcess | undefined;
  #steady: LabProcess | undefined;

  constructor(redirector: Redirector) {
    this.#lab = new Lab({
      redirector,
      nodes: NODES,
      pods: [{ name: "client", node: 0, captured: true }, { name: "server", node: 1, captured: true }],
    });
  }

  async start(): Promise<void> {
    const { namespace, ip } = this.#lab.addOutside("istiod");
    this.#istiod = await startIstiod({
      // In a cluster it has processors of its own.
      command: (command) => namespace.command(["nice", "-n", "19", ...command]),
      address: ip,
      host: ip,
      port: 15012,
    });
    await this.put({ put: this.#lab.pods.map((pod) => this.workload(pod.name)) });
    for (const node of this.#lab.nodes) this.ztunnels.push(await this.#startZtunnel(node));
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady()));
    const [client, server] = [this.#lab.pod("client"), this.#lab.pod("server")];
    const start = (pod: typeof client, command: string[]) => {
      const program = pod.namespace.spawn([process.execPath, ...command], { talk: true, keepLines: true });
      this.#programs.push(program);
      return program;
    };
    const application = start(server, [join(HERE, "..", "application.ts"), `${APPLICATION_PORT}`]);
    await application.line((line) => line === "ready");
    this.#load = start(client, [join(HERE, "..", "load.ts"), server.ip, `${APPLICATION_PORT}`]);
    this.#steady = start(client, [join(HERE, "steady.ts"), server.ip, `${APPLICATION_PORT}`]);
    await Promise.all([this.#load, this.#steady].map((load) => load.line((line) => line === "ready")));
  }

  async #startZtunnel(node: LabNode): Promise<Ztunnel> {
    const socket = join(this.#lab.directory, `cni-${node.name}.sock`);
    const pods = this.#lab.pods.filter((pod) => pod.node === node);
    this.#agents.push(
      await CniStandIn.listen(
        socket,
        pods.map(({ uid, name, namespace: { path } }) => ({
          uid,
          name,
          namespace: LAB_NAMESPACE,
          serviceAccount: name,
          namespacePath: path,
        })),
      ),
    );
    return new Ztunnel({
      binary: ambientBinary(),
      node,
      configuration: undefined,
      caDirectory: undefined,
      socket,
      environment: {
        ...ztunnelEnvironment(this.istiod, node),
        // What a node runs with: access log lines for completed connections.
        RUST_LOG: "info",
      },
      keepAccessLog: false,
    });
  }

  get istiod(): Istiod {
    if (this.#istiod === undefined) throw new Error("bench: there is no istiod");
    return this.#istiod;
  }

  get put(): Istiod["put"] {
    return this.istiod.put.bind(this.istiod);
  }

  /** A pod's workload as istiod tells it. */
  workload(name: string, revision = "latest") {
    return podWorkload(this.#lab.pod(name), {
      namespace: LAB_NAMESPACE,
      serviceAccount: name,
      fields: { canonicalRevision: revision },
    });
  }

  /** As many requests as there can be over so many connections, for so many ms. */
  async saturate(connections: number, ms: number): Promise<Outcome> {
    return await answer<Outcome>(this.#load, { kind: "requests", connections, ms });
  }

  async steady(order: SteadyOrder): Promise<Lap> {
    return await answer<Lap>(this.#steady, order);
  }

  /** How long the event loop of each node is held, from now until a promise settles. */
  watch(until: Promise<unknown>): Promise<Holds[]> {
    let over = false;
    const end = () => void (over = true);
    until.then(end, end);
    return Promise.all(this.ztunnels.map(async (ztunnel) => {
      const reports: Promise<EventLoopReport>[] = [];
      do {
        reports.push(watchOnce(ztunnel));
        // The next one begins before this one is over.
        await Bun.sleep(WATCH_S * 1_000 - OVERLAP_MS);
      } while (!over);
      const seen = await Promise.all(reports);
      return {
        longestMs: Math.max(...seen.map(({ longestMs }) => longestMs)),
        longestOwnMs: Math.max(...seen.map(({ longestOwnMs }) => longestOwnMs)),
      };
    }));
  }

  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.stop("SIGKILL")));
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.stop()));
    for (const agent of this.#agents) agent.close();
    await this.#istiod?.close();
    await removeProgramBundle();
    this.#lab.close();
  }
}

async function watchOnce({ namespace }: Ztunnel): Promise<EventLoopReport> {
  const { status, body } = await httpRequest(
    namespace,
    { ip: "127.0.0.1", port: ADMIN_PORT },
    `/debug/eventloop?seconds=${WATCH_S}`,
    "GET",
    { deadlineMs: WATCH_S * 1_000 + PATIENCE_MS },
  );
  if (status !== 200) throw new Error(`bench: /debug/eventloop: ${status} ${body}`);
  return JSON.parse(body) as EventLoopReport;
}

async function answer<T>(program: LabProcess | undefined, order: object): Promise<T> {
  if (program === undefined) throw new Error("bench: the load has not been started");
  const since = program.lines.length;
  program.say(JSON.stringify(order));
  return JSON.parse(await program.line((line) => line.startsWith("{"), PATIENCE_MS, since)) as T;
}
