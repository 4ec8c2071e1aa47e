/** Short ways to write messages. */
import { type Edns, type Message, type ResourceRecord, TYPE } from "../../src/dns/mod.ts";
import { ipToBytes, isIpv4 } from "../../src/net/address.ts";

export function message(given: Partial<Message> = {}): Message {
  return {
    id: 0x1234,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [],
    answers: [],
    authorities: [],
    additionals: [],
    edns: undefined,
    ...given,
  };
}

export function query(name: string, type: number = TYPE.A, given: Partial<Message> = {}): Message {
  return message({ questions: [{ name, type, class: 1 }], ...given });
}

export function record(name: string, type: number, data: ResourceRecord["data"], ttl = 60): ResourceRecord {
  return { name, type, class: 1, ttl, data };
}

/** A or AAAA. */
export function address(name: string, ip: string, ttl = 60): ResourceRecord {
  return record(name, isIpv4(ip) ? TYPE.A : TYPE.AAAA, [ipToBytes(ip)], ttl);
}

export function soa(name: string, ttl: number, minimum: number): ResourceRecord {
  const numbers = new Uint8Array(20);
  new DataView(numbers.buffer).setUint32(16, minimum);
  return record(name, TYPE.SOA, [`ns.${name}`, `admin.${name}`, numbers], ttl);
}

export const EDNS: Edns = { payloadSize: 1232, version: 0, dnssecOk: false };

export function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(/\s/g, ""));
}

/** A generator of random numbers that starts anew with each seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
