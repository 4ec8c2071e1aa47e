import { Buffer } from "node:buffer";
import { Flag, FRAME_HEADER_SIZE, FrameType, PREFACE, writeFrameHeader, writeUint32 } from "./frames.ts";
import type { OutputQueue } from "./output.ts";
import { DEFAULT_HEADER_TABLE_SIZE, DEFAULT_WINDOW_SIZE, MIN_MAX_FRAME_SIZE, SettingId } from "./settings.ts";
import type { Http2Options, Role } from "./types.ts";

/** Payloads from this size on are queued by reference; copying smaller ones is cheaper than another write. */
export const BY_REFERENCE = 32 << 10; // bytes

export const MAX_DEBUG_DATA = 256; // bytes of GOAWAY debug text that we send or read

function control(output: OutputQueue, length: number, type: number, flags: number, streamId: number): number {
  const at = output.reserve(FRAME_HEADER_SIZE + length);
  writeFrameHeader(output.buffer, at, length, type, flags, streamId);
  return at + FRAME_HEADER_SIZE;
}

/** Writes the client's preface (if any), our SETTINGS, and the WINDOW_UPDATE that raises the connection's window. */
export function writeStart(output: OutputQueue, role: Role, options: Http2Options): void {
  if (role === "client") {
    const at = output.reserve(PREFACE.length);
    output.buffer.set(PREFACE, at);
  }
  const settings: number[] = [];
  const tableSize = options.headerTableSize ?? DEFAULT_HEADER_TABLE_SIZE;
  if (tableSize !== DEFAULT_HEADER_TABLE_SIZE) settings.push(SettingId.HEADER_TABLE_SIZE, tableSize);
  if (role === "client") settings.push(SettingId.ENABLE_PUSH, 0);
  if (role === "server" && options.maxConcurrentStreams !== undefined) {
    settings.push(SettingId.MAX_CONCURRENT_STREAMS, options.maxConcurrentStreams);
  }
  if (options.initialWindowSize !== DEFAULT_WINDOW_SIZE) {
    settings.push(SettingId.INITIAL_WINDOW_SIZE, options.initialWindowSize);
  }
  if (options.maxFrameSize !== MIN_MAX_FRAME_SIZE) settings.push(SettingId.MAX_FRAME_SIZE, options.maxFrameSize);
  settings.push(SettingId.MAX_HEADER_LIST_SIZE, options.maxHeaderListSize);
  if (role === "server" && options.enableConnectProtocol === true) {
    settings.push(SettingId.ENABLE_CONNECT_PROTOCOL, 1);
  }
  let at = control(output, settings.length * 3, FrameType.SETTINGS, 0, 0);
  for (let i = 0; i < settings.length; i += 2, at += 6) {
    output.buffer[at] = 0;
    output.buffer[at + 1] = settings[i]!;
    writeUint32(output.buffer, at + 2, settings[i + 1]!);
  }
  const raise = options.connectionWindowSize - DEFAULT_WINDOW_SIZE;
  if (raise > 0) writeWindowUpdate(output, 0, raise);
}

export function writeSettingsAck(output: OutputQueue): void {
  control(output, 0, FrameType.SETTINGS, Flag.ACK, 0);
}

/** Writes PING with the eight octets of `payload` at `from`. */
export function writePing(output: OutputQueue, payload: Uint8Array, from: number, ack: boolean): void {
  const at = control(output, 8, FrameType.PING, ack ? Flag.ACK : 0, 0);
  for (let i = 0; i < 8; i++) output.buffer[at + i] = payload[from + i]!;
}

export function writeWindowUpdate(output: OutputQueue, streamId: number, increment: number): void {
  const at = control(output, 4, FrameType.WINDOW_UPDATE, 0, streamId);
  writeUint32(output.buffer, at, increment);
}

export function writeReset(output: OutputQueue, streamId: number, code: number): void {
  const at = control(output, 4, FrameType.RST_STREAM, 0, streamId);
  writeUint32(output.buffer, at, code);
}

/** Writes GOAWAY; debug text beyond 256 octets is cut. */
export function writeGoaway(output: OutputQueue, lastStreamId: number, code: number, debug: string): void {
  const text = Buffer.from(debug, "utf8").subarray(0, MAX_DEBUG_DATA);
  const at = control(output, 8 + text.length, FrameType.GOAWAY, 0, 0);
  writeUint32(output.buffer, at, lastStreamId);
  writeUint32(output.buffer, at + 4, code);
  output.buffer.set(text, at + 8);
}

/** Writes a header block of `length` octets as HEADERS and as many CONTINUATION as the peer's frame size asks for. */
export function writeHeaderBlock(
  output: OutputQueue,
  streamId: number,
  block: Uint8Array,
  length: number,
  endStream: boolean,
  maxFrameSize: number,
): void {
  const frames = Math.max(1, Math.ceil(length / maxFrameSize));
  let at = output.reserve(length + frames * FRAME_HEADER_SIZE);
  const to = output.buffer;
  for (let i = 0, from = 0; i < frames; i++) {
    const size = Math.min(length - from, maxFrameSize);
    const flags = (i === frames - 1 ? Flag.END_HEADERS : 0) | (i === 0 && endStream ? Flag.END_STREAM : 0);
    writeFrameHeader(to, at, size, i === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, flags, streamId);
    to.set(block.subarray(from, from + size), at + FRAME_HEADER_SIZE);
    from += size;
    at += FRAME_HEADER_SIZE + size;
  }
}

/**
 * Writes one DATA frame with `chunk[from..to)`. Of a payload that goes by reference, as much is copied behind the frame
 * header as fills a TLS record: a write of nine octets alone would cost as much as one of 16 KiB.
 */
export function writeData(
  output: OutputQueue,
  streamId: number,
  chunk: Uint8Array,
  from: number,
  to: number,
  endStream: boolean,
): void {
  const size = to - from;
  const copied = size >= BY_REFERENCE ? output.recordRoom(FRAME_HEADER_SIZE) : size;
  const at = output.reserve(FRAME_HEADER_SIZE + copied);
  const buffer = output.buffer;
  writeFrameHeader(buffer, at, size, FrameType.DATA, endStream ? Flag.END_STREAM : 0, streamId);
  if (copied > 0) {
    buffer.set(copied === chunk.length ? chunk : chunk.subarray(from, from + copied), at + FRAME_HEADER_SIZE);
  }
  if (copied < size) output.append(chunk.subarray(from + copied, to));
}
