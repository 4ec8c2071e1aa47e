import { Buffer } from "node:buffer";

/** Names are in so many tables, none of which is built anew at once with all the others. A power of two. */
const SHARDS = 64;

/**
 * What is known of many names: names → versions. In no particular order. They are read when a stream begins and never
 * else, so they are kept as bytes: two texts for each of 70 000 resources are what the garbage collector looks at in every
 * full collection.
 */
export class Versions implements Iterable<readonly [name: string, version: string]> {
  readonly #shards = Array.from({ length: SHARDS }, () => new Shard());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(name: string): boolean {
    const hash = hashOf(name);
    return this.#shard(hash).has(name, hash);
  }

  set(name: string, version: string): void {
    const hash = hashOf(name);
    if (this.#shard(hash).set(name, hash, version)) this.#size++;
  }

  delete(name: string): void {
    const hash = hashOf(name);
    if (this.#shard(hash).delete(name, hash)) this.#size--;
  }

  /** A part is read as it is when the iteration comes to it. */
  *[Symbol.iterator](): Generator<readonly [name: string, version: string]> {
    for (const shard of this.#shards) yield* shard.entries();
  }

  #shard(hash: number): Shard {
    return this.#shards[hash & (SHARDS - 1)]!;
  }
}

/** Nobody who chooses names can know which of them meet. */
const SEED = crypto.getRandomValues(new Uint32Array(1))[0]!;

function hashOf(name: string): number {
  return Bun.hash.xxHash32(name, SEED) | 0;
}

const FIRST_PLACES = 8;
/** Lengths of name and version, 32 bits each, before the two. */
const HEADER = 8;
/** Marks of places; all else is where an entry begins. */
const EMPTY = -1;
const DELETED = -2;

/** The name that is looked for, in UTF-8; of a longer one the memory is not kept. */
const USUAL = 4096;
let wanted = Buffer.allocUnsafe(USUAL);
let wantedLength = 0;

/** A hash table with open addressing over one piece of memory; what is replaced stays there until it is built anew. */
class Shard {
  #bytes = Buffer.alloc(0);
  #end = 0;
  /** Of `#end`: bytes of entries that are there no more. */
  #lost = 0;
  /** A power of two of places. */
  #places = new Int32Array(FIRST_PLACES).fill(EMPTY);
  #hashes = new Int32Array(FIRST_PLACES);
  /** Places that are not empty. */
  #used = 0;

  has(name: string, hash: number): boolean {
    want(name);
    return this.#find(hash) >= 0;
  }

  /** True: it is new. */
  set(name: string, hash: number, version: string): boolean {
    want(name);
    const known = this.#find(hash);
    if (known >= 0) this.#lost += entryLength(this.#bytes, this.#places[known]!);
    const start = this.#append(version);
    if (known >= 0) this.#places[known] = start;
    else this.#put(start, hash);
    this.#tidy();
    return known < 0;
  }

  /** True: it was there. */
  delete(name: string, hash: number): boolean {
    want(name);
    const place = this.#find(hash);
    if (place < 0) return false;
    this.#lost += entryLength(this.#bytes, this.#places[place]!);
    this.#places[place] = DELETED;
    this.#tidy();
    return true;
  }

  entries(): [name: string, version: string][] {
    const entries: [string, string][] = [];
    for (const start of this.#places) {
      if (start < 0) continue;
      const name = start + HEADER;
      const version = name + this.#bytes.readUint32LE(start);
      const end = version + this.#bytes.readUint32LE(start + 4);
      entries.push([this.#bytes.toString("utf8", name, version), this.#bytes.toString("utf8", version, end)]);
    }
    return entries;
  }

  /** The place of the wanted name; −1: not here. */
  #find(hash: number): number {
    const mask = this.#places.length - 1;
    for (let place = firstPlace(hash) & mask;; place = (place + 1) & mask) {
      const start = this.#places[place]!;
      if (start === EMPTY) return -1;
      if (start !== DELETED && this.#hashes[place] === hash && this.#isAt(start)) return place;
    }
  }

  #isAt(start: number): boolean {
    const name = start + HEADER;
    return this.#bytes.readUint32LE(start) === wantedLength &&
      this.#bytes.compare(wanted, 0, wantedLength, name, name + wantedLength) === 0;
  }

  /** Writes the wanted name and its version at the end, and tells where. */
  #append(version: string): number {
    const start = this.#end;
    const length = Buffer.byteLength(version);
    const end = start + HEADER + wantedLength + length;
    if (end > this.#bytes.length) {
      const before = this.#bytes;
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(1024, Math.floor(end * 1.5)));
      before.copy(this.#bytes, 0, 0, start);
    }
    this.#bytes.writeUint32LE(wantedLength, start);
    this.#bytes.writeUint32LE(length, start + 4);
    wanted.copy(this.#bytes, start + HEADER, 0, wantedLength);
    this.#bytes.write(version, start + HEADER + wantedLength, "utf8");
    this.#end = end;
    return start;
  }

  #put(start: number, hash: number): void {
    const mask = this.#places.length - 1;
    let place = firstPlace(hash) & mask;
    while (this.#places[place] !== EMPTY) place = (place + 1) & mask;
    this.#places[place] = start;
    this.#hashes[place] = hash;
    this.#used++;
  }

  /** Builds it anew where places run out, or half of the memory is lost. */
  #tidy(): void {
    if (this.#used * 4 <= this.#places.length * 3 && this.#lost * 2 <= this.#end + 1024) return;
    const [bytes, places, hashes] = [this.#bytes, this.#places, this.#hashes];
    let count = 0;
    for (const start of places) if (start >= 0) count++;
    let room = FIRST_PLACES;
    while (count * 2 > room) room *= 2;
    const live = this.#end - this.#lost;
    this.#bytes = Buffer.allocUnsafeSlow(live + (live >>> 2));
    this.#places = new Int32Array(room).fill(EMPTY);
    this.#hashes = new Int32Array(room);
    [this.#end, this.#lost, this.#used] = [0, 0, 0];
    for (let place = 0; place < places.length; place++) {
      const start = places[place]!;
      if (start < 0) continue;
      const length = entryLength(bytes, start);
      bytes.copy(this.#bytes, this.#end, start, start + length);
      this.#put(this.#end, hashes[place]!);
      this.#end += length;
    }
  }
}

function entryLength(bytes: Buffer, start: number): number {
  return HEADER + bytes.readUint32LE(start) + bytes.readUint32LE(start + 4);
}

/** The bits that chose the shard are the same in all of it. */
function firstPlace(hash: number): number {
  return hash >>> 6;
}

function want(name: string): void {
  // Three bytes at most for each of its characters.
  const room = Math.max(USUAL, name.length * 3);
  if (room !== wanted.length) wanted = Buffer.allocUnsafe(room);
  wantedLength = wanted.write(name, 0, "utf8");
}
