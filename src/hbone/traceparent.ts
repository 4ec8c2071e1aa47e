/** W3C Trace Context `traceparent`, version 00: only handed on, so that log lines of both sides can be matched. */

/** Random words for an id; injected in tests. */
export type RandomBytes = (length: number) => Uint8Array<ArrayBuffer>;

export interface TraceParent {
  /** 32 hex digits */
  readonly traceId: string;
  /** 16 hex digits */
  readonly parentId: string;
}

const LENGTH = 55;
const SHAPE = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length));
}

function hex(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) text += HEX[bytes[i]!];
  return text;
}

/** A new trace, one for each downstream connection. */
export function newTraceParent(random: RandomBytes = randomBytes): TraceParent {
  const bytes = random(24);
  return { traceId: hex(bytes, 0, 16), parentId: hex(bytes, 16, 24) };
}

export function formatTraceParent(trace: TraceParent): string {
  return `00-${trace.traceId}-${trace.parentId}-00`;
}

/** undefined for anything but 55 characters of version 00 with ids that are not all zero. */
export function parseTraceParent(header: string): TraceParent | undefined {
  if (header.length !== LENGTH) return undefined;
  const found = SHAPE.exec(header);
  if (found === null) return undefined;
  const [, traceId, parentId] = found;
  if (/^0+$/.test(traceId!) || /^0+$/.test(parentId!)) return undefined;
  return { traceId: traceId!, parentId: parentId! };
}
