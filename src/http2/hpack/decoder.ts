import { Buffer } from "node:buffer";
import type { HeaderList } from "../types.ts";
import { DynamicTable, ENTRY_OVERHEAD } from "./dynamic_table.ts";
import { decodeHuffman, MAX_EXPANSION } from "./huffman.ts";
import { type Cursor, readInteger } from "./integer.ts";
import { STATIC_LENGTH, STATIC_TABLE } from "./static_table.ts";

/** Decoded Huffman strings pass through here, one at a time; grown on demand, shared by a thread. */
let scratch = Buffer.allocUnsafeSlow(4096);
const SCRATCH_KEPT = 64 << 10; // bytes

const SHORT_STRING = 12; // octets up to which building a string by hand beats the call into the runtime

function latin1(bytes: Uint8Array, at: number, end: number): string {
  if (end - at <= SHORT_STRING) {
    let text = "";
    for (let i = at; i < end; i++) text += String.fromCharCode(bytes[i]!);
    return text;
  }
  return Buffer.prototype.latin1Slice.call(bytes, at, end);
}

/** Decodes header blocks (RFC 7541 §3.2). One for each direction of a connection, fed with every block in order. */
export class HpackDecoder {
  /** Why `decode` answered undefined. */
  error = "";
  /** Whether the last block was larger than its limit; its list holds what came before the limit. */
  tooLarge = false;
  readonly #table: DynamicTable;
  #limit: number; // largest table size that an update may ask for
  #updateDue = false; // our limit went below the table's size: the next block must begin with an update
  readonly #cursor: Cursor = { bytes: scratch, at: 0, end: 0 };

  /** `tableSize`: our SETTINGS_HEADER_TABLE_SIZE in bytes. */
  constructor(tableSize: number) {
    this.#table = new DynamicTable(tableSize);
    this.#limit = tableSize;
  }

  /** Bytes that the dynamic table holds now, as counted by RFC 7541 §4.1. */
  get tableSize(): number {
    return this.#table.size;
  }

  /** Takes a new SETTINGS_HEADER_TABLE_SIZE of ours, once the peer has acknowledged it. */
  setLimit(tableSize: number): void {
    this.#limit = tableSize;
    this.#updateDue = tableSize < this.#table.maxSize;
  }

  /**
   * Decodes the block `bytes[at..end)`. Fields beyond `maxListSize` (bytes, RFC 9113 §6.5.2) are decoded for the
   * table's sake and left out; `tooLarge` then tells. undefined: a decoding error, the connection cannot go on.
   */
  decode(bytes: Uint8Array, at: number, end: number, maxListSize: number): HeaderList | undefined {
    const cursor = this.#cursor;
    cursor.bytes = bytes;
    cursor.at = at;
    cursor.end = end;
    this.tooLarge = false;
    const list: HeaderList = [];
    const done = this.#fields(cursor, list, maxListSize);
    cursor.bytes = scratch; // do not hold the peer's bytes
    return done ? list : undefined;
  }

  #fields(cursor: Cursor, list: HeaderList, maxListSize: number): boolean {
    const table = this.#table;
    let size = 0;
    let first = true;
    while (cursor.at < cursor.end) {
      const octet = cursor.bytes[cursor.at]!;
      if ((octet & 0xe0) === 0x20) {
        if (!first) return this.#fail("table size update after a field");
        if (!this.#sizeUpdate(cursor)) return false;
        continue;
      }
      if (this.#updateDue) return this.#fail("no table size update after SETTINGS_HEADER_TABLE_SIZE was reduced");
      first = false;
      let name: string;
      let value: string;
      if (octet >= 0x80) {
        const index = readInteger(cursor, 7);
        if (index <= 0) return this.#fail("field index 0, cut off or too large");
        if (index <= STATIC_LENGTH) {
          const entry = STATIC_TABLE[index]!;
          name = entry[0];
          value = entry[1];
        } else {
          const back = index - STATIC_LENGTH - 1;
          if (back >= table.length) return this.#fail(`field index ${index} beyond the table`);
          name = table.name(back);
          value = table.value(back);
        }
      } else {
        const indexing = octet >= 0x40;
        const literalName = this.#name(cursor, indexing ? 6 : 4);
        if (literalName === undefined) return false;
        name = literalName;
        const literalValue = this.#string(cursor);
        if (literalValue === undefined) return false;
        value = literalValue;
        if (indexing) table.add(name, value);
      }
      size += name.length + value.length + ENTRY_OVERHEAD;
      if (size <= maxListSize) list.push([name, value]);
      else this.tooLarge = true;
    }
    return true;
  }

  #sizeUpdate(cursor: Cursor): boolean {
    const size = readInteger(cursor, 5);
    if (size < 0) return this.#fail("table size update cut off or too large");
    if (size > this.#limit) return this.#fail(`table size update to ${size} above the limit ${this.#limit}`);
    this.#table.resize(size);
    this.#updateDue = false;
    return true;
  }

  #name(cursor: Cursor, bits: number): string | undefined {
    const index = readInteger(cursor, bits);
    if (index === 0) return this.#string(cursor);
    if (index > 0 && index <= STATIC_LENGTH) return STATIC_TABLE[index]![0];
    const back = index - STATIC_LENGTH - 1;
    if (index > 0 && back < this.#table.length) return this.#table.name(back);
    this.#fail(index < 0 ? "name index cut off or too large" : `name index ${index} beyond the table`);
    return undefined;
  }

  #string(cursor: Cursor): string | undefined {
    if (cursor.at >= cursor.end) {
      this.#fail("string cut off");
      return undefined;
    }
    const { bytes } = cursor;
    const huffman = bytes[cursor.at]! >= 0x80;
    const length = readInteger(cursor, 7);
    const at = cursor.at;
    const end = at + length;
    if (length < 0 || end > cursor.end) {
      this.#fail("string length cut off or beyond the block");
      return undefined;
    }
    cursor.at = end;
    if (!huffman) return latin1(bytes, at, end);
    const room = Math.ceil(length * MAX_EXPANSION);
    let to = scratch;
    if (room > to.length) {
      to = Buffer.allocUnsafeSlow(room);
      if (room <= SCRATCH_KEPT) scratch = to;
    }
    const decoded = decodeHuffman(bytes, at, end, to);
    if (decoded < 0) {
      this.#fail("Huffman code with a wrong padding or EOS");
      return undefined;
    }
    return latin1(to, 0, decoded);
  }

  #fail(error: string): false {
    this.error = error;
    return false;
  }
}
