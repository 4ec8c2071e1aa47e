/**
 * Reading of protocol buffers field by field, without descriptors: those cost 11 MB of memory at run time. One reader
 * walks a whole resource, nested messages included, and makes no object for them.
 */
import { Buffer } from "node:buffer";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { readIp } from "../net/address.ts";
import type { TextCache } from "./text_cache.ts";

/** What is wrong and where, e.g. `waypoint.address`. Never leaves the decoders: their results carry its text. */
export class BadField extends Error {
  readonly path: string;
  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }

  /** The whole of it as text. */
  get text(): string {
    return this.path === "" ? this.message : `${this.path}: ${this.message}`;
  }
}

/** The same problem seen from outside the field `name`; an index joins without a dot. */
export function within(name: string, problem: unknown): BadField {
  const message = problem instanceof Error ? problem.message : String(problem);
  const inside = problem instanceof BadField ? problem.path : "";
  if (name === "" || inside === "") return new BadField(name + inside, message);
  return new BadField(inside.startsWith("[") ? name + inside : `${name}.${inside}`, message);
}

/**
 * Takes one field into `into` by one of the reader's methods, which hold its wire type against what it must be. False,
 * with nothing read: the field is unknown and skipped.
 */
export type FieldHandler<T> = (reader: FieldReader, field: number, into: T) => boolean;

/**
 * A cursor over one message. Its methods throw BadField, or what the wire reader throws; decoders turn both into values.
 * Nothing it returns is a view of `bytes`, apart from what `view` returns.
 */
export class FieldReader {
  readonly #bytes: Buffer;
  readonly #reader: BinaryReader;
  readonly #texts: TextCache;
  #end: number;
  #type: WireType = WireType.Varint;

  /** At the beginning of `bytes`. */
  constructor(bytes: Uint8Array, texts: TextCache) {
    this.#bytes = Buffer.from(bytes.buffer);
    this.#reader = new BinaryReader(this.#bytes);
    this.#texts = texts;
    this.#end = 0;
    this.begin(bytes.byteOffset, bytes.byteOffset + bytes.length);
  }

  /** Whether these bytes are of the same memory. */
  covers(bytes: Uint8Array): boolean {
    return bytes.buffer === this.#bytes.buffer;
  }

  /** Reads another message of the same memory; places count from its beginning. */
  begin(start: number, end: number): void {
    this.#reader.pos = start;
    this.#end = end;
  }

  /** Walks over the rest of the message; the last one of a field that is there twice is the handler's business. */
  fields<T>(read: FieldHandler<T>, into: T): void {
    this.some(read, into, Infinity);
  }

  /** As `fields`, but at most `most` of them. True: that was all; else the next call goes on from here. */
  some<T>(read: FieldHandler<T>, into: T, most: number): boolean {
    const reader = this.#reader;
    const end = this.#end;
    while (reader.pos < end) {
      if (most-- <= 0) return false;
      const first = this.#bytes[reader.pos]!;
      const second = this.#bytes[reader.pos + 1]!;
      let field: number;
      // One byte is the whole tag of the fields 1 to 15; 0 would be the field 0, and 6 and 7 are no wire types.
      if (first >= 8 && first < 0x80 && (first & 7) < 6) {
        reader.pos++;
        field = first >>> 3;
        this.#type = first & 7;
      } else if (first >= 0x80 && second > 0 && second < 0x80 && (first & 7) < 6) {
        // Two bytes, up to the field 2047.
        reader.pos += 2;
        field = (first & 0x7f | second << 7) >>> 3;
        this.#type = first & 7;
      } else {
        [field, this.#type] = reader.tag();
      }
      if (!read(this, field, into)) reader.skip(this.#type, field);
    }
    if (reader.pos > end) throw new BadField("", "its last field is longer than the message around it");
    return true;
  }

  /** A nested message, read into `into`; what is wrong inside is told with the name of the field. */
  message<T>(name: string, read: FieldHandler<T>, into: T): void {
    const outer = this.#end;
    try {
      this.#end = this.#length();
      this.fields(read, into);
    } catch (error) {
      throw within(name, error);
    }
    this.#end = outer;
  }

  /** A text that hardly any other record has. */
  text(name: string): string {
    try {
      const end = this.#length();
      return this.#take(end);
    } catch (error) {
      throw within(name, error);
    }
  }

  /** A text that many records have; kept once. */
  sharedText(name: string): string {
    try {
      const end = this.#length();
      const text = this.#texts.find(this.#bytes, this.#reader.pos, end);
      if (text === undefined) return this.#texts.keep(this.#take(end));
      this.#reader.pos = end;
      return text;
    } catch (error) {
      throw within(name, error);
    }
  }

  /** Bytes as a view: of the buffer that is being read, so not to be kept. */
  view(name: string): Uint8Array {
    try {
      const end = this.#length();
      const view = this.#bytes.subarray(this.#reader.pos, end);
      this.#reader.pos = end;
      return view;
    } catch (error) {
      throw within(name, error);
    }
  }

  /** The canonical text of 4 or 16 bytes; of other bytes, which are no IP address, how many there are. */
  ip(name: string): string | number {
    try {
      const end = this.#length();
      const start = this.#reader.pos;
      this.#reader.pos = end;
      const length = end - start;
      return length === 4 || length === 16 ? readIp(this.#bytes, start, length) : length;
    } catch (error) {
      throw within(name, error);
    }
  }

  /** Passes over bytes and notes where they begin and end, for `begin` when they are wanted. */
  bounds(name: string, into: number[]): void {
    try {
      const end = this.#length();
      into.push(this.#reader.pos, end);
      this.#reader.pos = end;
    } catch (error) {
      throw within(name, error);
    }
  }

  /** uint32; more bits than 32 are cut off, as everywhere in protocol buffers. */
  uint32(name: string): number {
    return this.#varint(name, WireType.Varint);
  }

  /** An enum's number, which may be negative. */
  enumeration(name: string): number {
    return this.#varint(name, WireType.Varint) | 0;
  }

  bool(name: string): boolean {
    this.#expect(name, WireType.Varint);
    try {
      return this.#reader.bool();
    } catch (error) {
      throw within(name, error);
    }
  }

  /** One number of a repeated field, or many packed into one. Enums too, whose negative numbers come as 2³² − n. */
  numbers(name: string, into: number[]): void {
    if (this.#type === WireType.Varint) {
      into.push(this.#varint(name, WireType.Varint));
      return;
    }
    try {
      const end = this.#length();
      while (this.#reader.pos < end) into.push(this.#reader.uint32());
      if (this.#reader.pos > end) throw new BadField("", "its last number is longer than the field");
    } catch (error) {
      throw within(name, error);
    }
  }

  #varint(name: string, type: WireType): number {
    this.#expect(name, type);
    const reader = this.#reader;
    const first = this.#bytes[reader.pos];
    if (first !== undefined && first < 0x80) {
      reader.pos++;
      return first;
    }
    try {
      return reader.uint32();
    } catch (error) {
      throw within(name, error);
    }
  }

  /** The end of what starts here with its length. */
  #length(): number {
    this.#expect("", WireType.LengthDelimited);
    const reader = this.#reader;
    const length = reader.uint32();
    const left = this.#end - reader.pos;
    if (length > left) throw new BadField("", `truncated: ${length} bytes announced, ${Math.max(0, left)} left`);
    return reader.pos + length;
  }

  #expect(name: string, type: WireType): void {
    if (this.#type !== type) throw new BadField(name, `wire type ${this.#type}, not ${type}`);
  }

  /** The text from here to `end`. Throws where it is not UTF-8. */
  #take(end: number): string {
    const reader = this.#reader;
    const start = reader.pos;
    const bytes = this.#bytes;
    reader.pos = end;
    // Nearly all of it is ASCII, for which there is a cheaper way than a decoder.
    for (let i = start; i < end; i++) if (bytes[i]! >= 0x80) return decode(bytes.subarray(start, end));
    return bytes.toString("latin1", start, end);
  }
}

/**
 * Readers of messages of which many are in one memory, as the resources of a push are: one reader for all of them. It is
 * remembered weakly, since it holds the push.
 */
export class Readers {
  readonly #texts: TextCache;
  #last: WeakRef<FieldReader> | undefined = undefined;

  constructor(texts: TextCache) {
    this.#texts = texts;
  }

  /** At the beginning of `bytes`; what the one before it read must be done with. */
  over(bytes: Uint8Array): FieldReader {
    const known = this.#last?.deref();
    if (known?.covers(bytes) === true) {
      known.begin(bytes.byteOffset, bytes.byteOffset + bytes.length);
      return known;
    }
    const reader = new FieldReader(bytes, this.#texts);
    this.#last = new WeakRef(reader);
    return reader;
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new BadField("", "not UTF-8");
  }
}
