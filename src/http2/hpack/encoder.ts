import { Buffer } from "node:buffer";
import type { HeaderList } from "../types.ts";
import { DynamicTable, ENTRY_OVERHEAD } from "./dynamic_table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { writeInteger } from "./integer.ts";
import { STATIC_LENGTH, STATIC_NAMES } from "./static_table.ts";

/** Fields that no hop may index, so that nothing can be guessed from sizes (RFC 7541 §7.1.3). */
const SENSITIVE: ReadonlySet<string> = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie"]);

/** Fields whose values hardly repeat: indexing them would only push out others. */
const UNREPEATED: ReadonlySet<string> = new Set([
  ":path",
  "age",
  "content-length",
  "content-range",
  "date",
  "etag",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "traceparent",
  "tracestate",
  "x-b3-spanid",
  "x-b3-traceid",
  "x-request-id",
]);

/** A larger share of the table than this for one entry would push out too much: 3/4. */
const MAX_SHARE = 0.75;

const BLOCK_KEPT = 64 << 10; // bytes
let block = Buffer.allocUnsafeSlow(4096); // the block being written; shared by a thread, as no block outlives its call

interface IndexedName {
  ordinal: number; // of the newest entry with this name
  readonly values: Map<string, number>; // value → ordinal
}

/** Encodes header blocks (RFC 7541 §3.1). One for each direction of a connection; blocks must be sent in order. */
export class HpackEncoder {
  /** Length of the block that `encode` wrote last. */
  length = 0;
  readonly #table: DynamicTable;
  #names: Map<string, IndexedName> | undefined;
  readonly #ownLimit: number;
  #smallest = -1; // smallest table size that was announced and not told yet, or -1

  /** `ownLimit`: bytes of dynamic table to use at most, whatever the peer allows. */
  constructor(ownLimit: number) {
    this.#ownLimit = ownLimit;
    this.#table = new DynamicTable(ownLimit, (name, value, ordinal) => this.#forget(name, value, ordinal));
  }

  /** Takes the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells the decoder (RFC 7541 §4.2). */
  setPeerLimit(tableSize: number): void {
    const size = Math.min(tableSize, this.#ownLimit);
    if (size === this.#table.maxSize && this.#smallest < 0) return;
    this.#smallest = this.#smallest < 0 ? size : Math.min(this.#smallest, size);
    this.#table.resize(size);
  }

  /** Encodes a list; the block is `length` octets of the returned buffer, valid until the next encode of any encoder. */
  encode(list: HeaderList): Uint8Array {
    let at = 0;
    if (this.#smallest >= 0) {
      if (this.#smallest < this.#table.maxSize) at = writeInteger(block, at, this.#smallest, 5, 0x20);
      at = writeInteger(block, at, this.#table.maxSize, 5, 0x20);
      this.#smallest = -1;
    }
    for (let i = 0; i < list.length; i++) {
      const field = list[i]!;
      at = this.#field(at, field[0], field[1]);
    }
    this.length = at;
    const written = block;
    if (written.length > BLOCK_KEPT) block = Buffer.allocUnsafeSlow(4096);
    return written;
  }

  #field(at: number, name: string, value: string): number {
    const fixed = STATIC_NAMES.get(name);
    if (fixed !== undefined) {
      const index = fixed.values.get(value);
      if (index !== undefined) {
        ensure(at, 1);
        block[at] = 0x80 | index;
        return at + 1;
      }
    }
    const known = this.#names?.get(name);
    if (known !== undefined) {
      const ordinal = known.values.get(value);
      if (ordinal !== undefined) {
        ensure(at, 8);
        return writeInteger(block, at, STATIC_LENGTH + 1 + this.#table.added - ordinal, 7, 0x80);
      }
    }
    if (!isOctets(value)) value = utf8Octets(value);
    const nameIndex = fixed !== undefined
      ? fixed.index
      : known !== undefined
      ? STATIC_LENGTH + 1 + this.#table.added - known.ordinal
      : 0;
    ensure(at, 8);
    if (SENSITIVE.has(name)) {
      at = writeInteger(block, at, nameIndex, 4, 0x10);
    } else if (
      UNREPEATED.has(name) || name.length + value.length + ENTRY_OVERHEAD > this.#table.maxSize * MAX_SHARE
    ) {
      at = writeInteger(block, at, nameIndex, 4, 0x00);
    } else {
      at = writeInteger(block, at, nameIndex, 6, 0x40);
      this.#index(name, value);
    }
    if (nameIndex === 0) at = writeString(at, name);
    return writeString(at, value);
  }

  #index(name: string, value: string): void {
    if (!this.#table.add(name, value)) return;
    const names = this.#names ??= new Map();
    const ordinal = this.#table.added;
    const entry = names.get(name);
    if (entry === undefined) {
      names.set(name, { ordinal, values: new Map([[value, ordinal]]) });
    } else {
      entry.ordinal = ordinal;
      entry.values.set(value, ordinal);
    }
  }

  #forget(name: string, value: string, ordinal: number): void {
    const entry = this.#names?.get(name);
    if (entry === undefined) return;
    if (entry.values.get(value) === ordinal) entry.values.delete(value);
    if (entry.ordinal === ordinal) this.#names!.delete(name);
  }
}

function ensure(at: number, bytes: number): void {
  if (at + bytes <= block.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(block.length * 2, at + bytes));
  block.copy(larger, 0, 0, at);
  block = larger;
}

/** Writes a string literal (RFC 7541 §5.2), in Huffman code when that is shorter. */
function writeString(at: number, text: string): number {
  const length = text.length;
  ensure(at, 2 * length + 16);
  const raw = at + length + 8; // behind the room for the encoded form, which is at most as long
  for (let i = 0; i < length; i++) block[raw + i] = text.charCodeAt(i);
  const coded = huffmanLength(block, raw, raw + length);
  if (coded < length) {
    at = writeInteger(block, at, coded, 7, 0x80);
    return encodeHuffman(block, raw, raw + length, block, at);
  }
  at = writeInteger(block, at, length, 7, 0x00);
  block.copyWithin(at, raw, raw + length);
  return at + length;
}

function isOctets(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0xff) return false;
  }
  return true;
}

/** Text that is no octets was not received but configured: it goes as UTF-8. */
function utf8Octets(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
