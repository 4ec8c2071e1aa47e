/** Both ends of DNS in pods: `resolver.mjs` and `nameserver.mjs` under Node. */
import { Buffer } from "node:buffer";
import { LAB_DEADLINE_MS, type LabPod, type LabProcess } from "../topology/mod.ts";
import { type DnsAnswer, type DnsQuestion, encodeQuestion, parseAnswer } from "../traffic/mod.ts";
import { peerProcess } from "./echo_application.ts";

/** How long a question waits for its answer unless it says otherwise; ms. */
const PATIENCE_MS = 10_000;

/** No answer came, for this reason: `timeout`, `closed`, or the errno's name. */
export class ResolverError extends Error {
  override readonly name = "ResolverError";
}

export interface AskOptions {
  readonly protocol?: "udp" | "tcp";
  /** Address of the nameserver; the resolver's own without. */
  readonly server?: string;
  /** How long the application waits; milliseconds. */
  readonly deadlineMs?: number;
}

interface Said {
  readonly order: number;
  readonly message?: string;
  readonly error?: string;
}

export class PodResolver {
  readonly #process: LabProcess;
  readonly #server: string;
  #orders = 0;

  private constructor(process: LabProcess, server: string) {
    this.#process = process;
    this.#server = server;
  }

  /** `server`: the nameserver that the pod would ask by itself. @throws DeadlineError when it does not come up */
  static async start(pod: LabPod, server: string): Promise<PodResolver> {
    const process = peerProcess(pod, "resolver.mjs", [], true);
    await process.line((line) => line === "ready", 20_000);
    return new PodResolver(process, server);
  }

  /** @throws ResolverError when no answer comes */
  async ask(question: DnsQuestion | string, options: AskOptions = {}): Promise<DnsAnswer> {
    const asked = typeof question === "string" ? { name: question } : question;
    return parseAnswer(await this.send(encodeQuestion(asked), options));
  }

  /** Sends a message as it is. @throws ResolverError when no answer comes */
  async send(message: Buffer, options: AskOptions = {}): Promise<Buffer> {
    const { protocol = "udp", server = this.#server, deadlineMs = PATIENCE_MS } = options;
    const order = ++this.#orders;
    const since = this.#process.lines.length;
    const line = { order, protocol, server, message: message.toString("hex"), deadline: deadlineMs };
    this.#process.say(JSON.stringify(line));
    const said = await this.#process.line(
      (text) => text.startsWith(`{"order":${order},`),
      deadlineMs + LAB_DEADLINE_MS,
      since,
    );
    const { message: answer, error } = JSON.parse(said) as Said;
    if (answer === undefined) throw new ResolverError(error ?? "no answer");
    return Buffer.from(answer, "hex");
  }

  stop(): Promise<number> {
    return this.#process.stop("SIGKILL");
  }
}

/** What a nameserver says to a name: addresses by type, or a code; null: nothing at all. */
export type ZoneEntry = {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly txt?: readonly string[];
  readonly ttl?: number;
  readonly code?: number;
} | null;

export class Nameserver {
  readonly process: LabProcess;

  private constructor(process: LabProcess) {
    this.process = process;
  }

  /** @throws DeadlineError when it does not come up */
  static async start(pod: LabPod, zone: Readonly<Record<string, ZoneEntry>>): Promise<Nameserver> {
    const process = peerProcess(pod, "nameserver.mjs", [JSON.stringify(zone)]);
    await process.line((line) => line === "ready", 20_000);
    return new Nameserver(process);
  }

  /** Questions until now, as `udp a example.test. from 10.77.1.10`. */
  get questions(): string[] {
    return this.process.lines.filter((line) => line.includes(" from "));
  }

  stop(): Promise<number> {
    return this.process.stop("SIGKILL");
  }
}
