import { Buffer } from "node:buffer";

/** The parts of a ClientHello (RFC 8446 §4.1.2) that a mesh's TLS policy decides. */
export interface ClientHello {
  readonly sessionIdLength: number;
  readonly cipherSuites: number[];
  /** Extension numbers in order. */
  readonly extensions: number[];
  readonly alpn: string[];
  readonly groups: number[];
  readonly keyShares: number[];
  readonly versions: number[];
}

export const EXTENSION = { serverName: 0, sessionTicket: 35, preSharedKey: 41 } as const;

/** Reads the first TLS record of a connection. */
export function parseClientHello(record: Buffer): ClientHello {
  if (record[0] !== 22 || record[5] !== 1) throw new Error(`not a ClientHello: ${record.toString("hex", 0, 8)}`);
  let at = 9 + 2 + 32; // record and handshake headers, legacy_version, random
  const sessionIdLength = record.readUInt8(at);
  at += 1 + sessionIdLength;
  const cipherSuites = words(record.subarray(at + 2, at + 2 + record.readUInt16BE(at)));
  at += 2 + record.readUInt16BE(at);
  at += 1 + record.readUInt8(at); // compression methods
  const bodies = new Map<number, Buffer>();
  for (at += 2; at < record.length;) {
    const length = record.readUInt16BE(at + 2);
    bodies.set(record.readUInt16BE(at), record.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  const body = (extension: number, skip: number) => bodies.get(extension)?.subarray(skip) ?? Buffer.alloc(0);
  return {
    sessionIdLength,
    cipherSuites,
    extensions: [...bodies.keys()],
    alpn: names(body(16, 2)),
    groups: words(body(10, 2)),
    keyShares: shares(body(51, 2)),
    versions: words(body(43, 1)),
  };
}

function words(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readUInt16BE(2 * i));
}

function names(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt8(at)) {
    found.push(bytes.toString("latin1", at + 1, at + 1 + bytes.readUInt8(at)));
  }
  return found;
}

function shares(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt16BE(at + 2)) found.push(bytes.readUInt16BE(at));
  return found;
}
