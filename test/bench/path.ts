/**
 * The ways from client to server that are compared, side by side in one lab: pods of their own for each, so that rounds
 * can alternate. Every client is on node a, every server on node b; an executable of before has nodes of its own.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { CniStandIn } from "../lab/cni/mod.ts";
import { ambientBinary, LAB_NAMESPACE, OpensslAuthority, writeConfiguration, Ztunnel } from "../lab/mesh/mod.ts";
import { findProgram, Lab, type LabPod, LabProcess, must, type Redirector } from "../lab/topology/mod.ts";
import { Conversation } from "../lab/traffic/mod.ts";
import { Generator } from "./generator.ts";
import { machineLine } from "./machine.ts";

export const PATHS = ["direct", "relay", "before", "ambient"] as const;
export type PathName = (typeof PATHS)[number];

const APPLICATION_PORT = 8080;

export interface Path {
  readonly name: PathName;
  readonly generator: Generator;
  /** How many requests the application has answered so far, asked beside the measured path. */
  served(): Promise<number>;
  /** Processes whose cost is measured; none for the direct path. */
  readonly proxies: { readonly client: number; readonly server: number } | undefined;
}

export class Bench {
  readonly #lab: Lab;
  readonly #started: { stop(): Promise<number> }[] = [];
  readonly #agents: CniStandIn[] = [];
  readonly #before: string | undefined;
  #proxyCount = 0;

  /** @param before executable of the path of that name */
  constructor(redirector: Redirector, names: readonly PathName[], before: string | undefined) {
    this.#before = before;
    // A node has one ztunnel: that of before needs nodes of its own.
    const first = (name: PathName) => name === "before" ? 2 : 0;
    this.#lab = new Lab({
      redirector,
      nodes: names.includes("before") ? ["a", "b", "c", "d"] : ["a", "b"],
      pods: names.flatMap((name) => [
        { name: `${name}-client`, node: first(name), captured: name !== "direct" },
        { name: `${name}-server`, node: first(name) + 1, captured: name !== "direct" },
      ]),
    });
  }

  /** Starts a path's programs. A second call for the same name starts fresh ones after `stopProxies`. */
  async start(name: PathName): Promise<Path> {
    const client = this.#lab.pod(`${name}-client`);
    const server = this.#lab.pod(`${name}-server`);
    const application = server.namespace.spawn([
      process.execPath,
      join(import.meta.dir, "application.ts"),
      `${APPLICATION_PORT}`,
    ]);
    this.#started.push(application);
    await application.line((line) => line === "ready");
    const proxies = await this.#startProxies(name, client, server);
    const generator = new Generator(client, { ip: server.ip, port: APPLICATION_PORT });
    this.#started.push(generator);
    await generator.ready();
    const served = async () => {
      const conversation = await Conversation.open(server.namespace, { ip: "127.0.0.1", port: APPLICATION_PORT });
      const text = await conversation.write("COUNT 0\n").readToEnd();
      conversation.close();
      return Number(text);
    };
    return { name, generator, served, proxies };
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) agent.close();
    await Promise.all(this.#started.map((program) => program.stop()));
    this.#lab.close();
  }

  async #startProxies(name: PathName, client: LabPod, server: LabPod): Promise<Path["proxies"]> {
    if (name === "direct") return undefined;
    const binary = name === "before" && this.#before !== undefined ? this.#before : ambientBinary();
    const started = name === "relay"
      ? await this.#relays(client, server)
      : await this.#ztunnels(binary, client, server);
    return { client: started[0].pid, server: started[1].pid };
  }

  async #relays(client: LabPod, server: LabPod): Promise<[LabProcess, LabProcess]> {
    const binary = join(this.#lab.directory, "relay");
    must([process.execPath, "build", "--compile", join(import.meta.dir, "relay.ts"), "--outfile", binary]);
    const certificates = this.#relayCertificates();
    const outbound = client.node.namespace.spawn([binary, "outbound", client.namespace.path, certificates]);
    const inbound = server.node.namespace.spawn([
      binary,
      "inbound",
      server.namespace.path,
      certificates,
      `${APPLICATION_PORT}`,
    ]);
    this.#started.push(outbound, inbound);
    await Promise.all([outbound, inbound].map((relay) => relay.line((line) => line === "ready")));
    return [outbound, inbound];
  }

  #relayCertificates(): string {
    const authority = OpensslAuthority.create(join(this.#lab.directory, "relay-ca"));
    const path = join(this.#lab.directory, "relay.json");
    writeFileSync(path, JSON.stringify(authority.issue({ identity: "spiffe://cluster.local/ns/bench/sa/relay" })));
    return path;
  }

  async #ztunnels(binary: string, client: LabPod, server: LabPod): Promise<[LabProcess, LabProcess]> {
    const generation = `${this.#proxyCount++}`;
    const directory = join(this.#lab.directory, `mesh-${generation}`);
    mkdirSync(directory);
    const configuration = join(directory, "mesh.yaml");
    writeConfiguration(configuration, {
      workloads: [client, server].map((pod) => ({ pod, hbone: true })),
    });
    const started = await Promise.all([client, server].map(async (pod) => {
      const socket = join(directory, `${pod.node.name}.sock`);
      const { uid, name } = pod;
      this.#agents.push(
        await CniStandIn.listen(socket, [
          { uid, name, namespace: LAB_NAMESPACE, serviceAccount: name, namespacePath: pod.namespace.path },
        ]),
      );
      const ztunnel = new Ztunnel({
        binary,
        node: pod.node,
        configuration,
        caDirectory: join(directory, "ca"),
        socket,
        // What a node runs with: access log lines for completed connections.
        environment: { RUST_LOG: "info" },
        keepAccessLog: false,
      });
      this.#started.push(ztunnel);
      await ztunnel.untilReady();
      return ztunnel.process;
    }));
    return started as [LabProcess, LabProcess];
  }
}

/** Where the machine and the programs are described. */
export function environmentLine(requestProgram: string): string {
  const tool = findProgram(requestProgram) === undefined
    ? requestProgram
    : must(["sh", "-c", `${requestProgram} -v 2>&1 | head -1 || true`]).trim();
  return `${machineLine()}, requests by ${tool.split("[")[0]?.trim()}`;
}
