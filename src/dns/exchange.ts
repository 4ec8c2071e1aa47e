/**
 * One question to the name servers of a resolv.conf, until one of them answers (RFC 1035 §7.2, resolv.conf(5)): each in
 * its turn, as often as configured, over TCP where the answer does not fit into a datagram. The sockets are the caller's.
 */
import type { SocketAddress } from "../net/address.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage } from "./encode.ts";
import { sameName } from "./name.ts";
import { type Message, OPCODE_QUERY, type Question, RCODE, rcodeName } from "./types.ts";

/** UDP size we announce: what passes any network unfragmented (DNS flag day 2020). */
const UDP_PAYLOAD = 1232; // bytes
const DNS_PORT = 53;

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

/** A question under way; `done` is called once, not before the constructor has returned, and not after cancel(). */
export class Exchange {
  readonly #question: UpstreamQuestion;
  readonly #settings: UpstreamSettings;
  readonly #transport: UpstreamTransport;
  readonly #done: (result: UpstreamResult) => void;
  #state: "asking" | "done" = "asking";
  /** Counts askings: server by server, round by round. */
  #turn = 0;
  /** Counts messages sent: what comes for an earlier one is not heard. */
  #asking = 0;
  #edns = true;
  #id = 0;
  #sending: Sending | undefined = undefined;
  #timer: Timer | undefined = undefined;
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
    queueMicrotask(() => this.#ask("udp"));
  }

  /** Gives it up: nobody is told. */
  cancel(): void {
    this.#state = "done";
    this.#rest();
  }

  #ask(protocol: "udp" | "tcp"): void {
    if (this.#state === "done") return;
    const { nameservers, attempts, timeoutMs, port } = this.#settings;
    const ip = nameservers[this.#turn % nameservers.length];
    if (ip === undefined || this.#turn >= nameservers.length * attempts) {
      this.#finish({ ok: false, reason: this.#reason, message: this.#refusal });
      return;
    }
    this.#id = randomId();
    const asking = ++this.#asking;
    const current = () => this.#state === "asking" && this.#asking === asking;
    const received = (bytes: Uint8Array) => void (current() && this.#received(bytes, protocol));
    const failed = (reason: string) => void (current() && this.#next(reason));
    this.#timer = setTimeout(() => this.#next("request timed out"), timeoutMs);
    this.#sending = this.#transport[protocol]({ ip, port: port ?? DNS_PORT }, this.#message(), received, failed);
  }

  #message(): Uint8Array<ArrayBuffer> {
    const { question, recursionDesired, checkingDisabled, dnssecOk } = this.#question;
    return encodeMessage({
      id: this.#id,
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
      edns: this.#edns ? { payloadSize: UDP_PAYLOAD, version: 0, dnssecOk } : undefined,
    });
  }

  #received(bytes: Uint8Array, protocol: "udp" | "tcp"): void {
    const decoded = decodeMessage(bytes);
    // Over UDP a wrong one says nothing of the right one that may still come; over TCP nobody else can have sent it.
    const wrong = (reason: string) => {
      if (protocol === "tcp") this.#next(reason);
    };
    if (!decoded.ok) {
      const { header } = decoded;
      const ours = header !== undefined && header.response && header.id === this.#id;
      if (ours && header.truncated && protocol === "udp") this.#overTcp(); // cut in the middle of a record
      else wrong(`malformed answer: ${decoded.error}`);
      return;
    }
    const { message } = decoded;
    if (!message.response || message.id !== this.#id || !this.#answers(message)) {
      wrong("answer to another question");
      return;
    }
    if (message.truncated && protocol === "udp") {
      this.#overTcp();
      return;
    }
    const withoutEdns = message.rcode === RCODE.FORMERR || message.rcode === RCODE.NOTIMP;
    if (withoutEdns && this.#edns && message.edns === undefined) {
      // A name server from before EDNS (RFC 6891 §7): the same one again, without.
      this.#edns = false;
      this.#rest();
      this.#ask(protocol);
      return;
    }
    if (worthAnotherServer(message.rcode)) {
      this.#refusal = message;
      this.#next(rcodeName(message.rcode));
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

  #overTcp(): void {
    this.#rest();
    this.#ask("tcp");
  }

  #next(reason: string): void {
    this.#reason = reason;
    this.#rest();
    this.#turn++;
    this.#ask("udp");
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#sending?.close();
    this.#sending = undefined;
  }

  #finish(result: UpstreamResult): void {
    this.#state = "done";
    this.#rest();
    this.#done(result);
  }
}
