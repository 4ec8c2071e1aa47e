import { TOKEN } from "./characters.ts";

/** What a field means to the codec. */
export const Kind = {
  ORDINARY: 0,
  HOST: 1,
  CONTENT_LENGTH: 2,
  TRANSFER_ENCODING: 3,
  CONNECTION: 4,
  UPGRADE: 5,
  TE: 6,
  EXPECT: 7,
  /** Of this hop only, and of no other use. */
  DROPPED: 8,
} as const;

const KINDS: ReadonlyMap<string, number> = new Map<string, number>([
  ["host", Kind.HOST],
  ["content-length", Kind.CONTENT_LENGTH],
  ["transfer-encoding", Kind.TRANSFER_ENCODING],
  ["connection", Kind.CONNECTION],
  ["upgrade", Kind.UPGRADE],
  ["te", Kind.TE],
  ["expect", Kind.EXPECT],
  ["keep-alive", Kind.DROPPED],
  ["proxy-connection", Kind.DROPPED],
  ["http2-settings", Kind.DROPPED], // only ever about a connection (RFC 7540 §3.2.1)
]);

/** A name that was seen: its lower case form is made once. */
export interface FieldName {
  readonly lower: string;
  readonly kind: number;
  readonly hash: number;
}

const SLOTS = 1024; // a power of two; each holds one name, the one seen last
const slots: (FieldName | undefined)[] = new Array<FieldName | undefined>(SLOTS).fill(undefined);

/** The hash of a name after one more octet, in lower case as TOKEN has it. Starts with 0. */
export function hashOctet(hash: number, lower: number): number {
  return (Math.imul(hash, 31) + lower) | 0;
}

/** The name in bytes[start, end), all of them tchars, whose hash is known. */
export function fieldName(bytes: Uint8Array, start: number, end: number, hash: number): FieldName {
  const slot = (hash ^ (hash >>> 12)) & (SLOTS - 1);
  const known = slots[slot];
  if (known !== undefined && known.hash === hash) {
    const lower = known.lower;
    const length = end - start;
    if (lower.length === length) {
      let i = 0;
      while (i < length && lower.charCodeAt(i) === TOKEN[bytes[start + i]!]) i++;
      if (i === length) return known;
    }
  }
  let lower = "";
  for (let i = start; i < end; i++) lower += String.fromCharCode(TOKEN[bytes[i]!]!);
  const made: FieldName = { lower, kind: KINDS.get(lower) ?? Kind.ORDINARY, hash };
  slots[slot] = made;
  return made;
}
