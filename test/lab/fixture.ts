/** What the lab suites stand on: one topology with its proxies for each suite, made once, removed at its end. */
import { afterAll, beforeAll, describe } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CniStandIn } from "./cni/mod.ts";
import {
  ambientBinary,
  LAB_NAMESPACE,
  type MeshConfiguration,
  OpensslAuthority,
  serviceAccountOf,
  writeConfiguration,
  Ztunnel,
} from "./mesh/mod.ts";
import { eventually, inspectHost, Lab, type LabPod, type PodPlan, removeAbandoned } from "./topology/mod.ts";
import type { Behaviour } from "./traffic/mod.ts";
import { PodServer } from "./traffic/mod.ts";

const host = inspectHost();

/** Deadline of a suite's preparation: namespaces, certificates, two processes; milliseconds. */
export const PREPARATION_MS = 60_000;
export const TEST_MS = 30_000;

export interface MeshPlan {
  readonly pods: readonly PodPlan[];
  /** Names of the pods announced through the CNI. */
  readonly meshed: readonly string[];
  readonly configuration: (lab: Lab) => MeshConfiguration;
  readonly environment?: Record<string, string>;
  readonly nodes?: readonly string[];
}

/** A lab with one ztunnel and one CNI on each node. */
export class Mesh {
  readonly lab: Lab;
  readonly ztunnels: Ztunnel[] = [];
  readonly agents: CniStandIn[] = [];
  readonly configurationPath: string;
  readonly caDirectory: string;
  readonly #plan: MeshPlan;
  #configuration: MeshConfiguration;
  readonly #servers: PodServer[] = [];

  constructor(plan: MeshPlan) {
    if (host.kind !== "available") throw new Error("a suite ran although the host has no namespaces");
    removeAbandoned();
    this.#plan = plan;
    this.lab = new Lab({ redirector: host.redirector, nodes: plan.nodes ?? ["a", "b"], pods: plan.pods });
    this.configurationPath = join(this.lab.directory, "mesh.yaml");
    this.caDirectory = join(this.lab.directory, "ca");
    this.#configuration = plan.configuration(this.lab);
    writeConfiguration(this.configurationPath, this.#configuration);
  }

  get configuration(): MeshConfiguration {
    return this.#configuration;
  }

  async start(): Promise<this> {
    const binary = ambientBinary();
    for (const node of this.lab.nodes) {
      const socket = join(this.lab.directory, `cni-${node.name}.sock`);
      const pods = this.#plan.meshed.map((name) => this.lab.pod(name)).filter((pod) => pod.node === node);
      this.agents.push(await CniStandIn.listen(socket, pods.map((pod) => this.cniPod(pod))));
      this.ztunnels.push(
        new Ztunnel({
          binary,
          node,
          configuration: this.configurationPath,
          caDirectory: this.caDirectory,
          socket,
          ...(this.#plan.environment === undefined ? {} : { environment: this.#plan.environment }),
        }),
      );
    }
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady()));
    return this;
  }

  cniPod(pod: LabPod) {
    const workload = this.#configuration.workloads.find((candidate) => candidate.pod === pod);
    return {
      uid: pod.uid,
      name: pod.name,
      namespace: LAB_NAMESPACE,
      serviceAccount: workload === undefined ? pod.name : serviceAccountOf(workload),
      namespacePath: pod.namespace.path,
    };
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

  /** An application in a pod, for the whole suite. */
  serve(pod: string, port: number, behaviour: Behaviour): PodServer {
    const server = new PodServer(this.lab.pod(pod).namespace, port, behaviour);
    this.#servers.push(server);
    return server;
  }

  /** Replaces the configuration and waits until every proxy serves it. */
  async configure(change: Partial<MeshConfiguration>): Promise<void> {
    this.#configuration = { ...this.#configuration, ...change };
    writeConfiguration(this.configurationPath, this.#configuration);
    const names = (this.#configuration.policies ?? []).map((policy) => `${policy["name"]}`).sort().join();
    await Promise.all(
      this.ztunnels.map((ztunnel) =>
        eventually(`policies [${names}] on node ${ztunnel.node.name}`, async () => {
          const dump = await ztunnel.configDump();
          const policies = dump["policies"] as { name: string }[] | undefined;
          return (policies ?? []).map((policy) => policy.name).sort().join() === names;
        })
      ),
    );
  }

  /** An openssl issuer in the name of the mesh's own embedded root. */
  issuer(): OpensslAuthority {
    const directory = join(this.lab.directory, "issuer");
    mkdirSync(directory, { recursive: true });
    // The embedded CA keeps key and certificate in one file.
    const root = join(this.caDirectory, "root.pem");
    return OpensslAuthority.adopt(directory, root, root);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.process.stop("SIGKILL")));
    for (const agent of this.agents) agent.close();
    this.lab.close();
  }
}

/** A suite that needs namespaces: skipped, with the reason, where the host has none. */
export function labSuite(name: string, body: () => void): void {
  if (host.kind === "available") {
    describe(name, body);
    return;
  }
  const reason = host.kind === "unavailable" ? host.reason : "start it through npm test, or as root";
  describe.skip(`${name} (${reason})`, body);
}

/** Prepares a mesh for all tests of the suite. @returns a function that gives it */
export function sharedMesh(plan: MeshPlan, prepare: (mesh: Mesh) => void | Promise<void> = () => {}): () => Mesh {
  let mesh: Mesh | undefined;
  beforeAll(async () => {
    mesh = new Mesh(plan);
    await mesh.start();
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
