/**
 * The mesh of the soak: two nodes with a ztunnel each, an istiod beside them, pods that stay and pods that come and go.
 * Certificates live for two minutes and unused tunnels for seconds, so that an hour sees what else takes weeks.
 */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Action, Scope } from "../../proto/gen/authorization_pb.ts";
import {
  type Istiod,
  type PodWorkload,
  podWorkload,
  policyText,
  serviceText,
  startIstiod,
  ztunnelEnvironment,
} from "../istiod/mod.ts";
import { CniStandIn, ZdsError } from "../lab/cni/mod.ts";
import { ambientBinary, LAB_NAMESPACE, type LogLine, Ztunnel } from "../lab/mesh/mod.ts";
import { Nameserver, PodResolver } from "../lab/peers/mod.ts";
import {
  eventually,
  Lab,
  type LabNode,
  type LabPod,
  type NetworkNamespace,
  type Redirector,
} from "../lab/topology/mod.ts";
import { PodServer } from "../lab/traffic/mod.ts";
import { application } from "./application.ts";

export const PORT = 8080;
export const SERVICE_PORT = 80;
/** Where pods send their questions: an address that nobody has, as a cluster's DNS service. */
const DNS_SERVER = "10.96.0.53";
/** Of certificates; renewal is at half of it. */
export const CERTIFICATE_SECONDS = 120;
/** Of tunnels without streams. */
export const UNUSED_SECONDS = 5;
/** Types that a ztunnel subscribes to. */
const TYPES = 2;
/** What an agent says when it did not wait any longer for a ztunnel, or had left before. */
const OVERTAKEN = /no answer within|is not connected|closed the connection/;
/** Somebody whose certificate is revoked: the list has an entry. */
const REVOKED = "spiffe://cluster.local/ns/default/sa/revoked";
/** A made-up mesh around the pods, which is pushed anew again and again. */
const SURROUNDINGS = { workloads: 300, services: 30, policies: 20, prefix: "far" };

/** Pods that stay, with their nodes; captured ones are in the mesh. */
export const RESIDENTS = {
  client: { node: 0, captured: true },
  neighbour: { node: 0, captured: true },
  stranger: { node: 0, captured: false },
  server: { node: 1, captured: true },
  backup: { node: 1, captured: true },
  guarded: { node: 1, captured: true },
  plain: { node: 1, captured: false },
  nameserver: { node: 1, captured: false },
} as const;
export type Resident = keyof typeof RESIDENTS;

/** Services by name, with their address. */
export const SERVICES = { web: "10.96.0.10", outside: "10.96.0.11", flock: "10.96.0.12" } as const;
export type ServiceName = keyof typeof SERVICES;

/** Names that the nameserver knows. It says nothing at all to `silent.test`. */
export const KNOWN_NAME = "known.test.";
export const KNOWN_ADDRESS = "192.0.2.7";
export const SILENT_NAME = "silent.test.";

export const serviceKey = (name: ServiceName) => `${LAB_NAMESPACE}/${name}.${LAB_NAMESPACE}.svc.cluster.local`;

/** What a ztunnel said that is worth a look. */
export interface Said {
  readonly node: string;
  readonly level: string;
  readonly text: string;
}

export class Scene {
  readonly lab: Lab;
  readonly ztunnels: Ztunnel[] = [];
  readonly agents: CniStandIn[] = [];
  /** Warnings and errors of the ztunnels since they were last taken away. */
  readonly said: Said[] = [];
  /** Results of connections, by the ztunnels' access logs: how many, by their error (empty: none). */
  readonly results = new Map<string, number>();
  /** The istiod's network namespace. */
  readonly outside: NetworkNamespace;
  readonly #outsideIp: string;
  readonly #note: (line: string) => void;
  /** Requests of agents that the ztunnel had no time for. */
  overtaken = 0;
  /** By node: snapshots that are known to have been acknowledged. */
  readonly #snapshots: number[] = [];
  readonly #servers = new Map<string, PodServer>();
  #istiod: Istiod | undefined;
  #resolver: PodResolver | undefined;
  #nameserver: Nameserver | undefined;

  private constructor(redirector: Redirector, note: (line: string) => void) {
    this.#note = note;
    this.lab = new Lab({
      redirector,
      nodes: ["a", "b"],
      pods: Object.entries(RESIDENTS).map(([name, place]) => ({ name, ...place })),
      dnsCapture: true,
    });
    const { namespace, ip } = this.lab.addOutside("istiod");
    this.outside = namespace;
    this.#outsideIp = ip;
  }

  /** @param note is told what the ztunnels log */
  static async start(redirector: Redirector, note: (line: string) => void): Promise<Scene> {
    const scene = new Scene(redirector, note);
    try {
      await scene.#start();
    } catch (error) {
      await scene.close();
      throw error;
    }
    return scene;
  }

  get istiod(): Istiod {
    if (this.#istiod === undefined) throw new Error("there is no istiod");
    return this.#istiod;
  }

  get resolver(): PodResolver {
    if (this.#resolver === undefined) throw new Error("there is no resolver");
    return this.#resolver;
  }

  get #crlPath(): string {
    return join(this.lab.directory, "crl.pem");
  }

  async #start(): Promise<void> {
    for (const name of ["client", "neighbour", "server", "backup", "guarded", "plain"]) this.serve(this.lab.pod(name));
    this.#nameserver = await Nameserver.start(this.lab.pod("nameserver"), {
      [KNOWN_NAME]: { a: [KNOWN_ADDRESS], ttl: 1 },
      [SILENT_NAME]: null,
    });
    this.#resolver = await PodResolver.start(this.lab.pod("client"), DNS_SERVER);
    this.#istiod = await startIstiod({
      command: (words) => this.outside.command(words),
      address: this.#outsideIp,
      host: this.#outsideIp,
      port: 15012,
      ca: { backdateSeconds: 1 },
    });
    await this.istiod.generate(SURROUNDINGS);
    await this.istiod.put({
      put: [
        ...Object.entries(SERVICES).map(([name, address]) =>
          serviceText({ name, namespace: LAB_NAMESPACE, addresses: [address], ports: { [SERVICE_PORT]: PORT } })
        ),
        ...Object.keys(RESIDENTS).map((name) => this.residentWorkload(name as Resident)),
        policyText({
          name: "nobody",
          namespace: LAB_NAMESPACE,
          scope: Scope.WORKLOAD_SELECTOR,
          action: Action.DENY,
          rules: [{ clauses: [{ matches: [{ destinationPorts: [PORT] }] }] }],
        }),
      ],
    });
    await this.istiod.issue({ identity: REVOKED });
    await this.writeRevocations();
    const resolvConf = join(this.lab.directory, "resolv.conf");
    writeFileSync(resolvConf, `nameserver ${this.lab.pod("nameserver").ip}\noptions timeout:1 attempts:1\n`);
    for (const node of this.lab.nodes) {
      const mine = this.lab.pods.filter((pod) => pod.node === node && pod.captured);
      const socket = join(this.lab.directory, `cni-${node.name}.sock`);
      this.agents.push(await CniStandIn.listen(socket, mine.map((pod) => cniPod(pod, pod.name))));
      this.ztunnels.push(this.#ztunnel(node, socket, resolvConf));
    }
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady(60_000)));
    await Promise.all(this.agents.map((_, index) => this.#synchronised(index)));
  }

  #ztunnel(node: LabNode, socket: string, resolvConf: string): Ztunnel {
    return new Ztunnel({
      binary: ambientBinary(),
      node,
      configuration: undefined,
      caDirectory: undefined,
      socket,
      resolvConf,
      environment: {
        ...ztunnelEnvironment(this.istiod, node),
        CRL_PATH: this.#crlPath,
        SECRET_TTL: `${CERTIFICATE_SECONDS}s`,
        POOL_UNUSED_RELEASE_TIMEOUT: `${UNUSED_SECONDS}s`,
        RUST_LOG: "info",
      },
      onAccess: (line) => {
        const error = line.fields["error"] ?? "";
        this.results.set(error, (this.results.get(error) ?? 0) + 1);
        if (error !== "") this.#note(textOf(node, line));
      },
      onLine: (line) => {
        this.#note(textOf(node, line));
        const { level } = line;
        if (level !== "info" && level !== "debug") this.said.push({ node: node.name, level, text: saying(line) });
      },
    });
  }

  /** The agent tells a pod's ztunnel that it is there. */
  announce(pod: LabPod, serviceAccount: string): Promise<void> {
    return this.#told(pod.node, (agent) => agent.add(cniPod(pod, serviceAccount)));
  }

  /** The agent tells a pod's ztunnel that it is gone. */
  withdraw(pod: LabPod): Promise<void> {
    return this.#told(pod.node, (agent) => agent.remove(pod.uid));
  }

  /** The agent of a node starts anew, and its ztunnel comes back to it. */
  async renewAgent(node: LabNode): Promise<void> {
    const index = this.lab.nodes.indexOf(node);
    this.agents[index]?.disconnect();
    await this.#synchronised(index);
  }

  /**
   * An agent whose ztunnel does not answer in time cuts it off, as istio-cni does; what it could not tell is in the
   * snapshot that the ztunnel gets when it comes again. It happens where the machine has no core for it.
   */
  async #told(node: LabNode, tell: (agent: CniStandIn) => Promise<void>): Promise<void> {
    const index = this.lab.nodes.indexOf(node);
    try {
      await tell(this.agents[index] as CniStandIn);
    } catch (error) {
      if (!(error instanceof ZdsError) || !OVERTAKEN.test(error.message)) throw error;
      this.overtaken++;
      await this.#synchronised(index);
    }
  }

  /** Waits for a snapshot more than are known of. */
  async #synchronised(node: number): Promise<void> {
    const count = (this.#snapshots[node] ?? 0) + 1;
    this.#snapshots[node] = count;
    await this.agents[node]?.untilSynchronised(count);
  }

  /** The workload of a pod that stays. */
  residentWorkload(name: Resident, plan: PodWorkload = {}) {
    const services: Partial<Record<Resident, ServiceName>> = { server: "web", backup: "web", plain: "outside" };
    const service = services[name];
    return podWorkload(this.lab.pod(name), {
      namespace: LAB_NAMESPACE,
      serviceAccount: name,
      meshed: RESIDENTS[name].captured,
      services: service === undefined ? {} : { [serviceKey(service)]: { [SERVICE_PORT]: PORT } },
      policies: name === "guarded" ? [`${LAB_NAMESPACE}/nobody`] : [],
      ...plan,
    });
  }

  serve(pod: LabPod): void {
    this.#servers.set(pod.name, new PodServer(pod.namespace, PORT, application));
  }

  /** Ends a pod's application and its connections. */
  unserve(pod: LabPod): void {
    this.#servers.get(pod.name)?.close();
    this.#servers.delete(pod.name);
  }

  /** Another copy of the made-up mesh: every workload of it changes. */
  async changeSurroundings(revision: string): Promise<void> {
    await this.istiod.answers(await this.istiod.generate({ ...SURROUNDINGS, revision }));
  }

  /** Replaces the file of revocations, as a volume does. */
  async writeRevocations(): Promise<void> {
    const text = await this.istiod.revoke({ identities: [REVOKED] });
    writeFileSync(`${this.#crlPath}.new`, text);
    renameSync(`${this.#crlPath}.new`, this.#crlPath);
  }

  /** Numbers of the ztunnels' streams. */
  async streams(): Promise<readonly number[]> {
    const { streams } = await this.istiod.status();
    return streams.filter(({ typeUrls }) => typeUrls.length >= TYPES).map(({ stream }) => stream);
  }

  /** Resolves when both ztunnels have a stream that is none of these. */
  async connected(gone: readonly number[] = []): Promise<void> {
    await eventually("both ztunnels to have a new stream", async () => {
      const streams = await this.streams();
      return streams.length === this.ztunnels.length && streams.every((stream) => !gone.includes(stream));
    }, 60_000);
  }

  /** Forgets what has been seen: a long run would fill memory with it. */
  forget(): void {
    this.istiod.seen.forget();
    this.said.length = 0;
    for (const server of this.#servers.values()) server.visits.length = 0;
    for (const ztunnel of this.ztunnels) {
      ztunnel.access.length = 0;
      ztunnel.process.lines.splice(0, Math.max(0, ztunnel.process.lines.length - 50));
    }
  }

  async close(): Promise<void> {
    for (const server of this.#servers.values()) server.close();
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.process.stop("SIGKILL")));
    await Promise.all([this.#resolver?.stop(), this.#nameserver?.stop()]);
    for (const agent of this.agents) agent.close();
    await this.#istiod?.close();
    this.lab.close();
  }
}

/** What the CNI says of a pod. */
function cniPod({ uid, name, namespace: { path } }: LabPod, serviceAccount: string) {
  return { uid, name, namespace: LAB_NAMESPACE, serviceAccount, namespacePath: path };
}

/** A line without its time. */
function saying({ scope, message, fields }: LogLine): string {
  return [scope, message, ...Object.entries(fields).map(([key, value]) => `${key}=${value}`)].join(" ");
}

function textOf({ name }: LabNode, line: LogLine): string {
  return `${new Date(line.time).toISOString()} ${name} ${line.level} ${saying(line)}`;
}
