/**
 * What changes in a mesh that is alive: pods come, go and die, the control plane pushes, breaks off and starts anew, files
 * are replaced. One change after the other, at random times; what it does to connections is checked where it is known.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { Action, Scope } from "../../proto/gen/authorization_pb.ts";
import { type Break, policyText, serviceText } from "../istiod/mod.ts";
import { LAB_NAMESPACE } from "../lab/mesh/mod.ts";
import { Guests } from "./guests.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import { Pushes } from "./pushes.ts";
import { PORT, type Scene, SERVICE_PORT, serviceKey } from "./scene.ts";
import type { Traffic } from "./traffic.ts";

/** Changes a second. */
const PER_SECOND = 0.5;
/** Runs shorter than this have no change with lasting traces. */
const BRIEF_MINUTES = 1;
/** Services that come and go. Metrics have the names of those that a pod was behind, for ever. */
const PASSING_SERVICES = 6;
/** Downtime of the control plane, ms. */
const DOWN_MS = [200, 4000] as const;

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
  readonly #random: Random;
  readonly #pace: number;
  readonly #note: (line: string) => void;
  readonly #brief: boolean;
  readonly #guests: Guests;
  readonly #pushes: Pushes;
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
    this.#random = random;
    this.#pace = plan.pace;
    this.#pushes = new Pushes(scene, (error) => this.#failed("push", error));
    this.#guests = new Guests({ scene, traffic, random, pushes: this.#pushes, pace: plan.pace, note });
  }

  readonly #changes: readonly Change[] = [
    { name: "pod comes", weight: 6, run: () => this.#guests.comes() },
    { name: "pod goes", weight: 3, run: () => this.#guests.goes() },
    { name: "pod dies under its connections", weight: 2, run: () => this.#guests.dies() },
    { name: "pod vanishes from the network", weight: 1, lasting: true, run: () => this.#guests.vanishes() },
    { name: "agent starts anew", weight: 0.5, run: () => this.#agent() },
    { name: "stream breaks", weight: 2, run: () => this.#breaks() },
    { name: "istiod starts anew", weight: 0.5, run: () => this.#restarts() },
    { name: "all workloads change", weight: 1, run: () => this.#scene.changeSurroundings(`revision-${this.#next()}`) },
    { name: "everything is pushed", weight: 1, run: () => this.#pushes.taken(this.#scene.istiod.pushAll()) },
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
      await this.#guests.allLeave();
      await this.#pushes.put({
        put: [this.#scene.residentWorkload("server")],
        removedAddresses: [...this.#services],
        removedPolicies: [...this.#policies],
      });
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

  #failed(name: string, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.failures.push(`${new Date().toISOString()} ${name}: ${text}`);
    this.#note(`${new Date().toISOString()} change ${name} failed: ${text}`);
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
      return await this.#pushes.put({ removedAddresses: [first] });
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
    await this.#pushes.put({ put: [service, server] });
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
    await this.#pushes.put({
      put: [policy, this.#scene.residentWorkload("server", { policies: [policy.name] })],
      removedPolicies: gone,
    });
  }

  /** The file of the roots that istiod is checked by, as a volume replaces it. */
  #roots(): Promise<void> {
    const path = this.#scene.istiod.rootPath;
    writeFileSync(`${path}.new`, readFileSync(path));
    renameSync(`${path}.new`, path);
    return Promise.resolve();
  }
}
