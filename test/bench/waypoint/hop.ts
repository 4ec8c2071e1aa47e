/**
 * One client, one server, one pair of ztunnels; and three ways between them: past any waypoint, through Envoy as the
 * original's waypoint, through ours. Only the waypoint differs, so what differs in the figures is the waypoint's.
 *
 *     client ── ztunnel a ══╤═ envoy ════╤══ ztunnel b ── applications
 *                           ├─ waypoint ═┤
 *                           └════════════╛
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type EnvoyInstallation, installEnvoy, originalWaypoint, startEnvoy } from "../../interop/envoy/mod.ts";
import { CniStandIn } from "../../lab/cni/mod.ts";
import {
  ambientBinary,
  hostnameOf,
  type KubernetesObject,
  LAB_NAMESPACE,
  LAB_TRUST_DOMAIN,
  OpensslAuthority,
  Waypoint,
  waypointGateway,
  writeConfiguration,
  Ztunnel,
} from "../../lab/mesh/mod.ts";
import { eventually, Lab, type LabPod, type Redirector } from "../../lab/topology/mod.ts";
import { Conversation, fieldOf, http1 } from "../../lab/traffic/mod.ts";
import { Generator } from "../generator.ts";
import { H2load } from "./h2load.ts";

export const HOPS = ["none", "envoy", "before", "ambient"] as const;
export type HopName = (typeof HOPS)[number];

/** Ports of the services. */
const HTTP1 = 80;
const HTTP2 = 81;
const BODIES = 82;
/** Ports of the applications. */
const TARGETS = { [HTTP1]: 8080, [HTTP2]: 8081, [BODIES]: 8082 };
const PROTOCOLS = { [HTTP1]: "HTTP", [HTTP2]: "HTTP2", [BODIES]: "HTTP" };
const VIPS: Readonly<Record<HopName, string>> = {
  none: "10.96.20.1",
  envoy: "10.96.20.2",
  ambient: "10.96.20.3",
  before: "10.96.20.4",
};
/** Octets of the answer to a small request, in HTTP/2 as in HTTP/1. */
const SMALL_BODY = 64;

export interface Hop {
  readonly name: HopName;
  /** Small HTTP/1.1 requests. */
  readonly requests: Generator;
  /** Small HTTP/2 requests. */
  readonly streams: H2load;
  /** Large bodies. */
  readonly bodies: Generator;
  /** How many HTTP/1.1 requests the application has answered so far, asked beside the measured path. */
  served(): Promise<number>;
  /** The waypoint's process id; none where there is no waypoint. */
  readonly waypoint: number | undefined;
}

const identity = (account: string) => `spiffe://${LAB_TRUST_DOMAIN}/ns/${LAB_NAMESPACE}/sa/${account}`;

/** One rule that lets the client in, as the original has it too. */
const CLIENTS_ONLY: KubernetesObject = {
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: "clients", namespace: LAB_NAMESPACE },
  spec: {
    targetRefs: ["ambient", "before"].map((name) => ({ kind: "Service", group: "", name })),
    action: "ALLOW",
    rules: [{ from: [{ source: { principals: [`${LAB_TRUST_DOMAIN}/ns/${LAB_NAMESPACE}/sa/client`] } }] }],
  },
};

export class HopLab {
  readonly #lab: Lab;
  readonly #started: { stop(): Promise<number> }[] = [];
  readonly #agents: CniStandIn[] = [];
  readonly #configuration: string;
  readonly #caDirectory: string;
  readonly #before: string | undefined;

  /** @param before executable of the way of that name */
  constructor(redirector: Redirector, before: string | undefined) {
    this.#before = before;
    this.#lab = new Lab({
      redirector,
      nodes: ["a", "b"],
      pods: [
        { name: "client", node: 0, captured: true },
        { name: "server", node: 1, captured: true },
        { name: "envoy", node: 1, captured: false },
        { name: "waypoint", node: 1, captured: false },
        { name: "before", node: 1, captured: false },
      ],
    });
    this.#configuration = join(this.#lab.directory, "configuration");
    this.#caDirectory = join(this.#lab.directory, "ca");
  }

  /** Starts applications, ztunnels, and the waypoints of these ways. */
  async start(names: readonly HopName[]): Promise<Hop[]> {
    await Promise.all([this.#startApplications(), this.#startZtunnels()]);
    const hops: Hop[] = [];
    for (const name of names) hops.push(await this.#hop(name));
    return hops;
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) agent.close();
    await Promise.all(this.#started.map((program) => program.stop()));
    this.#lab.close();
  }

  async #hop(name: HopName): Promise<Hop> {
    const waypoint = name === "none" ? undefined : await (name === "envoy" ? this.#envoy() : this.#ambient(name));
    const client = this.#lab.pod("client");
    const vip = VIPS[name];
    for (const port of [HTTP1, BODIES]) {
      await eventually(`an answer through ${name}`, async () => {
        const { status, fields } = await http1(client.namespace, { ip: vip, port });
        const server = fieldOf(fields, "server");
        // What is measured must have been there.
        if (status !== 200 || (server === "istio-envoy") !== (name !== "none")) {
          throw new Error(`status ${status} from ${server}`);
        }
        return true;
      });
    }
    const requests = new Generator(client, { ip: vip, port: HTTP1 });
    const bodies = new Generator(client, { ip: vip, port: BODIES });
    this.#started.push(requests, bodies);
    await Promise.all([requests.ready(), bodies.ready()]);
    const streams = new H2load(client, { ip: vip, port: HTTP2 }, join(this.#lab.directory, `h2load-${name}.log`));
    const server = this.#lab.pod("server");
    const served = async () => {
      const conversation = await Conversation.open(server.namespace, { ip: "127.0.0.1", port: TARGETS[HTTP1] });
      const text = await conversation.write("COUNT 0\n").readToEnd();
      conversation.close();
      return Number(text);
    };
    return { name, requests, streams, bodies, served, waypoint };
  }

  async #startApplications(): Promise<void> {
    const pages = join(this.#lab.directory, "pages");
    mkdirSync(pages);
    writeFileSync(join(pages, "index.html"), "x".repeat(SMALL_BODY));
    const { namespace } = this.#lab.pod("server");
    const bun = (file: string, port: number) =>
      namespace.spawn([process.execPath, join(import.meta.dir, file), `${port}`]);
    const own = [bun("../application.ts", TARGETS[HTTP1]), bun("bodies.ts", TARGETS[BODIES])];
    // A stranger to our HTTP/2, as its client is.
    const http2 = namespace.spawn(["nghttpd", "--no-tls", "-a", "0.0.0.0", "-d", pages, `${TARGETS[HTTP2]}`]);
    this.#started.push(...own, http2);
    await Promise.all(own.map((program) => program.line((line) => line === "ready")));
  }

  async #startZtunnels(): Promise<void> {
    mkdirSync(this.#configuration);
    const pod = (name: string) => this.#lab.pod(name);
    const behind = (name: HopName, waypoint?: LabPod) => ({
      name,
      vip: VIPS[name],
      ports: TARGETS,
      appProtocols: PROTOCOLS,
      ...(waypoint === undefined ? {} : { waypoint }),
    });
    writeConfiguration(this.#configuration, {
      workloads: [
        { pod: pod("client"), hbone: true },
        {
          pod: pod("server"),
          hbone: true,
          services: { none: TARGETS, envoy: TARGETS, ambient: TARGETS, before: TARGETS },
        },
        { pod: pod("envoy"), hbone: true },
        { pod: pod("waypoint"), hbone: true },
        // Pods of one Gateway have its service account.
        { pod: pod("before"), hbone: true, serviceAccount: "waypoint" },
      ],
      services: [
        behind("none"),
        behind("envoy", pod("envoy")),
        behind("ambient", pod("waypoint")),
        behind("before", pod("before")),
      ],
      objects: [waypointGateway(), CLIENTS_ONLY],
    });
    for (const captured of [pod("client"), pod("server")]) {
      const socket = join(this.#lab.directory, `${captured.node.name}.sock`);
      const { uid, name, node } = captured;
      this.#agents.push(
        await CniStandIn.listen(socket, [
          { uid, name, namespace: LAB_NAMESPACE, serviceAccount: name, namespacePath: captured.namespace.path },
        ]),
      );
      const ztunnel = new Ztunnel({
        binary: ambientBinary(),
        node,
        configuration: this.#configuration,
        caDirectory: this.#caDirectory,
        socket,
        environment: { RUST_LOG: "info" },
        keepAccessLog: false,
      });
      this.#started.push(ztunnel);
      // One after the other: the first of them makes the mesh's root.
      await ztunnel.untilReady();
    }
  }

  async #ambient(name: "ambient" | "before"): Promise<number> {
    const pod = this.#lab.pod(name === "ambient" ? "waypoint" : "before");
    const waypoint = new Waypoint({
      binary: name === "before" && this.#before !== undefined ? this.#before : ambientBinary(),
      pod,
      configuration: this.#configuration,
      caDirectory: this.#caDirectory,
      namespace: LAB_NAMESPACE,
      serviceAccount: "waypoint",
    });
    this.#started.push(waypoint);
    await waypoint.untilReady();
    return waypoint.process.pid;
  }

  async #envoy(): Promise<number> {
    const root = join(this.#caDirectory, "root.pem");
    const authority = OpensslAuthority.adopt(join(this.#lab.directory, "issuer"), root, root);
    const server = this.#lab.pod("server").ip;
    const configuration = originalWaypoint({
      services: [{
        host: hostnameOf("envoy"),
        vip: VIPS.envoy,
        ports: Object.entries(TARGETS).map(([port, target]) => ({
          port: Number(port),
          protocol: Number(port) === HTTP2 ? "http2" : "http1",
          endpoint: { ip: server, port: target },
        })),
      }],
      allowed: identity("client"),
      trusted: `spiffe://${LAB_TRUST_DOMAIN}/`,
      certificate: authority.issue({ identity: identity("envoy") }),
    });
    const directory = join(this.#lab.directory, "envoy");
    const started = await startEnvoy(envoyBinary(installEnvoy()), this.#lab.pod("envoy"), directory, configuration);
    this.#started.push(started);
    return started.pid;
  }
}

function envoyBinary(installation: EnvoyInstallation): string {
  if (installation.kind === "unavailable") throw new Error(`bench: ${installation.reason}`);
  return installation.binary;
}
