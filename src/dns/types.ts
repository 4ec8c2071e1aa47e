/** DNS messages as values (RFC 1035 §4). */

/** QTYPE and TYPE numbers that something here depends on (IANA, "Resource Record (RR) TYPEs"). */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

export const OPCODE_QUERY = 0;

/** Answer codes (RFC 1035 §4.1.1, RFC 6891 §9). */
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

/** Longest message: its length is two bytes over TCP (RFC 1035 §4.2.2). */
export const MAX_MESSAGE = 65_535; // bytes
/** Longest UDP message where the other side has not said that it takes more (RFC 1035 §4.2.1). */
export const UDP_MESSAGE = 512; // bytes

/**
 * Domain names are texts in the presentation format with their final dot: `www.example.com.`, the root `.`. In a label
 * a dot, a backslash and what is not printable ASCII are escaped as `\.`, `\\` and `\DDD`; case is kept.
 */
export type DomainName = string;

export interface Question {
  readonly name: DomainName;
  readonly type: number;
  readonly class: number;
}

/**
 * Data of a record: raw bytes and, where its type has domain names, those as names. So a record can be written into
 * another message, where compression pointers of the first one would point anywhere.
 */
export type RecordData = readonly (Uint8Array | DomainName)[];

export interface ResourceRecord {
  readonly name: DomainName;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** The OPT pseudo-record (RFC 6891 §6.1). Its options belong to one hop and are not kept. */
export interface Edns {
  /** Longest UDP message that the sender takes, bytes. */
  readonly payloadSize: number;
  readonly version: number;
  /** The DO bit. */
  readonly dnssecOk: boolean;
}

export interface Header {
  readonly id: number;
  /** QR: an answer, not a query. */
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** With the upper bits of OPT, where there is one. */
  readonly rcode: number;
}

export interface Message extends Header {
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without OPT, which is `edns`. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns: Edns | undefined;
}

/** What of a query matters: its header, its one question and what the client takes as an answer. */
export interface Query extends Header {
  readonly question: Question;
  readonly edns: Edns | undefined;
}

/** `header` is what could be read of it: undefined for less than the twelve bytes. */
export interface Malformed {
  readonly ok: false;
  readonly error: string;
  readonly header: Header | undefined;
}

const TYPE_NAMES = new Map<number, string>([
  ...Object.entries(TYPE).map(([name, number]): [number, string] => [number, name]),
  [13, "HINFO"],
  [35, "NAPTR"],
  [39, "DNAME"],
  [43, "DS"],
  [46, "RRSIG"],
  [47, "NSEC"],
  [48, "DNSKEY"],
  [52, "TLSA"],
  [64, "SVCB"],
  [65, "HTTPS"],
  [257, "CAA"],
]);

/** `A`, `AAAA`, …; `TYPE65280` for a number without a name here (RFC 3597 §5). */
export function typeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `TYPE${type}`;
}

const RCODE_NAMES = new Map<number, string>(
  Object.entries(RCODE).map(([name, number]): [number, string] => [number, name]),
);

/** `NXDOMAIN`, …; `RCODE9` for a number without a name here. */
export function rcodeName(rcode: number): string {
  return RCODE_NAMES.get(rcode) ?? `RCODE${rcode}`;
}
