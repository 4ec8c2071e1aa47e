/** Length-prefixed pieces: protobuf fields that are put together from ready bytes, and gRPC's frames. */

/** Bytes of a protobuf field with the wire type "length delimited": tag, length, and then the value follows. */
export function fieldHead(field: number, length: number): Uint8Array {
  const bytes: number[] = [(field << 3) | 2];
  let rest = length;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** The five bytes before a message (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export function messageHead(length: number): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return head;
}

/** Takes gRPC messages out of what has arrived. */
export class MessageReader {
  #pieces: Buffer[] = [];
  #length = 0;

  /** @throws RangeError for a message above `limit` bytes, Error for a compressed one */
  *read(chunk: Buffer, limit: number): Generator<Buffer> {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= 5) {
      const head = this.#take(5);
      const size = head.readUInt32BE(1);
      if (head[0] !== 0) throw new Error("compressed message without grpc-encoding");
      if (size > limit) throw new RangeError(`grpc: received message larger than max (${size} vs. ${limit})`);
      if (this.#length < size) {
        this.#pieces.unshift(head);
        this.#length += 5;
        return;
      }
      yield this.#take(size);
    }
  }

  #take(bytes: number): Buffer {
    const all = this.#pieces.length === 1 ? this.#pieces[0] ?? Buffer.alloc(0) : Buffer.concat(this.#pieces);
    this.#pieces = [all.subarray(bytes)];
    this.#length -= bytes;
    return all.subarray(0, bytes);
  }
}
