/**
 * A lab whose proxies have a control plane: an istiod in a network namespace of its own beside the nodes, which reach it;
 * pods do not. The ztunnels know nothing but what it tells them, and have their certificates from it.
 */
import { afterAll, beforeAll } from "bun:test";
import { join } from "node:path";
import {
  type Istiod,
  type IstiodOptions,
  type PodWorkload,
  podWorkload,
  type ResourceText,
  startIstiod,
  ztunnelEnvironment,
} from "../../istiod/mod.ts";
import { CniStandIn } from "../cni/mod.ts";
import { PREPARATION_MS } from "../fixture.ts";
import { ambientBinary, LAB_NAMESPACE, type LogLine, Ztunnel } from "../mesh/mod.ts";
import {
  DeadlineError,
  inspectHost,
  Lab,
  type LabNode,
  type LabPod,
  type PodPlan,
  removeAbandoned,
} from "../topology/mod.ts";
import { type Behaviour, Conversation, doubling, PodServer } from "../traffic/mod.ts";

export const PORT = 8080;

export interface ControlledPlan {
  readonly pods: readonly PodPlan[];
  /** What istiod knows of them at first besides a workload for each, by name. */
  readonly workloads?: Readonly<Record<string, PodWorkload>>;
  /** Pods that istiod is not told of. */
  readonly strangers?: readonly string[];
  /** More that istiod knows at first. */
  readonly content?: (mesh: ControlledMesh) => readonly ResourceText[];
  readonly environment?: Record<string, string> | ((node: number, lab: Lab) => Record<string, string>);
  readonly istiod?: Partial<IstiodOptions>;
  /** Runs before the ztunnels start. */
  readonly prepare?: (mesh: ControlledMesh) => Promise<unknown>;
  /** False: no ztunnel is started. */
  readonly start?: boolean;
}

const NODES = ["a", "b"];

export class ControlledMesh {
  readonly lab: Lab;
  readonly ztunnels: Ztunnel[] = [];
  readonly agents: CniStandIn[] = [];
  readonly #plan: ControlledPlan;
  readonly #servers: PodServer[] = [];
  #istiod: Istiod | undefined;

  private constructor(plan: ControlledPlan) {
    const host = inspectHost();
    if (host.kind !== "available") throw new Error("a suite ran although the host has no namespaces");
    removeAbandoned();
    this.#plan = plan;
    this.lab = new Lab({ redirector: host.redirector, nodes: NODES, pods: plan.pods });
  }

  static async start(plan: ControlledPlan): Promise<ControlledMesh> {
    const mesh = new ControlledMesh(plan);
    try {
      await mesh.#start();
    } catch (error) {
      await mesh.close();
      throw error;
    }
    return mesh;
  }

  async #start(): Promise<void> {
    const { namespace, ip } = this.lab.addOutside("istiod");
    const { istiod, content, prepare, pods, workloads = {}, strangers = [] } = this.#plan;
    this.#istiod = await startIstiod({
      command: (command) => namespace.command(command),
      address: ip,
      host: ip,
      port: 15012,
      ...istiod,
    });
    const known = pods.filter(({ name }) => !strangers.includes(name)).map(({ name }) =>
      this.workload(name, workloads[name])
    );
    await this.istiod.put({ put: [...known, ...content?.(this) ?? []] });
    await prepare?.(this);
    for (const node of this.lab.nodes) {
      const mine = this.lab.pods.filter((pod) => pod.node === node && pod.captured);
      this.agents.push(await CniStandIn.listen(this.#socket(node), mine.map((pod) => this.cniPod(pod))));
    }
    if (this.#plan.start === false) return;
    for (const node of this.lab.nodes) this.ztunnels.push(this.startZtunnel(node));
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady()));
  }

  get istiod(): Istiod {
    if (this.#istiod === undefined) throw new Error("there is no istiod");
    return this.#istiod;
  }

  /** It is not waited for. */
  startZtunnel(node: LabNode, environment: Record<string, string> = {}): Ztunnel {
    const { environment: planned = {} } = this.#plan;
    return new Ztunnel({
      binary: ambientBinary(),
      node,
      configuration: undefined,
      caDirectory: undefined,
      socket: this.#socket(node),
      environment: {
        ...ztunnelEnvironment(this.istiod, node),
        ...(typeof planned === "function" ? planned(this.lab.nodes.indexOf(node), this.lab) : planned),
        ...environment,
      },
    });
  }

  #socket(node: LabNode): string {
    return join(this.lab.directory, `cni-${node.name}.sock`);
  }

  ztunnel(node: number): Ztunnel {
    const ztunnel = this.ztunnels[node];
    if (ztunnel === undefined) throw new Error(`no ztunnel on node ${node}`);
    return ztunnel;
  }

  agent(node: number): CniStandIn {
    const agent = this.agents[node];
    if (agent === undefined) throw new Error(`no agent on node ${node}`);
    return agent;
  }

  cniPod(pod: LabPod) {
    const { uid, name, namespace: { path } } = pod;
    return { uid, name, namespace: LAB_NAMESPACE, serviceAccount: name, namespacePath: path };
  }

  /** The pod's workload as istiod tells it; its service account has its name. */
  workload(name: string, plan: PodWorkload = {}): ResourceText {
    return podWorkload(this.lab.pod(name), { namespace: LAB_NAMESPACE, serviceAccount: name, ...plan });
  }

  /** Adds a pod with its application, as CNI agent and kubelet do; istiod is not told. */
  async addPod(plan: PodPlan): Promise<LabPod> {
    const pod = this.lab.addPod(plan);
    if (pod.captured) await this.agent(plan.node).add(this.cniPod(pod));
    return pod;
  }

  serve(pod: string, behaviour: Behaviour = doubling, port = PORT): PodServer {
    const server = new PodServer(this.lab.pod(pod).namespace, port, behaviour);
    this.#servers.push(server);
    return server;
  }

  /** A connection that has carried bytes there and back. @throws ConversationError, DeadlineError */
  async talk(from: string, to: string, port = PORT, deadlineMs?: number): Promise<Conversation> {
    const ip = to.includes(".") ? to : this.lab.pod(to).ip;
    const conversation = await Conversation.open(this.lab.pod(from).namespace, { ip, port });
    try {
      return await pingPong(conversation, deadlineMs);
    } catch (error) {
      conversation.close();
      throw error;
    }
  }

  /** Whether a new connection gets through. */
  async reaches(from: string, to: string, port = PORT, deadlineMs?: number): Promise<boolean> {
    const answer = await this.talk(from, to, port, deadlineMs).catch(() => undefined);
    answer?.close();
    return answer !== undefined;
  }

  /** Why new connections fail: tries one, and finds its line in the log of the node that it leaves. */
  async refusal(from: string, to: string, port = PORT): Promise<LogLine> {
    const ztunnel = this.ztunnel(this.lab.nodes.indexOf(this.lab.pod(from).node));
    const conversation = await Conversation.open(this.lab.pod(from).namespace, { ip: this.lab.pod(to).ip, port });
    const through = await pingPong(conversation).then(() => true, () => false);
    conversation.close();
    if (through) throw new Error(`${from} reaches ${to}`);
    return await ztunnel.endOf(conversation.address);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.process.stop("SIGKILL")));
    for (const agent of this.agents) agent.close();
    await this.#istiod?.close();
    this.lab.close();
  }
}

/** Sends two bytes and reads the four that come for them from `doubling`. */
export async function pingPong(conversation: Conversation, deadlineMs?: number): Promise<Conversation> {
  const answer = await conversation.write("ab").read(4, deadlineMs);
  if (answer !== "xxxx") throw new Error(`the application answered ${JSON.stringify(answer)}`);
  return conversation;
}

/** Prepares a mesh with its control plane for all tests of the suite. @returns a function that gives it */
export function controlledMesh(
  plan: ControlledPlan,
  prepare: (mesh: ControlledMesh) => void | Promise<void> = () => {},
): () => ControlledMesh {
  let mesh: ControlledMesh | undefined;
  beforeAll(async () => {
    mesh = await ControlledMesh.start(plan);
    await prepare(mesh);
  }, PREPARATION_MS);
  afterAll(async () => {
    await mesh?.close();
  });
  return () => {
    if (mesh === undefined) throw new Error("the mesh is not prepared");
    return mesh;
  };
}

/** Waits for a line of a proxy's own log (not the access log) from index `since` of all its lines on, and reads it. */
export async function logLine(
  ztunnel: Ztunnel,
  part: string | RegExp,
  since = 0,
  deadlineMs = 20_000,
): Promise<string> {
  const fits = (line: string) => typeof part === "string" ? line.includes(part) : part.test(line);
  try {
    return await ztunnel.process.line(fits, deadlineMs, since);
  } catch {
    const said = ztunnel.process.lines.slice(since).filter((line) => !line.includes("\taccess\t")).slice(-8);
    throw new DeadlineError(
      `node ${ztunnel.node.name} did not say ${part} within ${deadlineMs} ms; it said:\n${said.join("\n")}`,
    );
  }
}
