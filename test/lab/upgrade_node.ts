/** A node whose ztunnel is replaced again and again, as a rolling update of a DaemonSet does it (maxSurge 1). */
import { ambientBinary, type LogLine, Ztunnel } from "./mesh/mod.ts";
import type { Mesh } from "./fixture.ts";
import type { LabNode, NetworkNamespace } from "./topology/mod.ts";

/** What one process said at its end, with how long that took. */
export interface Ending {
  /** Exit status. */
  readonly status: number;
  /** From the signal to the exit, ms. */
  readonly tookMs: number;
  /** When it was gone; ms of performance.now(). */
  readonly at: number;
  /** Connections by the error in their last line; "" for those that ended well. */
  readonly ends: Readonly<Record<string, number>>;
}

/** A process and what is counted of its log. */
interface Generation {
  readonly ztunnel: Ztunnel;
  readonly ends: Record<string, number>;
}

export class UpgradedNode {
  readonly endings: Ending[] = [];
  /** How long processes took from their start until they were ready, ms. */
  readonly readyAfter: number[] = [];
  readonly #mesh: Mesh;
  readonly #node: LabNode;
  readonly #seats: readonly [NetworkNamespace, NetworkNamespace];
  readonly #environment: Record<string, string>;
  #current: Generation | undefined;
  #leaving: Promise<Ending> | undefined;
  #generation = 0;

  /** @param seats where its processes have their own ports, in turn: namespaces of pods that are not captured */
  constructor(
    mesh: Mesh,
    node: number,
    seats: readonly [NetworkNamespace, NetworkNamespace],
    environment: Record<string, string> = {},
  ) {
    this.#mesh = mesh;
    this.#node = mesh.lab.node(node);
    this.#seats = seats;
    this.#environment = environment;
    mesh.onClose(() => this.close());
  }

  get ztunnel(): Ztunnel {
    if (this.#current === undefined) throw new Error(`no ztunnel runs on ${this.#node.name}`);
    return this.#current.ztunnel;
  }

  /** Starts a process in the free seat; it is the node's from the moment it is ready. The one before it is returned. */
  async begin(): Promise<Ztunnel | undefined> {
    const before = this.#current;
    const next = this.spawn();
    const start = performance.now();
    await next.ztunnel.untilReady(30_000);
    this.readyAfter.push(performance.now() - start);
    this.#current = next;
    return before?.ztunnel;
  }

  /** A process in the free seat that nobody waits for. */
  spawn(environment: Record<string, string> = {}): Generation {
    const ends: Record<string, number> = {};
    const onAccess = ({ message, fields }: LogLine) => {
      if (message === "connection opened") return;
      const what = message === "connection complete" ? "" : `${message}: `;
      const error = `${what}${fields["error"] ?? ""}`;
      ends[error] = (ends[error] ?? 0) + 1;
    };
    const ztunnel = new Ztunnel({
      binary: ambientBinary(),
      node: this.#node,
      namespace: this.#seats[this.#generation++ % 2] as NetworkNamespace,
      configuration: this.#mesh.configurationPath,
      caDirectory: this.#mesh.caDirectory,
      socket: this.#mesh.agent(this.#mesh.lab.nodes.indexOf(this.#node)).path,
      environment: { RUST_LOG: "info", ...this.#environment, ...environment },
      onAccess: (line) => {
        onAccess(line);
        ztunnel.access.length = 0;
      },
    });
    return { ztunnel, ends };
  }

  /** A new process, and when that is ready, the end of the old one, which is not waited for. */
  async upgrade(): Promise<void> {
    await this.#leaving;
    const leaving = this.#current;
    await this.begin();
    if (leaving !== undefined) this.#leaving = this.#leave(leaving);
  }

  async #leave({ ztunnel, ends }: Generation): Promise<Ending> {
    const began = performance.now();
    ztunnel.process.signal("SIGTERM");
    const status = await ztunnel.process.exited;
    const at = performance.now();
    const ending = { status, tookMs: at - began, at, ends };
    this.endings.push(ending);
    return ending;
  }

  /** Resolves when the process that was told to go has gone. */
  async settled(): Promise<void> {
    await this.#leaving;
  }

  /** Forgets the current process, which died, and makes another one current. */
  reinstate(ztunnel: Ztunnel): void {
    this.#current = { ztunnel, ends: {} };
  }

  async close(): Promise<void> {
    await this.#current?.ztunnel.process.stop("SIGKILL");
    await this.#leaving;
  }
}
