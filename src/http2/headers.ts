/**
 * Validation of header lists (RFC 9113 §8.2, §8.3). Problems are texts; the stream of a malformed message ends with
 * PROTOCOL_ERROR (§8.1.1). Names are held to the token grammar (RFC 9110 §5.6.2), so that nothing which another
 * protocol would read differently gets through.
 */
import type { HeaderList } from "./types.ts";

/** What the codec itself must know of a message. */
export interface MessageFacts {
  /** Why the message is malformed, or "". */
  problem: string;
  /** Request method; "" in a response. */
  method: string;
  /** CONNECT without :protocol (RFC 9113 §8.5): DATA is all that may follow. */
  tunnel: boolean;
  /** Status of a response; 0 in a request. */
  status: number;
  /** Declared content-length in bytes, or -1. */
  contentLength: number;
}

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// Of the control characters only NUL, CR and LF are forbidden by RFC 9113 §8.2.1; RFC 9110 §5.5 has none but the tab.
const FORBIDDEN_IN_VALUE = /[^\t -~\x80-\xff]|^[ \t]|[ \t]$/;
const FORBIDDEN_IN_TARGET = /[\0-\x20\x7f]/;
const CONTENT_LENGTH = /^[0-9]{1,15}$/;
const STATUS = /^[1-9][0-9][0-9]$/;

/** Names that were found good, so that each is looked at once; foreign names cannot fill it beyond this. */
const KNOWN_NAMES_KEPT = 1024;
const knownNames = new Set<string>();

function nameProblem(name: string): string {
  if (knownNames.has(name)) return "";
  if (!NAME.test(name)) return `field name ${JSON.stringify(name)} is not a lower-case token`;
  switch (name) {
    case "connection":
    case "proxy-connection":
    case "keep-alive":
    case "transfer-encoding":
    case "upgrade":
      return `connection-specific field ${name}`;
  }
  if (knownNames.size < KNOWN_NAMES_KEPT) knownNames.add(name);
  return "";
}

/** One of the facts objects is enough for a thread: it is read before the next list is looked at. */
const facts: MessageFacts = { problem: "", method: "", tunnel: false, status: 0, contentLength: -1 };

function reset(): void {
  facts.problem = facts.method = "";
  facts.tunnel = false;
  facts.status = 0;
  facts.contentLength = -1;
}

function malformed(problem: string): MessageFacts {
  facts.problem = problem;
  return facts;
}

/** Checks an ordinary field; "" when good. */
function fieldProblem(name: string, value: string): string {
  const problem = nameProblem(name);
  if (problem !== "") return problem;
  if (FORBIDDEN_IN_VALUE.test(value)) return `value of ${name} has a control character or white space around it`;
  if (name === "te" && value !== "trailers") return "te is not trailers";
  if (name === "content-length") {
    if (!CONTENT_LENGTH.test(value)) return "content-length is not a number";
    const length = Number(value);
    if (facts.contentLength >= 0) return "content-length twice";
    facts.contentLength = length;
  }
  return "";
}

/** Checks a request. The result is overwritten by the next check. */
export function checkRequest(list: HeaderList, allowProtocol: boolean): MessageFacts {
  reset();
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let protocol: string | undefined;
  let host: string | undefined;
  let regular = false;
  for (let i = 0; i < list.length; i++) {
    const field = list[i]!;
    const name = field[0];
    const value = field[1];
    if (name.charCodeAt(0) !== 0x3a) {
      regular = true;
      const problem = fieldProblem(name, value);
      if (problem !== "") return malformed(problem);
      if (name === "host") host = value;
      continue;
    }
    if (regular) return malformed(`${name} after ordinary fields`);
    if (FORBIDDEN_IN_TARGET.test(value)) return malformed(`value of ${name} has control characters or spaces`);
    let twice: boolean;
    switch (name) {
      case ":method":
        twice = method !== undefined;
        method = value;
        break;
      case ":scheme":
        twice = scheme !== undefined;
        scheme = value;
        break;
      case ":authority":
        twice = authority !== undefined;
        authority = value;
        break;
      case ":path":
        twice = path !== undefined;
        path = value;
        break;
      case ":protocol":
        if (!allowProtocol) return malformed(":protocol without extended CONNECT");
        twice = protocol !== undefined;
        protocol = value;
        break;
      default:
        return malformed(`unknown pseudo-header field ${JSON.stringify(name)}`);
    }
    if (twice) return malformed(`${name} twice`);
  }
  if (method === undefined) return malformed("no :method");
  if (!TOKEN.test(method)) return malformed(":method is not a token");
  facts.method = method;
  if (method === "CONNECT" && protocol === undefined) {
    if (authority === undefined || authority === "") return malformed("CONNECT without :authority");
    if (scheme !== undefined || path !== undefined) return malformed("CONNECT with :scheme or :path");
    facts.tunnel = true;
    facts.contentLength = -1;
    return facts;
  }
  if (protocol !== undefined && method !== "CONNECT") return malformed(":protocol without CONNECT");
  if (protocol !== undefined && authority === undefined) return malformed("extended CONNECT without :authority");
  if (scheme === undefined || scheme === "") return malformed("no :scheme");
  if (path === undefined) return malformed("no :path");
  const problem = targetProblem(method, scheme, authority, path, host);
  return problem === "" ? facts : malformed(problem);
}

/** RFC 9113 §8.3.1 for requests other than CONNECT. */
function targetProblem(
  method: string,
  scheme: string,
  authority: string | undefined,
  path: string,
  host: string | undefined,
): string {
  if (scheme === "http" || scheme === "https") {
    const starred = path === "*" && method === "OPTIONS";
    if (path.charCodeAt(0) !== 0x2f && !starred) return ":path is neither absolute nor the * of OPTIONS";
    if (authority !== undefined && authority.includes("@")) return ":authority has user information";
  }
  if (host !== undefined && authority !== undefined && host !== authority) {
    const port = scheme === "https" ? ":443" : ":80";
    const bare = (text: string) => text.toLowerCase().replace(new RegExp(`${port}$`), "");
    if (bare(host) !== bare(authority)) return "host differs from :authority";
  }
  return "";
}

/** Checks a response. The result is overwritten by the next check. */
export function checkResponse(list: HeaderList): MessageFacts {
  reset();
  let regular = false;
  for (let i = 0; i < list.length; i++) {
    const field = list[i]!;
    const name = field[0];
    if (name.charCodeAt(0) !== 0x3a) {
      regular = true;
      const problem = fieldProblem(name, field[1]);
      if (problem !== "") return malformed(problem);
      continue;
    }
    if (name !== ":status") return malformed(`pseudo-header field ${JSON.stringify(name)} in a response`);
    if (regular) return malformed(":status after ordinary fields");
    if (facts.status !== 0) return malformed(":status twice");
    if (!STATUS.test(field[1])) return malformed(":status is not a status code");
    facts.status = Number(field[1]);
  }
  if (facts.status === 0) return malformed("no :status");
  if (facts.status === 101) return malformed("status 101 does not exist in HTTP/2");
  return facts;
}

/** Checks a trailer section; "" when good. */
export function trailersProblem(list: HeaderList): string {
  reset();
  for (let i = 0; i < list.length; i++) {
    const field = list[i]!;
    if (field[0].charCodeAt(0) === 0x3a) return `pseudo-header field ${JSON.stringify(field[0])} in trailers`;
    const problem = fieldProblem(field[0], field[1]);
    if (problem !== "") return problem;
  }
  return "";
}
