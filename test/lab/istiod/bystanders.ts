/** Traffic that must not notice what happens elsewhere: connections that are held and talk, and new ones all the time. */
import { eventually, LAB_DEADLINE_MS } from "../topology/mod.ts";
import type { Conversation } from "../traffic/mod.ts";
import { type ControlledMesh, pingPong, PORT } from "./fixture.ts";

export interface BystanderPlan {
  readonly from: string;
  readonly to: string;
  /** Connections that are held; default 4. */
  readonly held?: number;
  /** Whether new connections are made all the time; default true. */
  readonly opening?: boolean;
}

/** What they did and what went wrong. */
export interface Witness {
  readonly connections: number;
  readonly messages: number;
  readonly failures: readonly string[];
  /** Longest that a message and its answer, or a new connection with them, took; ms. */
  readonly longestMs: number;
  /** Tunnels that were there at the start and are not any more. */
  readonly tunnelsLost: readonly string[];
}

/** Between messages of a held connection, and between new ones; ms. */
const PAUSE_MS = 25;
const TUNNEL_PORT = 15008;

export class Bystanders {
  readonly #mesh: ControlledMesh;
  readonly #plan: BystanderPlan;
  readonly #failures: string[] = [];
  readonly #loops: Promise<void>[] = [];
  #tunnels: readonly string[] = [];
  #connections = 0;
  #messages = 0;
  #longestMs = 0;
  #stopped = false;

  private constructor(mesh: ControlledMesh, plan: BystanderPlan) {
    this.#mesh = mesh;
    this.#plan = plan;
  }

  /** Resolves when all held connections talk. */
  static async start(mesh: ControlledMesh, plan: BystanderPlan): Promise<Bystanders> {
    const bystanders = new Bystanders(mesh, plan);
    const held = await Promise.all(
      Array.from({ length: plan.held ?? 4 }, () => mesh.talk(plan.from, plan.to, PORT)),
    );
    bystanders.#tunnels = bystanders.tunnels();
    for (const conversation of held) bystanders.#loops.push(bystanders.#hold(conversation));
    if (plan.opening !== false) bystanders.#loops.push(bystanders.#open());
    return bystanders;
  }

  /** Their tunnels, by the end of the pod they come from. */
  tunnels(): readonly string[] {
    const text = this.#mesh.lab.pod(this.#plan.to).namespace.run(
      ["ss", "-Htn", "state", "established", `( sport = :${TUNNEL_PORT} )`],
    );
    const { ip } = this.#mesh.lab.pod(this.#plan.from);
    const peers = text.split("\n").filter(Boolean).map((line) => line.trim().split(/\s+/).at(-1) ?? "");
    return peers.filter((peer) => peer.includes(`${ip}]:`) || peer.startsWith(`${ip}:`));
  }

  /** New connections that have got through so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Waits until so many more new connections have got through. */
  async more(count: number, deadlineMs = LAB_DEADLINE_MS): Promise<void> {
    const goal = this.#connections + count;
    await eventually(`${count} more connections`, () => this.#connections >= goal, deadlineMs);
  }

  async stop(): Promise<Witness> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    const left = new Set(this.tunnels());
    return {
      connections: this.#connections,
      messages: this.#messages,
      failures: this.#failures,
      longestMs: Math.round(this.#longestMs),
      tunnelsLost: this.#tunnels.filter((tunnel) => !left.has(tunnel)),
    };
  }

  async #hold(conversation: Conversation): Promise<void> {
    while (!this.#stopped && await this.#try("held connection", () => pingPong(conversation))) {
      this.#messages++;
      await Bun.sleep(PAUSE_MS);
    }
    conversation.close();
  }

  async #open(): Promise<void> {
    const { from, to } = this.#plan;
    while (!this.#stopped) {
      const done = await this.#try("new connection", async () => (await this.#mesh.talk(from, to)).close());
      if (done) this.#connections++;
      await Bun.sleep(PAUSE_MS);
    }
  }

  async #try(what: string, work: () => Promise<unknown>): Promise<boolean> {
    const start = performance.now();
    try {
      await work();
      this.#longestMs = Math.max(this.#longestMs, performance.now() - start);
      return true;
    } catch (error) {
      this.#failures.push(`${what} after ${Math.round(performance.now() - start)} ms: ${(error as Error).message}`);
      return false;
    }
  }
}

/** The figures of a witness as one line of the test's output. */
export function figures({ connections, messages, longestMs }: Witness): string {
  return `${connections} new connections, ${messages} messages on held ones, longest ${longestMs} ms`;
}
