import type { RequestHead } from "../http/message.ts";
import { removeField } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import { CR, LF, TOKEN } from "./characters.ts";
import { type ConnectionOptions, connectionOptions, removeNominated } from "./connection_options.ts";
import { type ContentOwner, ContentReader } from "./content_reader.ts";
import { Details, type Problem, problem, requestError } from "./errors.ts";
import { encodingProblem, lengthProblem } from "./framing_problem.ts";
import { facts, readFields } from "./fields.ts";
import { HeldBytes } from "./held_bytes.ts";
import { latin1, ownText } from "./latin1.ts";
import { type Http1Limits, REQUEST_LIMITS } from "./limits.ts";
import { readRequestLine, requestLine } from "./request_line.ts";
import { SectionReader } from "./section_reader.ts";
import { hostFieldProblem, requestTarget, type Target } from "./target.ts";
import type { BodyKind, EofState, Http1RequestParser, RequestParserOptions, RequestSink } from "./types.ts";

/**
 * - `between`: nothing of the next request has come; one empty line may (RFC 9112 §2.2);
 * - `between-lf`: its CR has come;
 * - `head`: in a header section;
 * - `content`: in the content of a request;
 * - `stopped`: behind a request, until told to go on;
 * - `raw`: no HTTP any more;
 * - `closed`: after an error or `close()`; what comes is dropped.
 */
type State = "between" | "between-lf" | "head" | "content" | "stopped" | "raw" | "closed";

function bad(text: string): Problem {
  return problem(400, Details.CODEC_ERROR, text);
}

/** See Http1RequestParser. */
export class RequestReader implements Http1RequestParser, ContentOwner {
  readonly #sink: RequestSink;
  readonly #limits: Http1Limits;
  readonly #acceptHttp10: boolean;
  readonly #keepCase: boolean;
  readonly #scheme: "http" | "https";
  readonly #head: SectionReader;
  readonly #held = new HeldBytes();
  #content: ContentReader | undefined;
  #state: State = "between";
  #skippedLine = false;
  /** What follows the current request, when that was said before its end. */
  #after: "stopped" | "between" | "raw" = "stopped";
  /** Octets given to the sink by the call that is running; and whether one is. */
  #given = 0;
  #running = false;
  /** The authority found good last: connections mostly carry one. */
  #goodAuthority = "";

  constructor(options: RequestParserOptions, sink: RequestSink) {
    this.#sink = sink;
    this.#limits = options.limits === undefined ? REQUEST_LIMITS : { ...REQUEST_LIMITS, ...options.limits };
    this.#acceptHttp10 = options.acceptHttp10 ?? false;
    this.#keepCase = options.keepCase ?? false;
    this.#scheme = options.scheme ?? "http";
    this.#head = new SectionReader(this.#limits.maxHeaderBytes);
  }

  get held(): number {
    return this.#held.length;
  }

  get idle(): boolean {
    return (this.#state === "between" && this.#held.length === 0) || this.#state === "closed";
  }

  receive(bytes: Uint8Array): number {
    if (this.#state === "closed") return bytes.length;
    if (this.#state !== "stopped") return this.#run(bytes);
    this.#hold(bytes);
    return 0;
  }

  next(): number {
    return this.#goOn("between");
  }

  raw(): number {
    return this.#goOn("raw");
  }

  close(): number {
    this.#state = "closed";
    const dropped = this.#held.length;
    this.#held.clear();
    this.#head.reset();
    return dropped;
  }

  eof(): EofState {
    switch (this.#state) {
      case "closed":
      case "between":
        return "idle";
      case "stopped":
        return this.#held.length === 0 ? "idle" : "waiting";
      case "raw":
        this.close();
        this.#sink.onMessageEnd();
        return "complete";
      default:
        this.close();
        return "truncated";
    }
  }

  #goOn(to: "between" | "raw"): number {
    if (this.#state === "closed") return 0;
    if (this.#state !== "stopped") {
      this.#after = to;
      return 0;
    }
    this.#enter(to);
    if (this.#running) return 0; // the loop that called the sink goes on by itself
    let used = 0;
    for (let piece = this.#takeHeld(); piece !== undefined; piece = this.#takeHeld()) used += this.#run(piece);
    return used;
  }

  #takeHeld(): Uint8Array | undefined {
    return this.#state === "stopped" || this.#state === "closed" ? undefined : this.#held.take();
  }

  #enter(state: "stopped" | "between" | "raw"): void {
    this.#state = state;
    this.#skippedLine = false;
    this.#after = state === "raw" ? "raw" : "stopped";
  }

  #hold(bytes: Uint8Array): void {
    this.#held.add(bytes);
    if (this.#held.length > this.#limits.maxHeldBytes) this.#fail(bad("too much sent ahead of the answer"));
  }

  /** Reads through bytes; returns how many of them are used up. What is held afterwards is not. */
  #run(bytes: Uint8Array): number {
    this.#running = true;
    this.#given = 0;
    const length = bytes.length;
    let at = 0;
    let kept = 0;
    try {
      while (at < length) {
        switch (this.#state) {
          case "between":
            at = this.#begin(bytes, at);
            break;
          case "between-lf":
            if (bytes[at] === LF) {
              at++;
              this.#skippedLine = true;
              this.#state = "between";
            } else this.#fail(bad("CR without LF before a request line"));
            break;
          case "head":
            at = this.#readHead(bytes, at);
            break;
          case "content":
            at = this.#content!.read(bytes, at);
            break;
          case "raw": {
            const rest = at === 0 ? bytes : bytes.subarray(at);
            at = length;
            this.contentData(rest);
            break;
          }
          case "stopped":
            kept = length - at;
            // In front of what waits: this may be the first of the held pieces.
            this.#held.putBack(at === 0 ? bytes : bytes.subarray(at));
            at = length;
            break;
          case "closed":
            at = length;
        }
      }
    } finally {
      this.#running = false;
    }
    return length - this.#given - kept;
  }

  #begin(bytes: Uint8Array, at: number): number {
    const octet = bytes[at]!;
    if (octet === CR && !this.#skippedLine) {
      this.#state = "between-lf";
      return at + 1;
    }
    if (TOKEN[octet] === 0) {
      this.#fail(bad("request line does not begin with a method and one space"));
      return at;
    }
    this.#state = "head";
    return this.#readHead(bytes, at);
  }

  #readHead(bytes: Uint8Array, at: number): number {
    const section = this.#head;
    const end = section.read(bytes, at);
    switch (section.status) {
      case "incomplete":
        break;
      case "too-large":
        this.#fail(
          problem(
            431,
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

  /** Reads a whole head, or one that a lone line end cuts short. */
  #understand(section: SectionReader): void {
    const { bytes, start, end } = section;
    const text = latin1(bytes, start, end);
    const wrong = readRequestLine(bytes, start, text) ??
      readFields(bytes, requestLine.end, end, text, start, this.#limits.maxHeaderCount, this.#keepCase);
    section.reset();
    if (wrong !== undefined) this.#fail(wrong);
    else this.#judge(end - start);
  }

  /** What the head means, and whether it may. */
  #judge(wireBytes: number): void {
    const { method, http10 } = requestLine;
    const fields = facts.fields;
    const target = requestTarget(method, requestLine.target);
    if (typeof target === "string") {
      this.#fail(problem(400, Details.INVALID_URL, target));
      return;
    }
    const options = connectionOptions(facts.connection);
    const upgrade = this.#upgrade(options, http10, facts.encodings > 0 || facts.contentLength > 0);
    const contentLength = facts.contentLength;
    const chunked = facts.encodings > 0;
    const head: RequestHead = {
      method,
      scheme: target.scheme ?? this.#scheme,
      authority: target.authority ?? facts.host ?? "",
      path: target.path,
      protocol: http10 ? "HTTP/1.0" : "HTTP/1.1",
      fields,
      upgrade,
      upgradeFields: upgrade === undefined ? undefined : {
        connection: options.close || options.nominated.length > 0 ? "upgrade" : facts.connection,
        upgrade: facts.upgrade,
      },
      // A client of HTTP/1.0 does not know 100 (RFC 9110 §10.1.1).
      expectContinue: facts.expectContinue && !http10,
      originalNames: facts.names,
      wireBytes,
    };
    const wrong = this.#versionProblem(http10) ?? framingProblem(method, http10) ?? this.#hostProblem(target) ??
      (options.problem === "" ? undefined : problem(400, Details.CONNECTION_REJECTED, options.problem));
    if (wrong !== undefined) {
      this.#fail(wrong, head);
      return;
    }
    if (options.nominated.length > 0) removeNominated(fields, options);
    if (method === "CONNECT" && contentLength >= 0) removeField(fields, "content-length");
    const keepAlive = !options.close && (!http10 || options.keepAlive);
    const body: BodyKind = chunked ? "chunked" : contentLength > 0 ? "length" : "none";
    this.#state = "content";
    this.#sink.onRequest(head, { body, contentLength, keepAlive });
    if (this.#state !== "content") return; // closed by the sink
    if (body === "none") {
      this.contentEnded();
      return;
    }
    const content = this.#content ??= new ContentReader(this.#limits, this);
    if (body === "chunked") content.beginChunks();
    else content.beginLength(contentLength);
  }

  /**
   * The protocol to upgrade to (RFC 9110 §7.8): only with the connection option, from HTTP/1.1, for a request without
   * content: what comes behind it is in the new protocol. `h2c` alone is not heard, which a server may choose.
   */
  #upgrade(options: ConnectionOptions, http10: boolean, hasContent: boolean): string | undefined {
    const upgrade = facts.upgrade;
    if (upgrade === "" || !options.upgrade || http10 || hasContent) return undefined;
    const lower = upgrade.toLowerCase();
    return lower === "h2c" ? undefined : lower;
  }

  #versionProblem(http10: boolean): Problem | undefined {
    return http10 && !this.#acceptHttp10 ? problem(426, Details.LOW_VERSION, "HTTP/1.0 is not taken") : undefined;
  }

  /** Host (RFC 9112 §3.2): exactly one, unless the target names it; valid even where the target replaces it. */
  #hostProblem(target: Target): Problem | undefined {
    const host = facts.host;
    if (host === undefined) {
      return target.authority === undefined ? problem(400, Details.MISSING_HOST, "no Host") : undefined;
    }
    if (facts.hosts > 1) return problem(400, Details.INVALID_AUTHORITY, "Host more than once");
    if (host === this.#goodAuthority) return undefined;
    const wrong = hostFieldProblem(host);
    if (wrong !== "") return problem(400, Details.INVALID_AUTHORITY, `Host: ${wrong}`);
    this.#goodAuthority = ownText(host);
    return undefined;
  }

  #fail(found: Problem, head?: RequestHead): void {
    this.#state = "closed";
    this.#held.clear();
    this.#head.reset();
    this.#sink.onError(requestError(found, head));
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
    this.#enter(this.#after);
    this.#sink.onMessageEnd();
  }

  contentFailed(found: Problem): void {
    if (this.#state !== "closed") this.#fail(found);
  }
}

/** Message framing (RFC 9112 §6): every doubt is an error, since another reader may resolve it otherwise. */
function framingProblem(method: string, http10: boolean): Problem | undefined {
  if (facts.lengths === 0 && facts.encodings === 0) return undefined;
  const wrong = lengthProblem(400) ?? encodingProblem(http10, 400, 501);
  if (wrong !== undefined) return wrong;
  // A tunnel has no content (RFC 9110 §9.3.6); what would be it would be read as the tunnel's octets elsewhere.
  if (method === "CONNECT" && (facts.encodings > 0 || facts.contentLength > 0)) {
    return problem(400, Details.BODY_DISALLOWED, "CONNECT with content");
  }
  return undefined;
}
