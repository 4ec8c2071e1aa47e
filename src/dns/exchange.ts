/**
 * One question to the name servers of a resolv.conf, until one of them answers (RFC 1035 §7.2, resolv.conf(5)): each in
 * its turn, as often as configured, over TCP where the answer does not fit into a datagram. All of it takes less time than
 * clients wait, so that those who are silent get a part of it each; who was passed over may still answer. The sockets are
 * the caller's.
 */
import type { SocketAddress } from "../net/address.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage } from "./encode.ts";
import { sameName } from "./name.ts";
import { type Message, OPCODE_QUERY, type Question, RCODE, rcodeName } from "./types.ts";

/** UDP size we announce: what passes any network unfragmented (DNS flag day 2020). */
const UDP_PAYLOAD = 1232; // bytes
const DNS_PORT = 53;
/** Clients wait 5 s (resolv.conf(5), RES_TIMEOUT): a refusal that comes later is heard by nobody. */
const DEADLINE_MS = 4_500;
/** So much a name server has before the next one is asked as well, however many there are; less if configured so. */
const SHORTEST_PATIENCE_MS = 1_000;
/**
 * Wrong answers to one message after which its socket is given up: somebody is guessing (RFC 5452 §9.1), and each may cost
 * milliseconds to read.
 */
const MAX_WRONG = 8;
/** With less than this left nobody is asked any more. */
const LAST_MS = 50;

/** What sends the messages. It calls back after it has returned, and nothing after close(). */
export interface UpstreamTransport {
  /** From a port of its own. `received` may come many times: anybody may have sent it. */
  udp(
    server: SocketAddress,
    message: Uint8Array<ArrayBuffer>,
    received: (bytes: Uint8Array) => void,
    failed: (reason: string) => void,
  ): Sending;
  /** Frames with lengths are its business. Ends with one of the two. */
  tcp(
    server: SocketAddress,
    message: Uint8Array<ArrayBuffer>,
    received: (bytes: Uint8Array) => void,
    failed: (reason: string) => void,
  ): Sending;
}

export interface Sending {
  close(): void;
}

export interface UpstreamSettings {
  /** Canonical IPs. */
  readonly nameservers: readonly string[];
  /** For one answer, ms. */
  readonly timeoutMs: number;
  readonly attempts: number;
  /** Port of the name servers; 53. */
  readonly port?: number;
  /** For the whole question, whatever the rest says, ms; 4500. */
  readonly deadlineMs?: number;
  /** Hears which name servers answer. */
  readonly observer?: UpstreamObserver;
}

export type UpstreamProtocol = "udp" | "tcp";

/** Hears what becomes of each message to a name server. An answer is an answer, whatever its code. */
export interface UpstreamObserver {
  /** A message goes out. The result comes back with `unanswered`. */
  asking(server: SocketAddress, protocol: UpstreamProtocol): number;
  answered(server: SocketAddress, protocol: UpstreamProtocol): void;
  unanswered(server: SocketAddress, protocol: UpstreamProtocol, reason: string, asking: number): void;
}

/** What is asked. */
export interface UpstreamQuestion {
  readonly question: Question;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  readonly dnssecOk: boolean;
}

export type UpstreamResult =
  | { readonly ok: true; readonly message: Message; readonly bytes: Uint8Array }
  /** `message`: the refusal of the last name server that answered at all. */
  | { readonly ok: false; readonly reason: string; readonly message: Message | undefined };

/** Answers that another name server may do better than. */
function worthAnotherServer(rcode: number): boolean {
  return rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN;
}

/** Uniform over 16 bits, from the system's generator: half of what keeps strangers from answering. */
function randomId(): number {
  const id = new Uint16Array(1);
  crypto.getRandomValues(id);
  return id[0] as number;
}

/** One message to a name server, not answered so far. */
interface Asking {
  readonly server: SocketAddress;
  readonly protocol: UpstreamProtocol;
  readonly id: number;
  readonly edns: boolean;
  /** What the observer called it. */
  readonly observed: number;
  sending: Sending | undefined;
  /** What came for it and was no answer to it. */
  wrong: number;
}

/** The id of a message; undefined: there is none. */
function idOf(bytes: Uint8Array): number | undefined {
  const [high, low] = bytes;
  return high === undefined || low === undefined ? undefined : (high << 8) | low;
}

/** A question under way; `done` is called once, not before the constructor has returned, and not after cancel(). */
export class Exchange {
  readonly #question: UpstreamQuestion;
  readonly #settings: UpstreamSettings;
  readonly #transport: UpstreamTransport;
  readonly #done: (result: UpstreamResult) => void;
  #state: "asking" | "done" = "asking";
  /** Counts the name servers asked: server by server, round by round. */
  #turn = 0;
  /** Everything that may still be answered; all but `#current` were given up. */
  readonly #open = new Set<Asking>();
  #current: Asking | undefined = undefined;
  #edns = true;
  #timer: Timer | undefined = undefined;
  #deadline = 0;
  #reason = "no name servers";
  #refusal: Message | undefined = undefined;

  constructor(
    question: UpstreamQuestion,
    settings: UpstreamSettings,
    transport: UpstreamTransport,
    done: (result: UpstreamResult) => void,
  ) {
    this.#question = question;
    this.#settings = settings;
    this.#transport = transport;
    this.#done = done;
    queueMicrotask(() => this.#begin());
  }

  /** Gives it up: nobody is told. */
  cancel(): void {
    this.#end();
  }

  #begin(): void {
    if (this.#state === "done") return;
    this.#deadline = performance.now() + (this.#settings.deadlineMs ?? DEADLINE_MS);
    this.#ask();
  }

  /** Asks the name server whose turn it is; after the last one's, it is over. */
  #ask(): void {
    const { nameservers, attempts, port } = this.#settings;
    const ip = nameservers[this.#turn % nameservers.length];
    const late = performance.now() > this.#deadline - LAST_MS;
    if (ip === undefined || this.#turn >= nameservers.length * attempts || late) {
      this.#finish({ ok: false, reason: this.#reason, message: this.#refusal });
      return;
    }
    this.#send({ ip, port: port ?? DNS_PORT }, "udp", true);
  }

  /** @param current it is this one's turn, not that of one that was given up before */
  #send(server: SocketAddress, protocol: UpstreamProtocol, current: boolean): void {
    const { observer } = this.#settings;
    const observed = observer?.asking(server, protocol) ?? 0;
    const asking: Asking = {
      server,
      protocol,
      id: randomId(),
      edns: this.#edns,
      observed,
      sending: undefined,
      wrong: 0,
    };
    this.#open.add(asking);
    if (current) {
      this.#current = asking;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#next("request timed out"), this.#patience());
    }
    const received = (bytes: Uint8Array) => void (this.#open.has(asking) && this.#received(asking, bytes));
    const failed = (reason: string) => void (this.#open.has(asking) && this.#failed(asking, reason));
    asking.sending = this.#transport[protocol](server, this.#message(asking), received, failed);
  }

  /** How long to wait before the next one is asked: a share of the time that is left. */
  #patience(): number {
    const { nameservers, attempts, timeoutMs } = this.#settings;
    const left = Math.max(0, this.#deadline - performance.now());
    const share = left / Math.max(1, nameservers.length * attempts - this.#turn);
    return Math.min(timeoutMs, left, Math.max(share, SHORTEST_PATIENCE_MS));
  }

  #message({ id, edns }: Asking): Uint8Array<ArrayBuffer> {
    const { question, recursionDesired, checkingDisabled, dnssecOk } = this.#question;
    return encodeMessage({
      id,
      response: false,
      opcode: OPCODE_QUERY,
      authoritative: false,
      truncated: false,
      recursionDesired,
      recursionAvailable: false,
      authenticData: false,
      checkingDisabled,
      rcode: RCODE.NOERROR,
      questions: [question],
      answers: [],
      authorities: [],
      additionals: [],
      edns: edns ? { payloadSize: UDP_PAYLOAD, version: 0, dnssecOk } : undefined,
    });
  }

  #received(asking: Asking, bytes: Uint8Array): void {
    const { protocol, id } = asking;
    // Over UDP a wrong one says nothing of the right one that may still come; over TCP nobody else can have sent it.
    const wrong = (reason: string) => {
      if (protocol === "tcp") this.#failed(asking, reason);
      else if (++asking.wrong >= MAX_WRONG) this.#failed(asking, "too many wrong answers");
    };
    // Before anything is read of 64 KB that a stranger may have sent.
    if (idOf(bytes) !== id) {
      wrong("answer to another question");
      return;
    }
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) {
      const { header } = decoded;
      // Cut in the middle of a record.
      if (header?.response === true && header.truncated && protocol === "udp") this.#again(asking, "tcp");
      else wrong(`malformed answer: ${decoded.error}`);
      return;
    }
    const { message } = decoded;
    if (!message.response || !this.#answers(message)) {
      wrong("answer to another question");
      return;
    }
    if (message.truncated && protocol === "udp") {
      this.#again(asking, "tcp");
      return;
    }
    const withoutEdns = message.rcode === RCODE.FORMERR || message.rcode === RCODE.NOTIMP;
    if (withoutEdns && asking.edns && message.edns === undefined) {
      // A name server from before EDNS (RFC 6891 §7): the same one again, without.
      this.#edns = false;
      this.#again(asking, protocol);
      return;
    }
    this.#answered(asking);
    if (worthAnotherServer(message.rcode)) {
      this.#refusal = message;
      this.#passOver(asking, rcodeName(message.rcode));
      return;
    }
    this.#finish({ ok: true, message, bytes: bytes.slice() });
  }

  /** Whether the message has our question in it. One that refuses may have none. */
  #answers(message: Message): boolean {
    const { question } = this.#question;
    const [asked, ...more] = message.questions;
    if (asked === undefined) return worthAnotherServer(message.rcode);
    return more.length === 0 && asked.type === question.type && asked.class === question.class &&
      sameName(asked.name, question.name);
  }

  #answered(asking: Asking): void {
    this.#settings.observer?.answered(asking.server, asking.protocol);
    this.#close(asking);
  }

  /** It has answered, but has to be asked in another way. */
  #again(asking: Asking, protocol: UpstreamProtocol): void {
    this.#answered(asking);
    this.#send(asking.server, protocol, this.#current === asking);
  }

  #failed(asking: Asking, reason: string): void {
    this.#unanswered(asking, reason);
    this.#close(asking);
    this.#passOver(asking, reason);
  }

  #passOver(asking: Asking, reason: string): void {
    // One that was given up before says why; the turn is another's already.
    if (this.#current === asking) this.#next(reason);
    else this.#reason = reason;
  }

  #next(reason: string): void {
    this.#reason = reason;
    this.#current = undefined;
    this.#turn++;
    this.#ask();
  }

  #unanswered({ server, protocol, observed }: Asking, reason: string): void {
    this.#settings.observer?.unanswered(server, protocol, reason, observed);
  }

  #close(asking: Asking): void {
    this.#open.delete(asking);
    asking.sending?.close();
  }

  #end(): void {
    this.#state = "done";
    clearTimeout(this.#timer);
    for (const asking of [...this.#open]) this.#close(asking);
  }

  #finish(result: UpstreamResult): void {
    for (const asking of this.#open) if (asking !== this.#current) this.#unanswered(asking, "request timed out");
    this.#end();
    this.#done(result);
  }
}
