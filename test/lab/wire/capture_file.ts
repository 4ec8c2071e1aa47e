/** Reading a capture file (libpcap's format, Ethernet) as far as TCP: who sent which bytes to whom, in order. */
import { ipFromBytes } from "../../../src/net/address.ts";

export interface Flow {
  /** `ip:port` of the sender and of the receiver. */
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  /** The bytes of this direction, in sequence, as far as the capture is without gaps. */
  readonly bytes: Uint8Array;
}

export interface CapturedTraffic {
  readonly packets: number;
  readonly flows: readonly Flow[];
}

const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const LITTLE_ENDIAN_MAGIC = [0xa1b2c3d4, 0xa1b23c4d];
const ETHERNET_HEADER = 14;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const IPV6_HEADER = 40;
const TCP = 6;

interface Segment {
  readonly sequence: number;
  readonly payload: Uint8Array;
}

interface Half {
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  segments: Segment[];
}

/** @throws Error when it is not such a file. A cut last packet is ignored: the capture was stopped there. */
export function readCapture(file: Uint8Array): CapturedTraffic {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < FILE_HEADER || !LITTLE_ENDIAN_MAGIC.includes(view.getUint32(0, true))) {
    throw new Error(`not a capture file (${file.length} bytes)`);
  }
  const halves = new Map<string, Half>();
  let packets = 0;
  let at = FILE_HEADER;
  while (at + PACKET_HEADER <= file.length) {
    const length = view.getUint32(at + 8, true);
    const packet = file.subarray(at + PACKET_HEADER, at + PACKET_HEADER + length);
    at += PACKET_HEADER + length;
    if (packet.length < length) break;
    if (addPacket(packet, halves)) packets++;
  }
  const flows = [...halves.values()].map(({ segments, ...ends }) => ({ ...ends, bytes: assemble(segments) }));
  return { packets, flows: flows.filter((flow) => flow.bytes.length > 0) };
}

function addPacket(packet: Uint8Array, halves: Map<string, Half>): boolean {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet.length < ETHERNET_HEADER + 20) return false;
  const type = view.getUint16(12);
  const ip = ETHERNET_HEADER;
  let tcp: number;
  let end: number;
  let addresses: [Uint8Array, Uint8Array];
  if (type === IPV4) {
    if (packet[ip + 9] !== TCP) return false;
    tcp = ip + ((packet[ip] ?? 0) & 15) * 4;
    // Zero for segments so large that the card (here: the kernel) was to cut them.
    end = view.getUint16(ip + 2) === 0 ? packet.length : ip + view.getUint16(ip + 2);
    addresses = [packet.subarray(ip + 12, ip + 16), packet.subarray(ip + 16, ip + 20)];
  } else if (type === IPV6 && packet[ip + 6] === TCP) {
    tcp = ip + IPV6_HEADER;
    end = view.getUint16(ip + 4) === 0 ? packet.length : tcp + view.getUint16(ip + 4);
    addresses = [packet.subarray(ip + 8, ip + 24), packet.subarray(ip + 24, ip + 40)];
  } else {
    return false;
  }
  const payload = packet.subarray(tcp + (((packet[tcp + 12] ?? 0) >> 4) * 4), Math.min(end, packet.length));
  const fromPort = view.getUint16(tcp);
  const toPort = view.getUint16(tcp + 2);
  const from = `${ipFromBytes(addresses[0])}:${fromPort}`;
  const to = `${ipFromBytes(addresses[1])}:${toPort}`;
  const key = `${from}>${to}`;
  const half = halves.get(key) ?? { from, to, fromPort, toPort, segments: [] };
  halves.set(key, half);
  if (payload.length > 0) half.segments.push({ sequence: view.getUint32(tcp + 4), payload });
  return true;
}

/** Puts segments in order, without repeats; stops at the first gap. */
function assemble(segments: readonly Segment[]): Uint8Array {
  const first = segments[0];
  if (first === undefined) return new Uint8Array(0);
  // Sequence numbers wrap around: compare by distance from the first.
  const distance = (segment: Segment) => (segment.sequence - first.sequence) | 0;
  const sorted = segments.toSorted((a, b) => distance(a) - distance(b));
  const start = distance(sorted[0] as Segment);
  const parts: Uint8Array[] = [];
  let next = start;
  for (const segment of sorted) {
    const overlap = next - distance(segment);
    if (overlap < 0) break;
    if (overlap >= segment.payload.length) continue;
    parts.push(segment.payload.subarray(overlap));
    next += segment.payload.length - overlap;
  }
  const all = new Uint8Array(next - start);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Why these bytes are not a sequence of TLS records (the last may be cut); undefined when they are. */
export function notTls(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 5 <= bytes.length) {
    const type = bytes[at] ?? 0;
    const version = view.getUint16(at + 1);
    const length = view.getUint16(at + 3);
    // RFC 8446 §5.1: change_cipher_spec, alert, handshake, application_data; at most 2^14 + 256 bytes.
    if (type < 20 || type > 23 || version < 0x0301 || version > 0x0303 || length > (1 << 14) + 256) {
      return `no TLS record at byte ${at}: type ${type}, version 0x${version.toString(16)}, length ${length}`;
    }
    at += 5 + length;
  }
  return undefined;
}

export function contains(bytes: Uint8Array, marker: string): boolean {
  return new TextDecoder("latin1").decode(bytes).includes(marker);
}
