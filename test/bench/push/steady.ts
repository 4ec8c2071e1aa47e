/**
 * A steady load, in the client's pod: connections that stay and ask again so long after they have asked, and new ones
 * beside them. A process that takes one order a line on stdin and answers with one JSON line.
 *
 *     {"kind":"start","connections":32,"rate":5000,"fresh":50}   → {}      requests and new connections a second, at most
 *     {"kind":"lap"}    → {"requests":{count,p50,p99,most},"fresh":{…},"errors":n}   ms, since the last lap or the start
 *     {"kind":"stop"}   → {}
 *
 * Arguments: address and port of the application.
 */
import type { Socket } from "bun";
import process from "node:process";
import { createInterface } from "node:readline";

export type SteadyOrder =
  | { readonly kind: "start"; readonly connections: number; readonly rate: number; readonly fresh: number }
  | { readonly kind: "lap" }
  | { readonly kind: "stop" };

/** Latencies, ms. */
export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export interface Lap {
  readonly requests: Latencies;
  /** From connect to the whole answer to one request. */
  readonly fresh: Latencies;
  readonly errors: number;
}

const RESPONSE_LENGTH = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n`.length + 64;
/** Connections look whether it is time to ask again every so many ms. */
const TICK_MS = 1;

/** One connection, with at most one request outstanding. */
interface Caller {
  /** When it asked, or began to connect in order to; undefined: there is no request. */
  asked: number | undefined;
  /** When it will ask again. */
  next: number;
  got: number;
  readonly fresh: boolean;
}

const [hostname = "127.0.0.1", portText = "8080"] = process.argv.slice(2);
const REQUEST = new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);

class Steady {
  #times: number[] = [];
  #freshTimes: number[] = [];
  #errors = 0;
  readonly #kept = new Set<Socket<Caller>>();
  #timer: Timer | undefined;

  async start(connections: number, rate: number, fresh: number): Promise<void> {
    for (let i = 0; i < connections; i++) this.#kept.add(await this.#connect(false, undefined));
    const [pause, freshPause] = [1_000 * connections / rate, 1_000 / fresh];
    const began = performance.now();
    let [order, visit] = [0, began];
    for (const { data } of this.#kept) data.next = began + pause * order++ / connections;
    this.#timer = setInterval(() => {
      const now = performance.now();
      for (const socket of this.#kept) {
        const { data } = socket;
        if (data.asked !== undefined || data.next > now) continue;
        // What it could not ask in time it does not ask later.
        data.next = Math.max(data.next + pause, now);
        this.#ask(socket, now);
      }
      if (visit > now) return;
      visit = Math.max(visit + freshPause, now);
      this.#connect(true, now).then((socket) => this.#ask(socket, now), () => void this.#errors++);
    }, TICK_MS);
  }

  lap(): Lap {
    const lap = { requests: latencies(this.#times), fresh: latencies(this.#freshTimes), errors: this.#errors };
    [this.#times, this.#freshTimes, this.#errors] = [[], [], 0];
    return lap;
  }

  stop(): void {
    clearInterval(this.#timer);
    const kept = [...this.#kept];
    this.#kept.clear();
    for (const socket of kept) {
      socket.data.asked = undefined;
      socket.end();
    }
  }

  #ask(socket: Socket<Caller>, asked: number): void {
    socket.data.asked = asked;
    socket.data.got = 0;
    socket.write(REQUEST);
  }

  #answered(socket: Socket<Caller>, asked: number): void {
    const { data } = socket;
    data.asked = undefined;
    (data.fresh ? this.#freshTimes : this.#times).push(performance.now() - asked);
    if (data.fresh) socket.end();
  }

  #connect(fresh: boolean, asked: number | undefined): Promise<Socket<Caller>> {
    return Bun.connect<Caller>({
      hostname,
      port: Number(portText),
      data: { asked, next: 0, got: 0, fresh },
      socket: {
        data: (socket, chunk) => {
          const { data } = socket;
          if (data.asked === undefined) return;
          data.got += chunk.length;
          if (data.got >= RESPONSE_LENGTH) this.#answered(socket, data.asked);
        },
        close: (socket) => {
          if (socket.data.asked !== undefined || this.#kept.has(socket)) this.#errors++;
        },
      },
    });
  }
}

function latencies(times: number[]): Latencies {
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { count: times.length, p50: at(0.5), p99: at(0.99), most: times.at(-1) ?? 0 };
}

if (import.meta.main) {
  const steady = new Steady();
  process.stdout.write("ready\n");
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as SteadyOrder;
    if (order.kind === "start") await steady.start(order.connections, order.rate, order.fresh);
    else if (order.kind === "stop") steady.stop();
    process.stdout.write(`${JSON.stringify(order.kind === "lap" ? steady.lap() : {})}\n`);
  }
  process.exit(0);
}
