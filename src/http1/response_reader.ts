import type { ResponseHead } from "../http/message.ts";
import { removeField } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import { connectionOptions } from "./connection_options.ts";
import { type ContentOwner, ContentReader } from "./content_reader.ts";
import { Details, type Problem, problem, responseError } from "./errors.ts";
import { encodingProblem, lengthProblem } from "./framing_problem.ts";
import { facts, readFields } from "./fields.ts";
import { latin1 } from "./latin1.ts";
import { type Http1Limits, RESPONSE_LIMITS } from "./limits.ts";
import { SectionReader } from "./section_reader.ts";
import { readStatusLine, statusLine } from "./status_line.ts";
import type { BodyKind, EofState, Http1ResponseParser, ResponseParserOptions, ResponseSink } from "./types.ts";

/**
 * - `idle`: no request waits for its response, so there is nothing that may come;
 * - `head`: a head is awaited, or begun;
 * - `content`: in content that ends by itself;
 * - `endless`: in content, or raw octets, to the end of the connection;
 * - `closed`: after an error or `close()`; what comes is dropped.
 */
type State = "idle" | "head" | "content" | "endless" | "closed";

function bad(text: string): Problem {
  return problem(502, Details.CODEC_ERROR, text);
}

/** See Http1ResponseParser. */
export class ResponseReader implements Http1ResponseParser, ContentOwner {
  readonly #sink: ResponseSink;
  readonly #limits: Http1Limits;
  readonly #keepCase: boolean;
  readonly #head: SectionReader;
  #content: ContentReader | undefined;
  #state: State = "idle";
  #method = "";
  #upgradeAsked = false;
  #given = 0;

  constructor(options: ResponseParserOptions, sink: ResponseSink) {
    this.#sink = sink;
    this.#limits = options.limits === undefined ? RESPONSE_LIMITS : { ...RESPONSE_LIMITS, ...options.limits };
    this.#keepCase = options.keepCase ?? false;
    this.#head = new SectionReader(this.#limits.maxHeaderBytes);
  }

  expect(method: string, upgrade: boolean): void {
    if (this.#state === "closed") return;
    if (this.#state !== "idle") {
      throw new Error(`a request while its predecessor's response is in state ${this.#state}`);
    }
    this.#method = method;
    this.#upgradeAsked = upgrade;
    this.#state = "head";
  }

  receive(bytes: Uint8Array): number {
    const length = bytes.length;
    this.#given = 0;
    let at = 0;
    while (at < length) {
      switch (this.#state) {
        case "head":
          at = this.#readHead(bytes, at);
          break;
        case "content":
          at = this.#content!.read(bytes, at);
          break;
        case "endless": {
          const rest = at === 0 ? bytes : bytes.subarray(at);
          at = length;
          this.contentData(rest);
          break;
        }
        case "idle":
          // Were it kept, it would answer the next request: response smuggling (RFC 9112 §9.2).
          this.#fail(bad("octets that answer no request"));
          break;
        case "closed":
          at = length;
      }
    }
    return length - this.#given;
  }

  close(): void {
    this.#state = "closed";
    this.#head.reset();
  }

  eof(): EofState {
    const state = this.#state;
    if (state === "head" && this.#head.started) {
      this.#fail(bad("the connection ended inside a header section"));
      return "truncated";
    }
    this.close();
    if (state === "endless") {
      this.#sink.onMessageEnd();
      return "complete";
    }
    return state === "idle" || state === "closed" ? "idle" : "truncated";
  }

  #readHead(bytes: Uint8Array, at: number): number {
    const section = this.#head;
    if (!section.started && bytes[at] !== 0x48) {
      this.#fail(bad("status line does not begin with HTTP/1.1 or HTTP/1.0"));
      return at;
    }
    const end = section.read(bytes, at);
    switch (section.status) {
      case "incomplete":
        break;
      case "too-large":
        this.#fail(
          problem(
            502,
            Details.HEADERS_TOO_LARGE,
            `header section is larger than ${this.#limits.maxHeaderBytes} octets`,
          ),
        );
        break;
      default:
        this.#understand(section);
    }
    return end;
  }

  #understand(section: SectionReader): void {
    const { bytes, start, end } = section;
    const text = latin1(bytes, start, end);
    const wrong = readStatusLine(bytes, start) ??
      readFields(bytes, statusLine.end, end, text, start, this.#limits.maxHeaderCount, this.#keepCase);
    section.reset();
    if (wrong !== undefined) this.#fail(wrong);
    else this.#judge(end - start);
  }

  #judge(wireBytes: number): void {
    const { status, http10 } = statusLine;
    const fields = facts.fields;
    const contentLength = facts.contentLength;
    const chunked = facts.encodings > 0;
    const switched = status === 101;
    const options = connectionOptions(facts.connection);
    const wrong = framingProblem(status, http10);
    if (wrong !== undefined) return this.#fail(wrong);
    if (switched && (!this.#upgradeAsked || facts.upgrade === "" || !options.upgrade)) {
      return this.#fail(bad("101 that was not asked for, or without a protocol"));
    }
    // They frame nothing here, and may not be there at all (RFC 9110 §8.6).
    const tunnel = switched || (this.#method === "CONNECT" && status >= 200 && status < 300);
    if (contentLength >= 0 && (tunnel || status < 200 || status === 204)) removeField(fields, "content-length");
    const head: ResponseHead = {
      status,
      fields,
      protocol: http10 ? "HTTP/1.0" : "HTTP/1.1",
      upgrade: switched ? facts.upgrade.toLowerCase() : undefined,
      originalNames: facts.names,
      wireBytes,
    };
    if (status < 200 && !switched) {
      this.#sink.onInformational(head);
      return;
    }
    let body: BodyKind;
    if (tunnel) body = "raw";
    else if (status === 204 || status === 304 || this.#method === "HEAD") body = "none";
    else if (chunked) body = "chunked";
    else if (contentLength >= 0) body = contentLength === 0 ? "none" : "length";
    else body = "close";
    const endless = body === "raw" || body === "close";
    const keepAlive = !endless && !options.close && (!http10 || options.keepAlive);
    this.#state = endless ? "endless" : "content";
    this.#sink.onResponse(head, { body, contentLength, keepAlive });
    if (this.#state !== "content") return; // without an end, or closed by the sink
    if (body === "none") {
      this.contentEnded();
      return;
    }
    const content = this.#content ??= new ContentReader(this.#limits, this);
    if (body === "chunked") content.beginChunks();
    else content.beginLength(contentLength);
  }

  #fail(found: Problem): void {
    this.#state = "closed";
    this.#head.reset();
    this.#sink.onError(responseError(found));
  }

  // --- ContentOwner ---

  contentData(view: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#given += view.length;
    this.#sink.onData(view);
  }

  contentTrailers(fields: HeaderList): void {
    if (this.#state !== "closed") this.#sink.onTrailers(fields);
  }

  contentEnded(): void {
    if (this.#state === "closed") return;
    this.#state = "idle";
    this.#sink.onMessageEnd();
  }

  contentFailed(found: Problem): void {
    if (this.#state !== "closed") this.#fail(found);
  }
}

/** As for requests: a response whose end could be read in two ways is not passed on (RFC 9112 §6.3). */
function framingProblem(status: number, http10: boolean): Problem | undefined {
  if (facts.lengths === 0 && facts.encodings === 0) return undefined;
  const wrong = lengthProblem(502);
  if (wrong !== undefined) return wrong;
  if (status < 200 || status === 204) {
    if (facts.encodings > 0) {
      return problem(502, Details.TRANSFER_ENCODING_NOT_ALLOWED, `Transfer-Encoding in a response of status ${status}`);
    }
    if (facts.contentLength > 0) {
      return problem(502, Details.LENGTH_NOT_ALLOWED, `Content-Length in a response of status ${status}`);
    }
  }
  return encodingProblem(http10, 502, 502);
}
