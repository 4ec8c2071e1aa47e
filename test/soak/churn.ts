/**
 * What changes in a mesh that is alive: pods come, go and die, the control plane pushes, breaks off and starts anew, files
 * are replaced. One change after the other, at random times; what it does to connections is checked where it is known.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { Action, Scope } from "../../proto/gen/authorization_pb.ts";
import { type Break, podWorkload, policyText, type ResourceText, serviceText } from "../istiod/mod.ts";
import { LAB_NAMESPACE } from "../lab/mesh/mod.ts";
import { eventually, type LabPod, must } from "../lab/topology/mod.ts";
import { Conversation } from "../lab/traffic/mod.ts";
import { drop } from "./application.ts";
import { greet, PATIENCE_MS, say } from "./errands.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import { PORT, type Scene, SERVICE_PORT, serviceKey, SERVICES } from "./scene.ts";
import type { Traffic } from "./traffic.ts";

/** Changes a second. */
const PER_SECOND = 0.5;
/** Runs shorter than this have no change with lasting traces. */
const BRIEF_MINUTES = 1;
/** Most pods that come and go at a time. */
const MOST_PODS = 6;
/** Identities of them; a cluster has not a new one for each pod. */
const ACCOUNTS = 8;
/** Services that come and go. Metrics have the names of those that a pod was behind, for ever. */
const PASSING_SERVICES = 6;
/** What Kubernetes leaves a pod that ends for what is under way, ms. */
const GRACE_MS = 500;
/** From a pod's death to the end of its connections elsewhere, ms. */
const CUT_MS = 60_000;
/** Until a new pod can be reached, ms: it needs a certificate. */
const READY_MS = 90_000;
/** Downtime of the control plane, ms. */
const DOWN_MS = [200, 4000] as const;

/** A pod that comes and goes. */
interface Guest {
  readonly pod: LabPod;
  readonly account: string;
  /** Whether it is behind the service of such pods; one that dies without notice must not be. */
  endpoint: boolean;
  leaving: boolean;
  /** What runs through that service. */
  visit: Promise<unknown>;
  /** Its own traffic. */
  talk: Promise<void>;
}

interface Change {
  readonly name: string;
  /** How often, in comparison. */
  readonly weight: number;
  /** Its traces last: peers of what vanished are given up after half a minute. */
  readonly lasting?: true;
  run(): Promise<void>;
}

const BREAKS: readonly Break[] = [
  { how: "status", code: 0, message: "" },
  { how: "status", code: 14, message: "the soak says so" },
  { how: "reset stream", code: 2 },
  { how: "goaway", code: 0, end: true },
  { how: "tcp reset" },
  { how: "tcp end" },
  { how: "half a message" },
];

export class Churn {
  readonly counts = new Map<string, number>();
  /** Changes that could not be made, with the reason. */
  readonly failures: string[] = [];
  readonly #scene: Scene;
  readonly #traffic: Traffic;
  readonly #random: Random;
  readonly #pace: number;
  readonly #note: (line: string) => void;
  readonly #brief: boolean;
  readonly #guests: Guest[] = [];
  readonly #services = new Set<string>();
  readonly #policies = new Set<string>();
  #made = 0;
  #running = false;
  #loop: Promise<void> = Promise.resolve();
  #rotation: { readonly old: number; readonly fresh: number; readonly signs: boolean } | undefined;

  /** @param plan of it how often, and whether there is no time for what lasts */
  constructor(scene: Scene, traffic: Traffic, random: Random, plan: Plan, note: (line: string) => void) {
    this.#note = note;
    this.#brief = plan.minutes < BRIEF_MINUTES;
    this.#scene = scene;
    this.#traffic = traffic;
    this.#random = random;
    this.#pace = plan.pace;
  }

  readonly #changes: readonly Change[] = [
    { name: "pod comes", weight: 6, run: () => this.#comes() },
    { name: "pod goes", weight: 3, run: () => this.#goes() },
    { name: "pod dies under its connections", weight: 2, run: () => this.#dies() },
    { name: "pod vanishes from the network", weight: 1, lasting: true, run: () => this.#vanishes() },
    { name: "agent starts anew", weight: 0.5, run: () => this.#agent() },
    { name: "stream breaks", weight: 2, run: () => this.#breaks() },
    { name: "istiod starts anew", weight: 0.5, run: () => this.#restarts() },
    { name: "all workloads change", weight: 1, run: () => this.#scene.changeSurroundings(`revision-${this.#next()}`) },
    { name: "everything is pushed", weight: 1, run: () => this.#pushed(this.#scene.istiod.pushAll()) },
    { name: "services come and go", weight: 2, run: () => this.#service() },
    { name: "policies come and go", weight: 2, run: () => this.#policy() },
    { name: "roots are replaced by the same", weight: 0.5, run: () => this.#roots() },
    { name: "revocations are written anew", weight: 0.5, run: () => this.#scene.writeRevocations() },
  ];

  start(): void {
    this.#running = true;
    this.#loop = this.#go();
  }

  /** Resolves when nobody is there who was not there at first. */
  async pause(): Promise<void> {
    this.#running = false;
    await this.#loop;
    await this.#attempt("pods leave", async () => {
      while (this.#guests.length > 0) await this.#leave(this.#guests[0] as Guest);
      await this.#pushed(this.#scene.istiod.put({
        put: [this.#scene.residentWorkload("server")],
        removedAddresses: [...this.#services],
        removedPolicies: [...this.#policies],
      }));
    });
    this.#services.clear();
    this.#policies.clear();
  }

  /**
   * One step of the authority's move to a new root, as an operator goes: both are trusted, then the new one signs, then the
   * old one goes. Between two steps every certificate has to be renewed.
   */
  async rotate(): Promise<void> {
    const { istiod } = this.#scene;
    const rotation = this.#rotation;
    if (rotation === undefined) {
      const { issuer } = await istiod.setCa({});
      const fresh = await istiod.newRoot();
      await istiod.setCa({ roots: [issuer, fresh] });
      this.#rotation = { old: issuer, fresh, signs: false };
    } else if (!rotation.signs) {
      await istiod.setCa({ issuer: rotation.fresh, roots: [rotation.fresh, rotation.old] });
      this.#rotation = { ...rotation, signs: true };
    } else {
      await istiod.setCa({ roots: [rotation.fresh] });
      this.#rotation = undefined;
    }
    await this.#scene.writeRevocations();
    this.#count("step to a new root");
  }

  async #go(): Promise<void> {
    const changes = this.#changes.filter(({ lasting }) => lasting !== true || !this.#brief);
    const sum = changes.reduce((total, { weight }) => total + weight, 0);
    while (this.#running) {
      await Bun.sleep(this.#random.pause(PER_SECOND * this.#pace));
      if (!this.#running) break;
      let left = this.#random.next() * sum;
      const change = changes.find(({ weight }) => (left -= weight) < 0);
      if (change !== undefined) await this.#attempt(change.name, change.run);
    }
  }

  async #attempt(name: string, work: () => Promise<void>): Promise<void> {
    this.#count(name);
    this.#note(`${new Date().toISOString()} change: ${name}`);
    try {
      await work();
    } catch (error) {
      this.#failed(name, error);
    }
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  #next(): number {
    return ++this.#made;
  }

  /** Waits until both ztunnels have taken a push. One that they do not take is noted, and the run goes on. */
  async #pushed(push: ReturnType<Scene["istiod"]["put"]>): Promise<void> {
    const { sent, version } = await push;
    try {
      await this.#scene.istiod.answers({ sent, version }, READY_MS);
    } catch (error) {
      this.#failed("push", error);
    }
  }

  #failed(name: string, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.failures.push(`${new Date().toISOString()} ${name}: ${text}`);
    this.#note(`${new Date().toISOString()} change ${name} failed: ${text}`);
  }

  async #comes(endpoint = this.#random.next() < 0.6): Promise<void> {
    if (this.#guests.length >= MOST_PODS) return await this.#goes();
    const { lab, istiod } = this.#scene;
    const number = this.#next();
    const account = `flock-${number % ACCOUNTS}`;
    const pod = lab.addPod({ name: `flock-${number}`, node: number % 2, captured: true });
    const guest: Guest = { pod, account, endpoint, leaving: false, visit: Promise.resolve(), talk: Promise.resolve() };
    this.#guests.push(guest);
    this.#note(`${new Date().toISOString()} ${pod.name} ${pod.ip} ${pod.uid}`);
    this.#scene.serve(pod);
    // Kubelet starts a pod before or after istiod tells of it: both happen.
    const tell = () => this.#pushed(istiod.put({ put: [this.#workload(guest, endpoint)] }));
    const add = () => this.#scene.announce(pod, account);
    // As an endpoint it is ready only when its proxy is.
    if (endpoint || this.#random.next() < 0.5) {
      await add();
      await tell();
    } else {
      await tell();
      await add();
    }
    const client = lab.pod("client");
    await eventually("the new pod to answer", async () => {
      await greet(client, { ip: pod.ip, port: PORT }, "first");
      return true;
    }, READY_MS);
    guest.talk = this.#talk(guest);
  }

  /** A guest's own traffic, for as long as it is there. */
  async #talk(guest: Guest): Promise<void> {
    const { lab } = this.#scene;
    const client = lab.pod("client");
    const vip = (ip: string) => ({ ip, port: SERVICE_PORT });
    while (!guest.leaving) {
      await this.#traffic.attempt("to a passing pod", () => greet(client, { ip: guest.pod.ip, port: PORT }, "to"));
      await this.#traffic.attempt("from a passing pod", () => greet(guest.pod, vip(SERVICES.web), "from"));
      await this.#traffic.attempt(
        "plaintext to a passing pod",
        () => greet(lab.pod("stranger"), { ip: guest.pod.ip, port: PORT }, "plain"),
      );
      if (guest.endpoint) {
        const visit = () => greet(client, vip(SERVICES.flock), "service");
        guest.visit = this.#traffic.attempt("service of passing pods", visit);
        await guest.visit;
      }
      await Bun.sleep(this.#random.pause(this.#pace));
    }
  }

  async #goes(): Promise<void> {
    if (this.#guests.length > 0) await this.#leave(this.#random.of(this.#guests));
  }

  /** In order: no service leads to it any more, what runs ends, then it goes, from istiod's view before or after. */
  async #leave(guest: Guest): Promise<void> {
    const { istiod, lab } = this.#scene;
    const { pod } = guest;
    if (guest.endpoint) {
      // It may be the last one behind the service.
      guest.endpoint = false;
      await guest.visit;
      await this.#pushed(istiod.put({ put: [this.#workload(guest, false)] }));
    }
    guest.leaving = true;
    await guest.talk;
    await Bun.sleep(GRACE_MS);
    this.#scene.unserve(pod);
    this.#guests.splice(this.#guests.indexOf(guest), 1);
    const forget = () => this.#pushed(istiod.put({ removedAddresses: [this.#uid(pod)] }));
    const first = this.#random.next() < 0.5;
    if (first) await forget();
    await this.#scene.withdraw(pod);
    if (!first) await forget();
    lab.removePod(pod.name);
  }

  #workload({ pod, account }: Guest, endpoint: boolean): ResourceText {
    return podWorkload(pod, {
      namespace: LAB_NAMESPACE,
      serviceAccount: account,
      services: endpoint ? { [serviceKey("flock")]: { [SERVICE_PORT]: PORT } } : {},
      fields: { workloadName: "flock", canonicalName: "flock" },
    });
  }

  #uid(pod: LabPod): string {
    return `Kubernetes//Pod/${LAB_NAMESPACE}/${pod.name}`;
  }

  /** A guest nobody is led to, with connections of all kinds, from and to it. */
  async #doomed(): Promise<{ guest: Guest; theirs: Conversation[]; own: Conversation[] }> {
    if (this.#guests.every(({ endpoint }) => endpoint)) {
      if (this.#guests.length >= MOST_PODS) await this.#goes();
      await this.#comes(false);
    }
    const guest = this.#random.of(this.#guests.filter(({ endpoint }) => !endpoint));
    guest.leaving = true;
    await guest.talk;
    const { lab } = this.#scene;
    const here = { ip: guest.pod.ip, port: PORT };
    const open = async (from: LabPod, ip: string, port: number) => {
      const conversation = await Conversation.open(from.namespace, { ip, port }, { deadlineMs: PATIENCE_MS });
      await say(conversation, "held");
      return conversation;
    };
    const theirs = await Promise.all(
      ["client", "client", "neighbour", "stranger"].map((name) => open(lab.pod(name), here.ip, here.port)),
    );
    const own = await Promise.all(
      [SERVICES.web, SERVICES.web, SERVICES.outside].map((ip) => open(guest.pod, ip, SERVICE_PORT)),
    );
    return { guest, theirs, own };
  }

  async #bury({ guest, own }: { guest: Guest; own: Conversation[] }): Promise<void> {
    const { pod } = guest;
    for (const conversation of own) drop(conversation);
    this.#scene.unserve(pod);
    this.#guests.splice(this.#guests.indexOf(guest), 1);
    this.#scene.lab.removePod(pod.name);
    await this.#pushed(this.#scene.istiod.put({ removedAddresses: [this.#uid(pod)] }));
  }

  /** The agent says that it is gone, or its namespace goes, while its connections are open. */
  async #dies(): Promise<void> {
    const doomed = await this.#doomed();
    if (this.#random.next() < 0.5) {
      await this.#scene.withdraw(doomed.guest.pod);
      await this.#traffic.attempt(
        "connections end with their pod",
        () => Promise.all([...doomed.theirs, ...doomed.own].map((conversation) => conversation.readToEnd(CUT_MS))),
      );
      await this.#bury(doomed);
    } else {
      await this.#bury(doomed);
      await this.#scene.withdraw(doomed.guest.pod);
      await this.#traffic.attempt(
        "connections end with their pod",
        () => Promise.all(doomed.theirs.map((conversation) => conversation.readToEnd(CUT_MS))),
      );
    }
    for (const conversation of doomed.theirs) conversation.close();
  }

  /** Its cable is cut first: no end of a connection gets out any more. */
  async #vanishes(): Promise<void> {
    const doomed = await this.#doomed();
    const { pod } = doomed.guest;
    must(["ip", "-n", pod.namespace.name, "link", "delete", "eth0"]);
    await this.#bury(doomed);
    await this.#scene.withdraw(pod);
    for (const conversation of doomed.theirs) {
      conversation.write("SAY anybody?\n");
      await Bun.sleep(this.#random.between(0, GRACE_MS));
      if (this.#random.next() < 0.5) drop(conversation);
      else conversation.finish().close();
    }
  }

  async #agent(): Promise<void> {
    await this.#scene.renewAgent(this.#random.of(this.#scene.lab.nodes));
  }

  async #breaks(): Promise<void> {
    const streams = await this.#scene.streams();
    const how = this.#random.of(BREAKS);
    this.#note(`${new Date().toISOString()} change: streams ${streams.join()}: ${JSON.stringify(how)}`);
    await this.#scene.istiod.breakStreams(how);
    await this.#scene.connected(streams);
  }

  async #restarts(): Promise<void> {
    const { istiod } = this.#scene;
    await istiod.kill("kept");
    await Bun.sleep(this.#random.between(...DOWN_MS));
    await istiod.start();
    await this.#scene.connected();
  }

  async #service(): Promise<void> {
    const [first] = this.#services;
    if (first !== undefined && this.#random.next() < 0.5) {
      this.#services.delete(first);
      return await this.#pushed(this.#scene.istiod.put({ removedAddresses: [first] }));
    }
    const number = this.#next() % PASSING_SERVICES;
    const service = serviceText({
      name: `passing-${number}`,
      namespace: LAB_NAMESPACE,
      addresses: [`10.97.0.${number}`],
      ports: { [SERVICE_PORT]: PORT },
    });
    this.#services.add(service.name);
    const { key, plan } = { key: service.name, plan: { [SERVICE_PORT]: PORT } };
    const server = this.#scene.residentWorkload("server", {
      services: { [serviceKey("web")]: plan, [key]: plan },
    });
    await this.#pushed(this.#scene.istiod.put({ put: [service, server] }));
  }

  /** Policies of a pod with traffic, which concern none of it. */
  async #policy(): Promise<void> {
    const name = `passing-${this.#next()}`;
    const gone = [...this.#policies];
    const policy = policyText({
      name,
      namespace: LAB_NAMESPACE,
      scope: Scope.WORKLOAD_SELECTOR,
      action: Action.DENY,
      rules: [{
        clauses: [{ matches: [{ principals: [{ matchType: { case: "exact", value: `nobody/${name}` } }] }] }],
      }],
    });
    this.#policies.clear();
    this.#policies.add(policy.name);
    await this.#pushed(this.#scene.istiod.put({
      put: [policy, this.#scene.residentWorkload("server", { policies: [policy.name] })],
      removedPolicies: gone,
    }));
  }

  /** The file of the roots that istiod is checked by, as a volume replaces it. */
  #roots(): Promise<void> {
    const path = this.#scene.istiod.rootPath;
    writeFileSync(`${path}.new`, readFileSync(path));
    renameSync(`${path}.new`, path);
    return Promise.resolve();
  }
}
