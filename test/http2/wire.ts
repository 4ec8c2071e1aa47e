/** A peer made of raw frames, for tests that must send what our own codec never would. */
import { type HeaderList, Http2Connection, type Http2Options, type Role } from "../../src/http2/mod.ts";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { FrameType, PREFACE, readUint31, readUint32, writeFrameHeader, writeUint32 } from "../../src/http2/frames.ts";
import { Recorder } from "./recorder.ts";

export const OPTIONS: Http2Options = {
  initialWindowSize: 65_535,
  connectionWindowSize: 1 << 20,
  maxFrameSize: 16_384,
  maxHeaderListSize: 16 << 10,
  maxConcurrentStreams: 100,
  maxSendBuffer: 64 << 10,
};

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Uint8Array;
}

type Octets = Uint8Array | readonly number[] | string;

/** Octets of a text (latin1), of a list of numbers, or as they are. */
export function octets(from: Octets): Uint8Array {
  if (typeof from === "string") return Uint8Array.from(from, (char) => char.charCodeAt(0));
  return from instanceof Uint8Array ? from : Uint8Array.from(from);
}

export function join(...parts: Octets[]): Uint8Array {
  const all = parts.map(octets);
  const whole = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function frame(type: number, flags: number, streamId: number, payload: Octets = []): Uint8Array {
  const body = octets(payload);
  const bytes = new Uint8Array(9 + body.length);
  writeFrameHeader(bytes, 0, body.length, type, flags, streamId);
  bytes.set(body, 9);
  return bytes;
}

export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

/** SETTINGS with pairs of identifier and value. */
export function settings(...entries: [id: number, value: number][]): Uint8Array {
  return frame(
    FrameType.SETTINGS,
    0,
    0,
    join(...entries.map(([id, value]) => join([id >> 8, id & 255], uint32(value)))),
  );
}

export const SETTINGS_ACK = frame(FrameType.SETTINGS, 1, 0);

function integer(value: number, bits: number, pattern: number): number[] {
  const mask = 2 ** bits - 1;
  if (value < mask) return [pattern | value];
  const list = [pattern | mask];
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) list.push((rest % 128) | 128);
  return [...list, rest];
}

/** A header block of plain literals that leave the dynamic table alone (RFC 7541 §6.2.2). */
export function literals(...fields: [name: string, value: string][]): Uint8Array {
  return join(
    ...fields.map(([name, value]) => join([0], integer(name.length, 7, 0), name, integer(value.length, 7, 0), value)),
  );
}

export const GET: [string, string][] = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "localhost"],
];
export const POST: [string, string][] = [[":method", "POST"], ...GET.slice(1)];
/** A request that the recorder leaves unanswered. */
export const HOLD: [string, string][] = [[":method", "POST"], [":scheme", "http"], [":path", "/hold"]];

export function headers(streamId: number, flags: number, ...fields: [string, string][]): Uint8Array {
  return frame(FrameType.HEADERS, flags, streamId, literals(...fields));
}

export function data(streamId: number, flags: number, payload: Octets): Uint8Array {
  return frame(FrameType.DATA, flags, streamId, payload);
}

export function ping(payload: string): Uint8Array {
  return frame(FrameType.PING, 0, 0, payload);
}

export function readFrames(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = readUint32(bytes, at) >>> 8;
    const payload = bytes.slice(at + 9, at + 9 + length);
    if (payload.length !== length) throw new Error(`a frame of ${length} octets is cut off`);
    frames.push({ type: bytes[at + 3]!, flags: bytes[at + 4]!, streamId: readUint31(bytes, at + 5), payload });
    at += 9 + length;
  }
  return frames;
}

const TYPE_NAMES = Object.keys(FrameType);

/** A connection under test and what it said. */
export class Wire {
  readonly connection: Http2Connection<unknown>;
  readonly recorder = new Recorder();
  readonly sent: Frame[] = [];
  readonly #decoder = new HpackDecoder(4096);
  #preface: boolean;

  constructor(role: Role, options: Partial<Http2Options> = {}) {
    this.connection = new Http2Connection(role, { ...OPTIONS, ...options }, this.recorder);
    this.#preface = role === "client";
  }

  /** Gives bytes to the connection, whole or in pieces of `piece` octets, then reads what it answers. */
  receive(bytes: Uint8Array, piece = bytes.length): this {
    for (let at = 0; at < bytes.length; at += piece) {
      this.connection.receive(bytes.slice(at, at + piece));
    }
    return this.read();
  }

  /** Reads the connection's output into `sent`. */
  read(): this {
    const pieces: Uint8Array[] = [];
    for (let p = this.connection.nextOutput(); p !== undefined; p = this.connection.nextOutput()) {
      pieces.push(p.slice());
    }
    let bytes = join(...pieces);
    if (this.#preface) {
      this.#preface = false;
      bytes = bytes.subarray(PREFACE.length);
    }
    this.sent.push(...readFrames(bytes));
    return this;
  }

  /** Forgets what was said so far. */
  clear(): this {
    this.sent.length = 0;
    this.recorder.events.length = 0;
    return this;
  }

  of(type: number): Frame[] {
    return this.sent.filter((f) => f.type === type);
  }

  /** Code of the GOAWAY that was sent, if any. */
  get goaway(): number | undefined {
    const last = this.of(FrameType.GOAWAY).at(-1);
    return last === undefined ? undefined : readUint32(last.payload, 4);
  }

  /** Code of the RST_STREAM that was sent for a stream, if any. */
  reset(streamId: number): number | undefined {
    const found = this.of(FrameType.RST_STREAM).find((f) => f.streamId === streamId);
    return found === undefined ? undefined : readUint32(found.payload, 0);
  }

  /** Bytes of DATA sent on a stream. */
  dataLength(streamId: number): number {
    return this.of(FrameType.DATA).filter((f) => f.streamId === streamId).reduce((n, f) => n + f.payload.length, 0);
  }

  /** Header lists sent on a stream; reads each block once, in order. */
  headerLists(streamId: number): HeaderList[] {
    const lists: HeaderList[] = [];
    let block: Uint8Array = new Uint8Array(0);
    for (const f of this.sent) {
      if (f.type !== FrameType.HEADERS && f.type !== FrameType.CONTINUATION) continue;
      block = join(block, f.payload);
      if ((f.flags & 4) === 0) continue;
      const list = this.#decoder.decode(block, 0, block.length, 1 << 20);
      if (list === undefined) throw new Error(this.#decoder.error);
      if (f.streamId === streamId) lists.push(list);
      block = new Uint8Array(0);
    }
    return lists;
  }

  /** One line for each frame sent, for comparisons. */
  get summary(): string[] {
    return this.sent.map((f) =>
      `${TYPE_NAMES[f.type]} ${f.streamId} ${f.flags.toString(16)} ${f.payload.length} ${f.payload.toHex()}`
    );
  }
}

/** A server that has seen preface and SETTINGS; what it said so far is forgotten. */
export function server(options: Partial<Http2Options> = {}): Wire {
  return new Wire("server", options).receive(join(PREFACE, settings(), SETTINGS_ACK)).clear();
}

/** A client that has seen the server's SETTINGS; what it said so far is forgotten. */
export function client(options: Partial<Http2Options> = {}): Wire {
  return new Wire("client", options).receive(join(settings(), SETTINGS_ACK)).clear();
}
