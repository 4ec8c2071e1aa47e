/**
 * An HTTP/1.1 client with exact control of what is sent, and an exact record of what comes back: interim responses, field
 * order and case, framing, trailers. It shares no code with the proxy's codec.
 */
import { Buffer } from "node:buffer";
import { LAB_DEADLINE_MS, type NetworkNamespace } from "../topology/mod.ts";
import { Conversation, type ConversationOptions, type Destination } from "./conversation.ts";

export type Field = readonly [name: string, value: string];

export interface Http1Answer {
  readonly version: string;
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly Field[];
  /** Statuses of the 1xx responses before it. */
  readonly interim: readonly number[];
  readonly body: Buffer;
  readonly framing: "none" | "length" | "chunked" | "until close";
  readonly trailers: readonly Field[];
}

export interface Http1Request {
  readonly method?: string;
  readonly path?: string;
  readonly version?: string;
  /** Host is `host` unless a field here says so. */
  readonly host?: string;
  readonly fields?: readonly Field[];
  readonly body?: string | Uint8Array;
  /** Sends the body in chunks, with these trailers behind it. */
  readonly chunks?: readonly (string | Uint8Array)[];
  readonly trailers?: readonly Field[];
}

/** Values of all fields of that name, joined as a proxy may join them; undefined where there is none. */
export function fieldOf(fields: readonly Field[], name: string): string | undefined {
  const values = fields.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(",");
}

export function jsonOf<T>(answer: Http1Answer): T {
  return JSON.parse(answer.body.toString()) as T;
}

export class Http1Client {
  readonly conversation: Conversation;

  private constructor(conversation: Conversation) {
    this.conversation = conversation;
  }

  /** @throws ConversationError, DeadlineError */
  static async open(
    namespace: NetworkNamespace,
    destination: Destination,
    options: ConversationOptions = {},
  ): Promise<Http1Client> {
    return new Http1Client(await Conversation.open(namespace, destination, options));
  }

  send(request: Http1Request): this {
    this.conversation.write(renderHead(request));
    if (request.chunks !== undefined) {
      for (const chunk of request.chunks) this.sendChunk(chunk);
      this.endChunks(request.trailers);
    } else if (request.body !== undefined && request.body.length > 0) {
      this.conversation.write(request.body);
    }
    return this;
  }

  sendChunk(chunk: string | Uint8Array): this {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    this.conversation.write(`${bytes.length.toString(16)}\r\n`).write(bytes).write("\r\n");
    return this;
  }

  endChunks(trailers: readonly Field[] = []): this {
    this.conversation.write(`0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
    return this;
  }

  /** The next final response. `method` is the request's: it decides about a body. @throws ConversationError, DeadlineError */
  async answer(method = "GET", deadlineMs = LAB_DEADLINE_MS): Promise<Http1Answer> {
    const interim: number[] = [];
    while (true) {
      const head = parseHead(await this.conversation.readUntil("\r\n\r\n", deadlineMs));
      if (head.status < 200 && head.status !== 101) {
        interim.push(head.status);
        continue;
      }
      return { ...head, interim, ...await this.#body(head.status, head.fields, method, deadlineMs) };
    }
  }

  async exchange(request: Http1Request, deadlineMs = LAB_DEADLINE_MS): Promise<Http1Answer> {
    return await this.send(request).answer(request.method, deadlineMs);
  }

  close(): void {
    this.conversation.close();
  }

  async #body(
    status: number,
    fields: readonly Field[],
    method: string,
    deadlineMs: number,
  ): Promise<Pick<Http1Answer, "body" | "framing" | "trailers">> {
    const none = { body: Buffer.alloc(0), framing: "none" as const, trailers: [] };
    if (method === "HEAD" || status === 204 || status === 304 || status === 101) return none;
    if (fieldOf(fields, "transfer-encoding") !== undefined) return await this.#chunked(deadlineMs);
    const length = fieldOf(fields, "content-length");
    if (length !== undefined) {
      const body = await this.conversation.readBytes(Number(length), deadlineMs);
      return { body, framing: "length", trailers: [] };
    }
    const body = Buffer.from(await this.conversation.readToEnd(deadlineMs));
    return { body, framing: "until close", trailers: [] };
  }

  async #chunked(deadlineMs: number): Promise<Pick<Http1Answer, "body" | "framing" | "trailers">> {
    const chunks: Buffer[] = [];
    while (true) {
      const size = Number.parseInt(await this.conversation.readUntil("\r\n", deadlineMs), 16);
      if (Number.isNaN(size)) throw new Error("not a chunk size");
      if (size === 0) break;
      chunks.push(Buffer.from(await this.conversation.readBytes(size, deadlineMs)));
      const end = await this.conversation.read(2, deadlineMs);
      if (end !== "\r\n") throw new Error(`a chunk ends with ${JSON.stringify(end)}`);
    }
    const trailers: Field[] = [];
    while (true) {
      const line = await this.conversation.readUntil("\r\n", deadlineMs);
      if (line === "\r\n") break;
      trailers.push(parseField(line.slice(0, -2)));
    }
    return { body: Buffer.concat(chunks), framing: "chunked", trailers };
  }
}

/** One exchange on a connection of its own. */
export async function http1(
  namespace: NetworkNamespace,
  destination: Destination,
  request: Http1Request = {},
  deadlineMs = LAB_DEADLINE_MS,
): Promise<Http1Answer> {
  const client = await Http1Client.open(namespace, destination, { deadlineMs });
  try {
    return await client.exchange({ host: `${destination.ip}:${destination.port}`, ...request }, deadlineMs);
  } finally {
    client.close();
  }
}

function renderHead(request: Http1Request): string {
  const fields: Field[] = [...request.fields ?? []];
  const has = (name: string) => fieldOf(fields, name) !== undefined;
  if (!has("host")) fields.unshift(["Host", request.host ?? "echo"]);
  if (request.chunks !== undefined && !has("transfer-encoding")) fields.push(["Transfer-Encoding", "chunked"]);
  if (request.body !== undefined && !has("content-length")) {
    fields.push(["Content-Length", `${Buffer.byteLength(request.body)}`]);
  }
  const line = `${request.method ?? "GET"} ${request.path ?? "/"} ${request.version ?? "HTTP/1.1"}`;
  return `${line}\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

function parseHead(text: string): Pick<Http1Answer, "version" | "status" | "reason" | "fields"> {
  const [statusLine = "", ...lines] = text.slice(0, -4).split("\r\n");
  const match = /^(HTTP\/1\.[01]) (\d{3}) ?(.*)$/.exec(statusLine);
  if (match === null) throw new Error(`not an HTTP answer: ${JSON.stringify(statusLine.slice(0, 80))}`);
  return { version: match[1] ?? "", status: Number(match[2]), reason: match[3] ?? "", fields: lines.map(parseField) };
}

function parseField(line: string): Field {
  const colon = line.indexOf(":");
  if (colon <= 0) throw new Error(`not a field: ${JSON.stringify(line)}`);
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
