/** Counts the messages in a gRPC body: five octets (a flag, the length) before each (gRPC over HTTP/2). */
export class GrpcMessageCounter {
  count = 0;
  /** Octets of the current prefix that were seen. */
  #prefix = 0;
  #length = 0;
  /** Octets of the current message that are to come. */
  #left = 0;

  add(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      const octet = chunk[at++] as number;
      this.#length = this.#prefix === 0 ? 0 : this.#length * 256 + octet;
      if (++this.#prefix < 5) continue;
      this.#prefix = 0;
      this.#left = this.#length;
      this.count++;
    }
  }
}
