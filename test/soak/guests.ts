/** Pods that come and go: in order, under their connections, or without a word to anybody. */
import { podWorkload, type ResourceText } from "../istiod/mod.ts";
import { LAB_NAMESPACE } from "../lab/mesh/mod.ts";
import { eventually, type LabPod, must } from "../lab/topology/mod.ts";
import { Conversation } from "../lab/traffic/mod.ts";
import { drop } from "./application.ts";
import { greet, PATIENCE_MS, say } from "./errands.ts";
import type { Pushes } from "./pushes.ts";
import type { Random } from "./random.ts";
import { PORT, type Scene, SERVICE_PORT, serviceKey, SERVICES } from "./scene.ts";
import type { Traffic } from "./traffic.ts";

/** Most pods that come and go at a time. */
const MOST_PODS = 6;
/** Identities of them; a cluster has not a new one for each pod. */
const ACCOUNTS = 8;
/** What Kubernetes leaves a pod that ends for what is under way, ms. */
const GRACE_MS = 500;
/** From a pod's death to the end of its connections elsewhere, ms. */
const CUT_MS = 60_000;
/** Until a new pod can be reached, ms: it needs a certificate. */
const READY_MS = 90_000;

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

/** What guests need of their surroundings. */
export interface House {
  readonly scene: Scene;
  readonly traffic: Traffic;
  readonly random: Random;
  readonly pushes: Pushes;
  readonly pace: number;
  readonly note: (line: string) => void;
}

export class Guests {
  readonly #scene: Scene;
  readonly #traffic: Traffic;
  readonly #random: Random;
  readonly #pushes: Pushes;
  readonly #pace: number;
  readonly #note: (line: string) => void;
  readonly #guests: Guest[] = [];
  #made = 0;

  constructor({ scene, traffic, random, pushes, pace, note }: House) {
    this.#scene = scene;
    this.#traffic = traffic;
    this.#random = random;
    this.#pushes = pushes;
    this.#pace = pace;
    this.#note = note;
  }

  async allLeave(): Promise<void> {
    while (this.#guests.length > 0) await this.#leave(this.#guests[0] as Guest);
  }

  /** A new pod, which is reached before this resolves; one goes where there are many. */
  async comes(endpoint = this.#random.next() < 0.6): Promise<void> {
    if (this.#guests.length >= MOST_PODS) return await this.goes();
    const { lab } = this.#scene;
    const number = ++this.#made;
    const account = `flock-${number % ACCOUNTS}`;
    const pod = lab.addPod({ name: `flock-${number}`, node: number % 2, captured: true });
    const guest: Guest = { pod, account, endpoint, leaving: false, visit: Promise.resolve(), talk: Promise.resolve() };
    this.#guests.push(guest);
    this.#note(`${new Date().toISOString()} ${pod.name} ${pod.ip} ${pod.uid}`);
    this.#scene.serve(pod);
    // Kubelet starts a pod before or after istiod tells of it: both happen.
    const tell = () => this.#pushes.put({ put: [this.#workload(guest, endpoint)] });
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

  /** One of them goes, if there is one. */
  async goes(): Promise<void> {
    if (this.#guests.length > 0) await this.#leave(this.#random.of(this.#guests));
  }

  /** In order: no service leads to it any more, what runs ends, then it goes, from istiod's view before or after. */
  async #leave(guest: Guest): Promise<void> {
    const { lab } = this.#scene;
    const { pod } = guest;
    if (guest.endpoint) {
      // It may be the last one behind the service.
      guest.endpoint = false;
      await guest.visit;
      await this.#pushes.put({ put: [this.#workload(guest, false)] });
    }
    guest.leaving = true;
    await guest.talk;
    await Bun.sleep(GRACE_MS);
    this.#scene.unserve(pod);
    this.#guests.splice(this.#guests.indexOf(guest), 1);
    const forget = () => this.#pushes.put({ removedAddresses: [this.#uid(pod)] });
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
      if (this.#guests.length >= MOST_PODS) await this.goes();
      await this.comes(false);
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
    await this.#pushes.put({ removedAddresses: [this.#uid(pod)] });
  }

  /** The agent says that it is gone, or its namespace goes, while its connections are open. */
  async dies(): Promise<void> {
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
  async vanishes(): Promise<void> {
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
}
