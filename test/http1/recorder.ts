/** What parsers tell, as plain data: adjoining pieces of content are one event, so that splits do not show. */
import { Buffer } from "node:buffer";
import type { RequestHead, ResponseHead } from "../../src/http/message.ts";
import {
  type EofState,
  type Framing,
  type Http1Error,
  RequestParser,
  type RequestParserOptions,
  type RequestSink,
  ResponseParser,
  type ResponseParserOptions,
  type ResponseSink,
} from "../../src/http1/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";

export type Event =
  | { readonly kind: "request"; readonly head: RequestHead; readonly framing: Framing }
  | { readonly kind: "informational"; readonly head: ResponseHead }
  | { readonly kind: "response"; readonly head: ResponseHead; readonly framing: Framing }
  | { readonly kind: "data"; data: string }
  | { readonly kind: "trailers"; readonly fields: HeaderList }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly error: Http1Error };

export class Recorder implements RequestSink, ResponseSink {
  readonly events: Event[] = [];
  /** Octets that came as data. */
  data = 0;
  /** Called at the end of each message. */
  ended: () => void = () => {};

  onRequest(head: RequestHead, framing: Framing): void {
    this.events.push({ kind: "request", head, framing });
  }
  onInformational(head: ResponseHead): void {
    this.events.push({ kind: "informational", head });
  }
  onResponse(head: ResponseHead, framing: Framing): void {
    this.events.push({ kind: "response", head, framing });
  }
  onData(chunk: Uint8Array): void {
    if (chunk.length === 0) throw new Error("an empty piece of data");
    this.data += chunk.length;
    const text = Buffer.from(chunk).toString("latin1");
    const last = this.events.at(-1);
    if (last?.kind === "data") last.data += text;
    else this.events.push({ kind: "data", data: text });
  }
  onTrailers(fields: HeaderList): void {
    this.events.push({ kind: "trailers", fields });
  }
  onMessageEnd(): void {
    this.events.push({ kind: "end" });
    this.ended();
  }
  onError(error: Http1Error): void {
    this.events.push({ kind: "error", error });
  }

  get error(): Http1Error | undefined {
    const last = this.events.at(-1);
    return last?.kind === "error" ? last.error : undefined;
  }
  get requests(): RequestHead[] {
    return this.events.flatMap((event) => event.kind === "request" ? [event.head] : []);
  }
  get content(): string {
    return this.events.map((event) => event.kind === "data" ? event.data : "").join("");
  }
}

export function octets(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

/** Splits octets at the given places, each piece a copy of its own. */
export function splitAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const to of [...places, bytes.length]) {
    pieces.push(new Uint8Array(bytes.subarray(from, to)));
    from = to;
  }
  return pieces;
}

export interface Read {
  readonly recorder: Recorder;
  readonly eof: EofState;
  /** Octets that the parser counted as used up. */
  readonly used: number;
}

/** Reads requests; each end of a message lets the next one begin at once. */
export function readRequests(pieces: readonly Uint8Array[], options: RequestParserOptions = {}): Read {
  const recorder = new Recorder();
  const parser = new RequestParser(options, recorder);
  let used = 0;
  recorder.ended = () => used += parser.next();
  for (const piece of pieces) used += parser.receive(piece);
  recorder.ended = () => {};
  return { recorder, eof: parser.eof(), used };
}

/** Reads responses to requests of these methods, one after the other; a method `UPGRADE` is a GET that asks for one. */
export function readResponses(
  pieces: readonly Uint8Array[],
  methods: readonly string[] = ["GET"],
  options: ResponseParserOptions = {},
): Read {
  const recorder = new Recorder();
  const parser = new ResponseParser(options, recorder);
  let next = 0;
  const expect = () => {
    const method = methods[next++];
    if (method !== undefined) parser.expect(method === "UPGRADE" ? "GET" : method, method === "UPGRADE");
  };
  expect();
  recorder.ended = expect;
  let used = 0;
  for (const piece of pieces) used += parser.receive(piece);
  recorder.ended = () => {};
  return { recorder, eof: parser.eof(), used };
}
