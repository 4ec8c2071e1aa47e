/**
 * Mutated requests as this codec and as llhttp (Node's own) read them: what is taken, where messages end, method, target,
 * fields, content and trailers. A proxy is attacked where two readers differ, so every difference has to be one of the
 * rules below. They say that this codec refuses more; but for one blank, it never takes what llhttp refuses.
 */
import { describe, expect, test } from "bun:test";
import type { RequestHead } from "../../src/http/message.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { Random } from "../http2/random.ts";
import { type LlhttpMessage, type LlhttpResult, readByLlhttp } from "./llhttp.ts";
import { mutate } from "./mutation.ts";
import { octets, type Read, readRequests } from "./recorder.ts";
import { EDGES, REQUESTS } from "./samples.ts";

const CASES = 20_000;
const OPTIONS = { acceptHttp10: true };

/** What only this codec refuses: its complaint, and why it is right to. */
const STRICTER: readonly [complaint: RegExp, why: string][] = [
  [
    /^Host(:| more than once)|^no Host$/,
    "RFC 9112 §3.2: a missing, repeated or invalid Host is 400; to llhttp it is a field",
  ],
  [
    /^request line does not begin with|^CR without LF before/,
    "RFC 9112 §2.2: one empty line may come before; llhttp skips any number, and single CR or LF",
  ],
  [/^request line without a version$/, "HTTP/0.9 is not spoken"],
  [
    /^version is neither|^no HTTP version$/,
    "RFC 9112 §3: one space; llhttp skips several before the version, and knows HTTP/0.9 and 2.0",
  ],
  [/^request line without a target$/, "RFC 9112 §3: one space; llhttp skips several before the target"],
  [
    /^neither a path nor an http/,
    "RFC 9112 §3.2: other schemes, and `*` with something behind it, are nothing that a proxy for http can serve",
  ],
  [/^\* is for OPTIONS$/, "RFC 9112 §3.2.4"],
  [
    /^port is |^bracket in a name|^octet that no authority|^text behind an IPv6|^IPv6 literal|^URI without a host|^port without a host|^CONNECT without a port/,
    "RFC 9110 §4.2: authority of the target, RFC 9112 §3.2.3: CONNECT has a port; llhttp looks at neither",
  ],
  [
    /^Transfer-Encoding is not exactly chunked$/,
    "spec/waypoint.md §7: only `chunked` is understood, else 501; llhttp takes any list that ends with it",
  ],
  [/^Transfer-Encoding in HTTP\/1\.0$/, "RFC 9112 §6.1: faulty framing"],
  [/^malformed chunk extension$/, "RFC 9112 §7.1.1: held to its grammar; llhttp lets empty ones pass"],
  [/^chunk size is too large$/, "sizes beyond 2^53 octets are nonsense; llhttp counts to 2^64"],
  [/^unknown method/, "Envoy's list of methods; llhttp knows some others"],
  [/^Connection names/, "a client may not remove fields that others rely on"],
];

/**
 * A tab behind a value in Content-Length, Transfer-Encoding (only llhttp refuses it) or Connection (llhttp does not
 * understand the value then). It is white space like any other (RFC 9110 §5.6.3), and nobody downstream sees it: the
 * framing of a message that is passed on is our own.
 */
const TAB_BEHIND = /^(?:content-length|transfer-encoding|connection):[^\n]*\t *(?:,|\r\n)/im;

/** What llhttp says where it stops reading because of the connection, not because of the message. */
const CLOSED = "HPE_CLOSED_CONNECTION";

function lower(fields: readonly (readonly [string, string])[]): [string, string][] {
  return fields.map(([name, value]) => [name.toLowerCase(), value]);
}

/** End-to-end fields of what llhttp saw, worked out here without the codec. */
function endToEnd(message: LlhttpMessage): HeaderList {
  const fields = lower(message.fields);
  const hop = new Set([
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
  ]);
  for (const [name, value] of fields) {
    if (name !== "connection") continue;
    for (const option of value.split(",")) {
      const named = option.trim().toLowerCase();
      if (named !== "te") hop.add(named);
    }
  }
  let te = false;
  return fields.filter(([name, value]) => {
    if (name !== "te") return !hop.has(name);
    const first = !te && /(^|,)\s*trailers\s*(,|$)/i.test(value);
    te ||= first;
    return first;
  }).map(([name, value]) => [name, name === "te" ? "trailers" : value]);
}

const NOT_LATE =
  /^(host|connection|keep-alive|proxy-connection|upgrade|te|expect|trailer|authorization|cookie|content-type)$/;

function targetOf(head: RequestHead, sent: string): string {
  if (head.method === "CONNECT") return head.authority;
  if (sent.startsWith("/") || sent === "*") return head.path;
  return `${head.scheme}://${head.authority}${head.path}`;
}

/** An absolute target as the codec must understand it: scheme in lower case, no userinfo, a path where there was none. */
function expectedTarget(message: LlhttpMessage): string {
  const parts = /^(https?):\/\/(?:[^/?]*@)?([^/?]*)(.*)$/i.exec(message.target);
  if (parts === null || message.method === "CONNECT") return message.target;
  const rest = parts[3]!;
  const path = rest === "" ? "/" : rest.startsWith("?") ? `/${rest}` : rest;
  return `${parts[1]!.toLowerCase()}://${parts[2]}${path}`;
}

interface OwnMessage {
  head: RequestHead;
  keepAlive: boolean;
  content: string;
  trailers: HeaderList;
  complete: boolean;
}

function messagesOf(read: Read): OwnMessage[] {
  const messages: OwnMessage[] = [];
  for (const event of read.recorder.events) {
    const last = messages.at(-1);
    if (event.kind === "request") {
      messages.push({
        head: event.head,
        keepAlive: event.framing.keepAlive,
        content: "",
        trailers: [],
        complete: false,
      });
    } else if (event.kind === "data") last!.content += event.data;
    else if (event.kind === "trailers") last!.trailers = event.fields;
    else if (event.kind === "end") last!.complete = true;
  }
  return messages;
}

const used = new Set<string>();

/** The rule that covers a refusal of ours alone; "" when there is none. */
function stricter(complaint: string): string {
  for (const [pattern, why] of STRICTER) {
    if (pattern.test(complaint)) {
      used.add(why);
      return why;
    }
  }
  return "";
}

/** What differs without a rule, or "". */
function difference(text: string, theirs: LlhttpResult): string {
  const read = readRequests([octets(text)], OPTIONS);
  const ours = messagesOf(read);
  const complaint = read.recorder.error?.problem ?? "";
  for (let i = 0; i < Math.max(ours.length, theirs.messages.length); i++) {
    const own = ours[i];
    const other = theirs.messages[i];
    if (other === undefined) {
      if (TAB_BEHIND.test(text)) return "";
      return `only this codec takes request ${i + 1}: ${theirs.error} ${theirs.reason}`;
    }
    if (own === undefined) {
      if (complaint === "") return `only llhttp takes request ${i + 1}`;
      return stricter(complaint) === "" ? `only llhttp takes request ${i + 1}: ${complaint}` : "";
    }
    const wrong = headDifference(own.head, other);
    if (wrong !== "") return `request ${i + 1}: ${wrong}`;
    // llhttp stops here: what follows is in another protocol.
    if (other.upgrade) return "";
    if (own.complete !== other.complete) {
      if (own.complete && TAB_BEHIND.test(text)) return "";
      if (own.complete) return `only this codec sees the end of request ${i + 1}: ${theirs.error} ${theirs.reason}`;
      return stricter(complaint) === "" ? `only llhttp sees the end of request ${i + 1}: ${complaint}` : "";
    }
    if (own.complete) {
      if (own.content !== other.content) return `content of request ${i + 1}`;
      const late = lower(other.trailers).filter(([name]) => !NOT_LATE.test(name));
      if (!Bun.deepEquals(own.trailers, late)) {
        return `trailers of request ${i + 1}: ${JSON.stringify([own.trailers, late])}`;
      }
    } else if (!own.content.startsWith(other.content) && !other.content.startsWith(own.content)) {
      return `content of unfinished request ${i + 1}`;
    }
    // RFC 9112 §9.3: close wins; to llhttp keep-alive does in HTTP/1.0.
    const closes = other.version === "1.0" &&
      lower(other.fields).some(([name, value]) => name === "connection" && /\bclose\b/i.test(value));
    if ((closes && !own.keepAlive) || TAB_BEHIND.test(text)) return "";
    if (own.keepAlive !== other.keepAlive) return `keep-alive of request ${i + 1}`;
    // llhttp refuses all that follows a request without keep-alive; here that is for the connection to drop.
    if (own.complete && !other.keepAlive) return "";
  }
  if ((complaint === "") === (theirs.error === "")) return "";
  if (complaint !== "") return stricter(complaint) === "" ? `only this codec refuses: ${complaint}` : "";
  if (theirs.error === CLOSED) return `llhttp saw the end of keep-alive where this codec did not`;
  // A head is looked at when it has come whole. Then it must be refused as well.
  if (read.eof === "truncated") {
    const finished = readRequests([octets(`${text}\r\n\r\n`)], OPTIONS);
    if (finished.recorder.error !== undefined && finished.recorder.requests.length === ours.length) return "";
  }
  return `only llhttp refuses: ${theirs.error} ${theirs.reason}`;
}

function headDifference(head: RequestHead, other: LlhttpMessage): string {
  if (head.method !== other.method) return `method ${head.method}, ${other.method}`;
  if (head.protocol !== `HTTP/${other.version}`) return `version ${head.protocol}, ${other.version}`;
  const target = targetOf(head, other.target);
  const expected = expectedTarget(other);
  if (target !== expected) return `target ${JSON.stringify([target, expected])}`;
  const fields = endToEnd(other);
  if (!Bun.deepEquals(head.fields, fields)) return `fields ${JSON.stringify([head.fields, fields])}`;
  return "";
}

describe("against llhttp", () => {
  test(`samples and ${CASES} mutations of them`, async () => {
    const inputs = [...REQUESTS, ...EDGES];
    for (let seed = 1; seed <= CASES; seed++) {
      const random = new Random(seed);
      inputs.push(mutate(random, random.pick(REQUESTS), REQUESTS));
    }
    const theirs = await readByLlhttp(inputs.map(octets));
    const unexplained = inputs.flatMap((text, i) => {
      const found = difference(text, theirs[i]!);
      return found === "" ? [] : [`${found} in ${JSON.stringify(text)}`];
    });
    expect(unexplained).toEqual([]);
    expect(theirs.filter((result) => result.error === "").length).toBeGreaterThan(CASES / 10);
    expect(theirs.filter((result) => result.error !== "").length).toBeGreaterThan(CASES / 10);
  }, 60_000);

  test("each rule is needed", () => {
    expect(STRICTER.map(([, why]) => why).filter((why) => !used.has(why))).toEqual([]);
  });
});
