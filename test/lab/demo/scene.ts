/**
 * The world of the demo: two nodes, four pods (client, web, mail and an outsider that is not in the mesh), a proxy and a
 * stand-in for istio-cni on each node; and a shop of two versions behind a waypoint.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { CniStandIn } from "../cni/mod.ts";
import {
  ambientBinary,
  LAB_NAMESPACE,
  type LogLine,
  type MeshConfiguration,
  strictPolicy,
  Waypoint,
  writeConfiguration,
  Ztunnel,
} from "../mesh/mod.ts";
import { eventually, findProgram, Lab, type LabPod, type LabProcess, type Redirector } from "../topology/mod.ts";
import { Conversation, httpRequest } from "../traffic/mod.ts";
import { Shop, SHOP_MESHED, SHOP_PODS, shopObjects, shopServices, shopWorkloads } from "./shop.ts";

export const WEB_PORT = 8080;
export const MAIL_PORT = 2525;
export const WEB_VIP = "10.96.0.10";
/** The policy that refuses plaintext to the mail server. */
export const STRICT = "mail-wants-identity";

export class Scene {
  readonly lab: Lab;
  readonly ztunnels: Ztunnel[] = [];
  readonly agents: CniStandIn[] = [];
  readonly configurationPath: string;
  /** Called for each access log line of either proxy. */
  onAccess: (line: LogLine, node: string) => void = () => {};
  /** Called for each other log line of either proxy. */
  onLine: (line: LogLine, node: string) => void = () => {};
  #waypoint: Waypoint | undefined;
  #shop: Shop | undefined;
  #web: LabProcess | undefined;
  #mail: LabProcess | undefined;
  #webProgram = "";

  constructor(redirector: Redirector) {
    this.lab = new Lab({
      redirector,
      nodes: ["a", "b"],
      pods: [
        { name: "client", node: 0, captured: true },
        { name: "web", node: 1, captured: true },
        { name: "mail", node: 1, captured: true },
        { name: "outsider", node: 0, captured: false },
        ...SHOP_PODS,
      ],
    });
    this.configurationPath = join(this.lab.directory, "mesh");
    mkdirSync(this.configurationPath);
    writeConfiguration(this.configurationPath, this.configuration());
  }

  get client(): LabPod {
    return this.lab.pod("client");
  }

  get web(): LabPod {
    return this.lab.pod("web");
  }

  get mail(): LabPod {
    return this.lab.pod("mail");
  }

  get outsider(): LabPod {
    return this.lab.pod("outsider");
  }

  get waypoint(): Waypoint {
    if (this.#waypoint === undefined) throw new Error("the scene has not started");
    return this.#waypoint;
  }

  get shop(): Shop {
    if (this.#shop === undefined) throw new Error("the scene has not started");
    return this.#shop;
  }

  /** Name of the web server that was found. */
  get webProgram(): string {
    return this.#webProgram;
  }

  /** What the web server wrote about its requests. */
  get webLog(): readonly string[] {
    // nginx wants a file: what it inherits as stdout is a socket, which /dev/stdout cannot open.
    const file = join(this.lab.directory, "nginx", "access.log");
    return existsSync(file) ? readFileSync(file, "utf8").split("\n") : this.#web?.lines ?? [];
  }

  ztunnel(node: number): Ztunnel {
    const ztunnel = this.ztunnels[node];
    if (ztunnel === undefined) throw new Error(`no ztunnel on node ${node}`);
    return ztunnel;
  }

  async start(): Promise<void> {
    await this.#startApplications();
    const binary = ambientBinary();
    for (const node of this.lab.nodes) {
      const socket = join(this.lab.directory, `cni-${node.name}.sock`);
      const meshed = [this.client, this.web, this.mail, ...SHOP_MESHED.map((name) => this.lab.pod(name))];
      const pods = meshed.filter((pod) => pod.node === node);
      this.agents.push(
        await CniStandIn.listen(
          socket,
          pods.map((pod) => ({
            uid: pod.uid,
            name: pod.name,
            namespace: LAB_NAMESPACE,
            serviceAccount: pod.name,
            namespacePath: pod.namespace.path,
          })),
        ),
      );
      this.ztunnels.push(
        new Ztunnel({
          binary,
          node,
          configuration: this.configurationPath,
          caDirectory: join(this.lab.directory, "ca"),
          socket,
          onAccess: (line) => this.onAccess(line, node.name),
          onLine: (line) => this.onLine(line, node.name),
        }),
      );
    }
    await Promise.all(this.ztunnels.map((ztunnel) => ztunnel.untilReady()));
    this.#waypoint = new Waypoint({
      binary,
      pod: this.lab.pod("waypoint"),
      configuration: this.configurationPath,
      caDirectory: join(this.lab.directory, "ca"),
      namespace: LAB_NAMESPACE,
      serviceAccount: "waypoint",
      onLine: (line) => this.onLine(line, "waypoint"),
    });
    await this.#waypoint.untilReady();
  }

  async close(): Promise<void> {
    await this.#shop?.close();
    const proxies = [this.#waypoint, ...this.ztunnels];
    await Promise.all([...proxies.map((proxy) => proxy?.stop()), this.#web?.stop(), this.#mail?.stop()]);
    for (const agent of this.agents) agent.close();
    this.lab.close();
  }

  /** GET from a pod. @returns the status, and how long it took in ms */
  async get(from: LabPod, to: { ip: string; port: number }, path: string): Promise<{ status: number; ms: number }> {
    const start = performance.now();
    const { status } = await httpRequest(from.namespace, to, path, "GET");
    return { status, ms: performance.now() - start };
  }

  /** Reads the mail server's greeting, which comes unasked, then says something. @returns both answers; "" when cut off */
  async talkToMail(from: LabPod, text: string): Promise<{ greeting: string; answer: string; ms: number }> {
    const start = performance.now();
    const conversation = await Conversation.open(from.namespace, { ip: this.mail.ip, port: MAIL_PORT });
    try {
      const line = async () => {
        let got = "";
        while (!got.endsWith("\n") && got.length < 200) got += await conversation.read(1).catch(() => "\n");
        return got.trim();
      };
      const greeting = await line();
      const ms = performance.now() - start;
      const answer = greeting === "" ? "" : (conversation.write(`${text}\r\n`), await line());
      return { greeting, answer, ms };
    } finally {
      conversation.close();
    }
  }

  configuration(): MeshConfiguration {
    return {
      workloads: [
        { pod: this.client, hbone: true },
        { pod: this.web, hbone: true, services: { web: { 80: WEB_PORT } } },
        { pod: this.mail, hbone: true, policies: [`${LAB_NAMESPACE}/${STRICT}`] },
        ...shopWorkloads(this.lab),
      ],
      services: [{ name: "web", vip: WEB_VIP, ports: { 80: WEB_PORT } }, ...shopServices(this.lab)],
      policies: [strictPolicy(STRICT)],
      objects: shopObjects(),
    };
  }

  async #startApplications(): Promise<void> {
    const { program, command } = this.#webServer();
    this.#webProgram = program;
    this.#web = this.web.namespace.spawn(command, { directory: this.#webRoot() });
    this.#mail = this.mail.namespace.spawn([process.execPath, join(import.meta.dir, "mail.ts"), `${MAIL_PORT}`]);
    await this.#mail.line((line) => line === "ready");
    this.#shop = await Shop.start(this.lab);
    await eventually(`the web server (${program})`, async () => {
      if (this.#web?.exitCode !== undefined) throw new Error(this.#web.lines.join("\n"));
      const { status } = await this.get(this.web, { ip: "127.0.0.1", port: WEB_PORT }, "/");
      return status === 200;
    });
  }

  #webRoot(): string {
    const root = join(this.lab.directory, "www");
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, "index.html"), "hello from the web\n");
    return root;
  }

  /** nginx where it is, Python's server otherwise, Bun's at last. */
  #webServer(): { program: string; command: string[] } {
    if (findProgram("nginx") !== undefined) {
      const prefix = join(this.lab.directory, "nginx");
      mkdirSync(prefix, { recursive: true });
      const file = join(prefix, "nginx.conf");
      writeFileSync(file, nginxConfiguration(prefix, this.#webRoot()));
      return { program: "nginx", command: ["nginx", "-p", prefix, "-e", "stderr", "-c", file] };
    }
    if (findProgram("python3") !== undefined) {
      const command = ["python3", "-u", "-m", "http.server", "--bind", "0.0.0.0", `${WEB_PORT}`];
      return { program: "python3 -m http.server", command };
    }
    return { program: "Bun.serve", command: [process.execPath, join(import.meta.dir, "web.ts"), `${WEB_PORT}`] };
  }
}

/** One process, no change of user: so it also runs in a user namespace. */
function nginxConfiguration(prefix: string, root: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
user root;
daemon off;
master_process off;
pid ${prefix}/nginx.pid;
error_log stderr;
events {}
http {
  ${temporary.map((name) => `${name}_temp_path ${prefix}/${name};`).join("\n  ")}
  log_format lab '$remote_addr - - "$request" $status';
  access_log ${prefix}/access.log lab;
  server {
    listen ${WEB_PORT};
    root ${root};
    location / { try_files $uri /index.html; }
  }
}
`;
}
