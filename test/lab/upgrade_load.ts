/**
 * What applications do while the proxies under them are replaced: new connections at a steady rate, connections that live
 * long, questions to a nameserver. Everything is counted; nothing is kept of what went well.
 */
import type { Socket, SocketHandler, TCPSocketListener } from "bun";
import {
  connectTcp,
  connectUdp,
  errnoName,
  listenTcp,
  socketError,
  SystemError,
  type UdpConnection,
} from "../../src/linux/mod.ts";
import type { LabPod } from "./topology/mod.ts";
import { adoptConnection, adoptListener, descriptorOf, encodeQuestion } from "./traffic/mod.ts";

const REQUEST = new TextEncoder().encode("hello world");
/** Longest wait for an answer, ms. */
const PATIENCE_MS = 20_000;
/** Between two beats of the generator, ms. */
const BEAT_MS = 10;
/** New connections under way at most: a machine that is too busy gets fewer, and not a pile of them. */
const MOST_UNDER_WAY = 300;
/** Between two requests on a connection that lives long, ms. */
const THINK_MS = 100;

export interface LoadPlan {
  readonly client: LabPod;
  readonly server: LabPod;
  readonly port: number;
  /** New connections a second. */
  readonly rate: number;
  /** Connections that live long. */
  readonly held: number;
  /** Questions a second to a nameserver, and which; undefined: none. */
  readonly questions?: { readonly rate: number; readonly server: string; readonly name: string };
}

/** Something that went wrong. */
export interface Mishap {
  readonly error: string;
  /** ms of performance.now() */
  readonly at: number;
  /** How long the connection or question had lived, ms. */
  readonly age: number;
}

/** Says what it hears; keeps nothing. */
export class EchoServer {
  readonly #listener: TCPSocketListener<undefined>;

  constructor(pod: LabPod, port: number) {
    const { fd } = listenTcp({
      namespace: pod.namespace.fd,
      address: { ip: "::", port },
      backlog: 4096,
      reusePort: false,
      reuseAddress: true,
      noDelay: true,
    });
    this.#listener = adoptListener<undefined>({
      fd,
      socket: {
        data: (socket, chunk) => void socket.write(chunk),
        end: (socket) => void socket.end(),
        error: (socket) => socket.terminate(),
      },
    });
  }

  close(): void {
    this.#listener.stop(true);
  }
}

/** One connection: it sends, and hears the same back. */
class Exchange {
  socket: Socket<Exchange> | undefined;
  readonly #began = performance.now();
  readonly #done: (mishap: Mishap | undefined) => void;
  readonly #again: boolean;
  #timer: Timer | undefined;
  #missing = 0;
  #over = false;

  /** @param again whether it goes on asking; `done` is called once, without a mishap after the one answer */
  constructor({ client, server, port }: LoadPlan, again: boolean, done: (mishap: Mishap | undefined) => void) {
    this.#done = done;
    this.#again = again;
    const fd = connectTcp({ namespace: client.namespace.fd, destination: { ip: server.ip, port } });
    if (fd instanceof SystemError) {
      this.end(fd.code);
      return;
    }
    this.#expect();
    adoptConnection<Exchange>({ fd, data: this, socket: handlers }).catch((error: Error & { code?: string }) =>
      this.end(error.code ?? error.message)
    );
  }

  opened(socket: Socket<Exchange>): void {
    this.socket = socket;
    const error = socketError(descriptorOf(socket));
    if (error === 0) this.ask();
    else this.end(errnoName(error));
  }

  ask(): void {
    if (this.#over) return;
    this.#expect();
    this.#missing = REQUEST.length;
    this.socket?.write(REQUEST);
  }

  heard(bytes: number): void {
    this.#missing -= bytes;
    if (this.#missing > 0 || this.#over) return;
    clearTimeout(this.#timer);
    if (this.#again) this.#timer = setTimeout(() => this.ask(), THINK_MS);
    else this.end(undefined);
  }

  end(error: string | undefined): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.socket?.end();
    const at = performance.now();
    this.#done(error === undefined ? undefined : { error, at, age: at - this.#began });
  }

  #expect(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(`no answer within ${PATIENCE_MS} ms`), PATIENCE_MS);
  }
}

const handlers: SocketHandler<Exchange> = {
  open: (socket) => socket.data.opened(socket),
  // A refused or unfinished connect may be opened before it is made; what is written then waits for it.
  drain() {},
  data: (socket, chunk) => socket.data.heard(chunk.length),
  end(socket) {
    socket.data.end("EOF");
    socket.end();
  },
  close: (socket, error) => socket.data.end((error as { code?: string } | undefined)?.code ?? "closed"),
  error: (socket, error) => socket.data.end((error as { code?: string }).code ?? error.message),
  connectError: (socket, error) => socket.data.end((error as { code?: string }).code ?? error.message),
};

export class UpgradeLoad {
  readonly #plan: LoadPlan;
  readonly #timer: Timer;
  readonly #held = new Set<Exchange>();
  /** New connections that were begun, and those that had their answer. */
  begun = 0;
  served = 0;
  asked = 0;
  answered = 0;
  readonly failed: Mishap[] = [];
  /** Of the long-lived ones. */
  readonly broken: Mishap[] = [];
  readonly unanswered: Mishap[] = [];
  #underWay = 0;
  #due = 0;
  #questionsDue = 0;
  #last = performance.now();
  #stopped = false;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
    for (let i = 0; i < plan.held; i++) this.#hold();
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
  }

  get held(): number {
    return this.#held.size;
  }

  /** Begins nothing more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const exchange of this.#held) exchange.end(undefined);
    const deadline = performance.now() + 2 * PATIENCE_MS;
    while (this.#underWay > 0 && performance.now() < deadline) await Bun.sleep(BEAT_MS);
  }

  #beat(): void {
    const now = performance.now();
    const seconds = (now - this.#last) / 1000;
    this.#last = now;
    const { rate, questions } = this.#plan;
    // What a busy machine has missed for long is not made up for.
    this.#due = Math.min(this.#due + seconds * rate, rate / 5 + 1);
    while (this.#due >= 1 && this.#underWay < MOST_UNDER_WAY) {
      this.#due--;
      this.#connect();
    }
    if (questions === undefined) return;
    this.#questionsDue = Math.min(this.#questionsDue + seconds * questions.rate, questions.rate / 5 + 1);
    while (this.#questionsDue >= 1) {
      this.#questionsDue--;
      this.#ask(questions.server, questions.name);
    }
  }

  #connect(): void {
    this.begun++;
    this.#underWay++;
    new Exchange(this.#plan, false, (mishap) => {
      this.#underWay--;
      if (mishap === undefined) this.served++;
      else this.failed.push(mishap);
    });
  }

  #hold(): void {
    const exchange: Exchange = new Exchange(this.#plan, true, (mishap) => {
      queueMicrotask(() => this.#held.delete(exchange));
      if (mishap === undefined || this.#stopped) return;
      this.broken.push(mishap);
      setTimeout(() => {
        if (!this.#stopped) this.#hold();
      }, THINK_MS);
    });
    this.#held.add(exchange);
  }

  #ask(server: string, name: string): void {
    const began = performance.now();
    this.asked++;
    this.#underWay++;
    let over = false;
    const end = (error: string | undefined) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      this.#underWay--;
      const at = performance.now();
      if (error === undefined) this.answered++;
      else this.unanswered.push({ error, at, age: at - began });
      queueMicrotask(() => socket instanceof SystemError || socket.close());
    };
    const timer = setTimeout(() => end(`no answer within ${PATIENCE_MS} ms`), PATIENCE_MS);
    const socket: UdpConnection | SystemError = connectUdp({
      namespace: this.#plan.client.namespace.fd,
      server: { ip: server, port: 53 },
      received: () => end(undefined),
      failed: (code) => end(code),
    });
    if (socket instanceof SystemError) end(socket.code);
    else socket.send(Uint8Array.from(encodeQuestion({ name })));
  }
}

/** How often each error was. */
export function tally(mishaps: readonly Mishap[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { error } of mishaps) counts[error] = (counts[error] ?? 0) + 1;
  return counts;
}
