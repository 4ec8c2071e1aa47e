/** What the lab suites stand on: one topology with its proxies for each suite, made once, removed at its end. */
import { afterAll, beforeAll, describe } from "bun:test";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CniStandIn } from "./cni/mod.ts";
import {
  ambientBinary,
  type KubernetesObject,
  LAB_NAMESPACE,
  type MeshConfiguration,
  objectFile,
  OpensslAuthority,
  serviceAccountOf,
  Waypoint,
  writeConfiguration,
  writeFile,
  Ztunnel,
} from "./mesh/mod.ts";
import {
  eventually,
  inspectHost,
  Lab,
  type LabNode,
  type LabPod,
  type PodPlan,
  removeAbandoned,
} from "./topology/mod.ts";
import type { Behaviour } from "./traffic/mod.ts";
import { PodServer } from "./traffic/mod.ts";
import { EchoApplication, type EchoPlan, PodCaller, TunnelEnd, type TunnelEndPlan } from "./peers/mod.ts";

const host = inspectHost();

/** Deadline of a suite's preparation: namespaces, certificates, two processes; milliseconds. The machine may be busy. */
export const PREPARATION_MS = 120_000;
export const TEST_MS = 60_000;

export interface MeshPlan {
  readonly pods: readonly PodPlan[];
  /** Names of the pods announced through the CNI. */
  readonly meshed: readonly string[];
  readonly configuration: (lab: Lab) => MeshConfiguration;
  /** Of every ztunnel, or of each by the index of its node. */
  readonly environment?: Record<string, string> | ((node: number) => Record<string, string>);
  readonly nodes?: readonly string[];
  /** True: the ztunnels do not know on which node they are. */
  readonly unnamedNodes?: boolean;
  /** False: the nodes have no ztunnel; the suite starts what it needs. */
  readonly start?: boolean;
  /** Whether the pods' questions to nameservers are captured too. */
  readonly dnsCapture?: boolean;
  /** Text of /etc/resolv.conf as the ztunnels see it; the host's own without. */
  readonly resolvConf?: (lab: Lab) => string;
  /** Pods that are waypoints; the configuration then is a folder. */
  readonly waypoints?: readonly WaypointPlan[];
}

export interface WaypointPlan {
  readonly pod: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly environment?: Record<string, string>;
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
  readonly waypoints: Waypoint[] = [];
  readonly #servers: PodServer[] = [];
  readonly #applications: { stop(): Promise<number> }[] = [];
  readonly #endings: (() => Promise<void>)[] = [];

  constructor(plan: MeshPlan) {
    if (host.kind !== "available") throw new Error("a suite ran although the host has no namespaces");
    removeAbandoned();
    this.#plan = plan;
    this.lab = new Lab({
      redirector: host.redirector,
      nodes: plan.nodes ?? ["a", "b"],
      pods: plan.pods,
      dnsCapture: plan.dnsCapture ?? false,
    });
    const folder = (plan.waypoints ?? []).length > 0;
    this.configurationPath = join(this.lab.directory, folder ? "configuration" : "mesh.yaml");
    if (folder) mkdirSync(this.configurationPath);
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
          environment: this.#environment(node),
          unnamed: this.#plan.unnamedNodes ?? false,
          ...this.#resolvConf(),
        }),
      );
    }
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady()));
    // After the ztunnels: the first of all proxies makes the mesh's root.
    for (const plan of this.#plan.waypoints ?? []) this.waypoints.push(this.startWaypoint(plan));
    await Promise.all(this.waypoints.map((waypoint) => waypoint.untilReady()));
    return this;
  }

  #resolvConf(): { readonly resolvConf?: string } {
    const text = this.#plan.resolvConf?.(this.lab);
    if (text === undefined) return {};
    const path = join(this.lab.directory, "resolv.conf");
    if (!existsSync(path)) writeFile(path, text);
    return { resolvConf: path };
  }

  #environment(node: LabNode): Record<string, string> {
    const { environment = {} } = this.#plan;
    return typeof environment === "function" ? environment(this.lab.nodes.indexOf(node)) : environment;
  }

  startWaypoint(plan: WaypointPlan): Waypoint {
    return new Waypoint({
      binary: ambientBinary(),
      pod: this.lab.pod(plan.pod),
      configuration: this.configurationPath,
      caDirectory: this.caDirectory,
      namespace: plan.namespace ?? LAB_NAMESPACE,
      serviceAccount: plan.serviceAccount ?? plan.pod,
      ...(plan.environment === undefined ? {} : { environment: plan.environment }),
    });
  }

  /** A ztunnel in dedicated mode in a pod; it ends with the mesh. It is not waited for. */
  dedicate(pod: string, environment: Record<string, string> = {}): Ztunnel {
    const { node, namespace } = this.lab.pod(pod);
    const { namespace: of, name, serviceAccount } = this.cniPod(this.lab.pod(pod));
    const ztunnel = new Ztunnel({
      binary: ambientBinary(),
      node,
      namespace,
      configuration: this.configurationPath,
      caDirectory: this.caDirectory,
      socket: undefined,
      ...this.#resolvConf(),
      environment: {
        PROXY_MODE: "dedicated",
        PROXY_WORKLOAD_INFO: `${of}/${name}/${serviceAccount}`,
        PACKET_MARK: "1337",
        ...this.#environment(node),
        ...environment,
      },
    });
    this.onClose(async () => void await ztunnel.process.stop("SIGKILL"));
    return ztunnel;
  }

  cniPod(pod: LabPod) {
    const workload = this.#configuration.workloads.find((candidate) => candidate.pod === pod);
    return {
      uid: pod.uid,
      name: workload?.name ?? pod.name,
      namespace: workload?.namespace ?? LAB_NAMESPACE,
      serviceAccount: workload === undefined ? pod.name : serviceAccountOf(workload),
      namespacePath: pod.namespace.path,
    };
  }

  ztunnel(node: number): Ztunnel {
    const ztunnel = this.ztunnels[node];
    if (ztunnel === undefined) throw new Error(`no ztunnel on node ${node}`);
    return ztunnel;
  }

  waypoint(index = 0): Waypoint {
    const waypoint = this.waypoints[index];
    if (waypoint === undefined) throw new Error(`no waypoint ${index}`);
    return waypoint;
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

  /** An echo application in a pod, for the whole suite. */
  async echo(pod: string, plan: EchoPlan): Promise<EchoApplication> {
    const application = await EchoApplication.start(this.lab.pod(pod), plan);
    this.#applications.push(application);
    return application;
  }

  /** A calling application in a pod, for the whole suite. */
  async caller(pod: string): Promise<PodCaller> {
    const caller = await PodCaller.start(this.lab.pod(pod));
    this.#applications.push(caller);
    return caller;
  }

  /** An end of tunnels by another hand in a pod, for the whole suite, with a certificate of the mesh in that name. */
  async tunnelEnd(pod: string, identity: string, plan: Partial<TunnelEndPlan> = {}): Promise<TunnelEnd> {
    const end = await TunnelEnd.start(this.lab.pod(pod), { ...this.issuer().issue({ identity }), ...plan });
    this.#applications.push(end);
    return end;
  }

  /** Adds work to what closing the mesh does first. */
  onClose(ending: () => Promise<void>): void {
    this.#endings.push(ending);
  }

  /** Writes objects beside the mesh's file and waits until every waypoint serves the routes among them. */
  async apply(...objects: readonly KubernetesObject[]): Promise<void> {
    for (const object of objects) {
      writeFile(join(this.configurationPath, objectFile(object)), `${JSON.stringify(object)}\n`);
    }
    await this.#untilServed(objects, true);
  }

  /** Removes objects that were applied, and waits until no waypoint serves a route of theirs. */
  async remove(...objects: readonly KubernetesObject[]): Promise<void> {
    for (const object of objects) rmSync(join(this.configurationPath, objectFile(object)), { force: true });
    await this.#untilServed(objects, false);
  }

  async #untilServed(objects: readonly KubernetesObject[], there: boolean): Promise<void> {
    for (const object of objects) {
      const mark = markOf(object);
      if (mark === undefined) continue;
      const what = `${mark} ${there ? "in" : "out of"} the snapshot`;
      await Promise.all(
        this.waypoints.map((waypoint) =>
          eventually(what, async () => (await waypoint.dumpText()).includes(mark) === there)
        ),
      );
    }
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
    await Promise.all(this.#endings.map((ending) => ending()));
    await Promise.all(this.#applications.map((application) => application.stop()));
    await Promise.all([...this.waypoints, ...this.ztunnels].map((proxy) => proxy.process.stop("SIGKILL")));
    for (const agent of this.agents) agent.close();
    this.lab.close();
  }
}

/** What a waypoint's snapshot says where it comes from such an object; undefined for kinds that leave no name in it. */
function markOf({ kind, metadata, spec }: KubernetesObject): string | undefined {
  const namespace = metadata.namespace ?? LAB_NAMESPACE;
  if (kind === "HTTPRoute" || kind === "GRPCRoute" || kind === "DestinationRule") {
    return `"${kind} ${namespace}/${metadata.name}`;
  }
  const rules = spec?.["rules"];
  // One with a selector is ztunnel's business.
  if (kind !== "AuthorizationPolicy" || spec?.["targetRefs"] === undefined) return undefined;
  if (!Array.isArray(rules) || rules.length === 0) return undefined;
  return `ns[${namespace}]-policy[${metadata.name}]-rule[0]`;
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
    if (plan.start !== false) await mesh.start();
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
