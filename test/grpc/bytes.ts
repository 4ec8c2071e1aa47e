import { Buffer } from "node:buffer";

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat([...pieces]));
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A message as gRPC frames it, without the code under test. */
export function framed(message: Uint8Array | string): Uint8Array {
  const body = typeof message === "string" ? bytesOf(message) : message;
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return joined([head, body]);
}
