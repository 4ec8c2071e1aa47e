/** One question of a pod: what is answered, counted and logged (spec/ztunnel.md §9). */
import {
  agedRecords,
  CLASS_IN,
  decodeQuery,
  type DomainName,
  type Edns,
  encodeMessage,
  type Header,
  isLocalhost,
  lookupName,
  lowerName,
  MAX_MESSAGE,
  type Message,
  type NameFound,
  OPCODE_QUERY,
  type Query,
  type Question,
  RCODE,
  rcodeName,
  type ResourceRecord,
  TYPE,
  typeName,
  UDP_MESSAGE,
} from "../../dns/mod.ts";
import { unknownLocalWorkload, type Workload, type WorkloadInfo } from "../../mesh/mod.ts";
import { ipToBytes } from "../../net/address.ts";
import type { DnsProtocol, DnsSeries } from "../../telemetry/mod.ts";
import { failureText, type Forwarded, type Forwarder } from "./forwarder.ts";
import type { DnsSettings } from "./settings.ts";
import type { MeshSource } from "../mesh_source.ts";

/** Seconds that an answer of the mesh is good for (spec/ztunnel.md §14.4). */
const MESH_TTL = 30;
/** What a UDP datagram can carry over IPv4. */
const MAX_DATAGRAM = 65_507; // bytes

/** Takes the answer; undefined: there is none to give. Called once, unless the pod goes meanwhile. */
export type Reply = (answer: Uint8Array<ArrayBuffer> | undefined) => void;

/** The record of the asking pod: at once, or when it comes; undefined after five seconds. */
export type LocalWorkload = (found: (record: Workload | undefined) => void) => void;

/** Takes an answer as a value; `failure` says more of one that is none than its code does. */
export type Resolved = (answer: Message, failure: string | undefined) => void;

/** Answers the questions of one pod. */
export class Responder {
  readonly #settings: DnsSettings;
  readonly #info: WorkloadInfo;
  readonly #mesh: MeshSource;
  readonly #local: LocalWorkload;
  readonly #forwarder: Forwarder;

  /** @param info the pod */
  constructor(
    settings: DnsSettings,
    info: WorkloadInfo,
    mesh: MeshSource,
    local: LocalWorkload,
    forwarder: Forwarder,
  ) {
    this.#settings = settings;
    this.#info = info;
    this.#mesh = mesh;
    this.#local = local;
    this.#forwarder = forwarder;
  }

  /** `message` as it came. The reply is given at once where nothing has to be waited for. */
  answer(message: Uint8Array, protocol: DnsProtocol, reply: Reply): void {
    const decoded = decodeQuery(message);
    const header = decoded.ok ? decoded.query : decoded.header;
    if (header === undefined) {
      reply(undefined);
      return;
    }
    const query = decoded.ok ? decoded.query : undefined;
    const refused = refusal(header, query);
    if (refused === "silent") reply(undefined);
    else if (refused !== undefined) reply(encode(response(header, query, { rcode: refused }), query, protocol));
    else this.resolve(query as Query, protocol, (answer) => reply(encode(answer, query, protocol)));
  }

  /** A question as a value; `done` is called once, unless the pod goes meanwhile. */
  resolve(query: Query, protocol: DnsProtocol, done: Resolved): void {
    this.#local((client) => this.#resolve(query, protocol, client, done));
  }

  #resolve(query: Query, protocol: DnsProtocol, client: Workload | undefined, done: Resolved): void {
    const { question } = query;
    const asked = typeName(question.type);
    const series = this.#settings.metrics.lookup(asked.toLowerCase(), protocol, client);
    series.requests.value++;
    if (client === undefined) {
      this.#log(client, question, "unknown source", 0);
      this.#settings.reports.unknownWorkload(this.#info);
      done(response(query, query, { rcode: RCODE.SERVFAIL }), unknownLocalWorkload(this.#info));
      return;
    }
    const found = this.#lookup(client, question);
    if (found !== undefined) {
      this.#log(client, question, found.empty ?? "success", found.addresses.length);
      done(response(query, query, { authoritative: true, answers: meshRecords(question, found) }), undefined);
    } else if (question.class === CLASS_IN && isLocalhost(lowerName(question.name))) {
      const answers = loopbackRecords(question, this.#settings.names.ipv6);
      this.#log(client, question, answers.length === 0 ? "no records" : "success", answers.length);
      done(response(query, query, { answers }), undefined);
    } else {
      this.#forward(query, client, series, done);
    }
  }

  /** What the mesh says; undefined: nothing, ask others. */
  #lookup(client: Workload, { name, type, class: questionClass }: Question): NameFound | undefined {
    if (type !== TYPE.A && type !== TYPE.AAAA || questionClass !== CLASS_IN) return undefined;
    // No hostname of the mesh has a character that needs an escape.
    if (name === "." || name.includes("\\")) return undefined;
    const { names, random } = this.#settings;
    const family = type === TYPE.A ? "IPv4" : "IPv6";
    const result = lookupName(this.#mesh.current, client, lowerName(name).slice(0, -1), family, names, random);
    return result.found ? result : undefined;
  }

  #forward(query: Query, client: Workload, series: DnsSeries, done: Resolved): void {
    const { question } = query;
    series.upstreamRequests.value++;
    const start = performance.now();
    this.#forwarder.ask(query, (result) => {
      series.upstreamSeconds.observe((performance.now() - start) / 1000);
      const answer = forwardedResponse(query, result);
      if (!result.ok) {
        series.upstreamFailures.value++;
        const failure = failureText(result);
        this.#log(client, question, `forwarding failed (${failure})`, 0);
        done(answer, `dns lookup: ${failure}`);
        return;
      }
      const { rcode, answers } = result.message;
      this.#log(
        client,
        question,
        rcode === RCODE.NOERROR ? "forwarded" : `forwarded (${rcodeName(rcode)})`,
        answers.length,
      );
      done(answer, undefined);
    });
  }

  #log(source: Workload | undefined, { name, type }: Question, result: string, endpoints: number): void {
    const { accessLog } = this.#settings;
    if (!accessLog.enabled()) return;
    accessLog.query({ source, queryType: typeName(type), domain: name, result, endpoints });
  }
}

/** The code with which a message is turned away before anybody looks at its question; undefined: it is not. */
function refusal(header: Header, query: Query | undefined): number | "silent" | undefined {
  if (header.response) {
    // An answer is no question. But two who tell each other so would never stop: a refusal is not answered.
    return header.rcode === RCODE.NOERROR ? RCODE.FORMERR : "silent";
  }
  if (header.opcode !== OPCODE_QUERY) return RCODE.NOTIMP;
  if (query === undefined) return RCODE.FORMERR;
  if ((query.edns?.version ?? 0) > 0) return RCODE.BADVERS;
  // A zone is many messages, and none of our business.
  const { type } = query.question;
  return type === TYPE.AXFR || type === TYPE.IXFR ? RCODE.REFUSED : undefined;
}

type Content = Partial<
  Pick<Message, "authoritative" | "authenticData" | "rcode" | "answers" | "authorities" | "additionals">
>;

const NOTHING: readonly never[] = [];

/** An answer to a message, of which the question may not have been readable. */
function response(header: Header, query: Query | undefined, content: Content): Message {
  return {
    id: header.id,
    response: true,
    opcode: header.opcode,
    authoritative: content.authoritative ?? false,
    truncated: false,
    recursionDesired: header.recursionDesired,
    recursionAvailable: true,
    authenticData: content.authenticData ?? false,
    checkingDisabled: header.checkingDisabled,
    rcode: content.rcode ?? RCODE.NOERROR,
    questions: query === undefined ? NOTHING : [query.question],
    answers: content.answers ?? NOTHING,
    authorities: content.authorities ?? NOTHING,
    additionals: content.additionals ?? NOTHING,
    edns: query?.edns === undefined ? undefined : mirrored(query.edns),
  };
}

/** What was asked for, back: size, version (0, the only one) and DO. */
function mirrored(edns: Edns): Edns {
  return { payloadSize: Math.max(UDP_MESSAGE, edns.payloadSize), version: 0, dnssecOk: edns.dnssecOk };
}

function encode(message: Message, query: Query | undefined, protocol: DnsProtocol): Uint8Array<ArrayBuffer> {
  if (protocol === "tcp") return encodeMessage(message, MAX_MESSAGE);
  const asked = query?.edns?.payloadSize ?? UDP_MESSAGE;
  return encodeMessage(message, Math.min(Math.max(UDP_MESSAGE, asked), MAX_DATAGRAM));
}

/**
 * Addresses as records, with a CNAME before them where the name that has them is another one. An answer without an
 * address has no CNAME either.
 */
function meshRecords({ name, type }: Question, { addresses, canonicalName }: NameFound): ResourceRecord[] {
  if (addresses.length === 0) return [];
  const owner: DomainName = canonicalName === undefined ? name : `${canonicalName}.`;
  const records: ResourceRecord[] = [];
  if (canonicalName !== undefined) {
    records.push({ name, type: TYPE.CNAME, class: CLASS_IN, ttl: MESH_TTL, data: [owner] });
  }
  for (const ip of addresses) {
    records.push({ name: owner, type, class: CLASS_IN, ttl: MESH_TTL, data: [ipToBytes(ip)] });
  }
  return records;
}

/** `localhost` is the loopback, whatever name servers say; it has no records but addresses (RFC 6761 §6.3). */
function loopbackRecords({ name, type }: Question, ipv6: boolean): ResourceRecord[] {
  const ip = type === TYPE.A ? "127.0.0.1" : type === TYPE.AAAA && ipv6 ? "::1" : undefined;
  return ip === undefined ? [] : [{ name, type, class: CLASS_IN, ttl: MESH_TTL, data: [ipToBytes(ip)] }];
}

function forwardedResponse(query: Query, result: Forwarded): Message {
  const { message } = result;
  if (message === undefined) return response(query, query, { rcode: RCODE.SERVFAIL });
  const { rcode, authenticData } = message;
  if (!result.ok) {
    return response(query, query, { rcode: rcode > 0xf && query.edns === undefined ? RCODE.SERVFAIL : rcode });
  }
  const { cached } = result;
  const aged = (records: readonly ResourceRecord[]) => cached === undefined ? records : agedRecords(records, cached);
  return response(query, query, {
    rcode,
    authenticData: authenticData && (cached?.fresh ?? true),
    answers: aged(message.answers),
    // With nothing to answer it says for how long there is nothing (RFC 2308 §3).
    authorities: message.answers.length === 0 ? aged(message.authorities) : NOTHING,
    additionals: aged(message.additionals),
  });
}
