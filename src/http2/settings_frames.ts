import { ErrorCode } from "./errors.ts";
import { MAX_WINDOW } from "./flow_control.ts";
import { readUint32 } from "./frames.ts";
import type { Session } from "./session.ts";
import { MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE, SettingId } from "./settings.ts";

/** Applies the entries of a SETTINGS frame in their order (RFC 9113 §6.5.3). False: the connection has failed. */
export function applySettings<T>(session: Session<T>, bytes: Uint8Array, at: number, end: number): boolean {
  const peer = session.peerSettings;
  const window = peer.initialWindowSize;
  for (; at < end; at += 6) {
    const id = (bytes[at]! << 8) | bytes[at + 1]!;
    const value = readUint32(bytes, at + 2);
    switch (id) {
      case SettingId.HEADER_TABLE_SIZE:
        peer.headerTableSize = value;
        session.encoder.setPeerLimit(value);
        break;
      case SettingId.ENABLE_PUSH:
        if (value > 1 || (value === 1 && session.role === "client")) {
          return fail(session, ErrorCode.PROTOCOL_ERROR, `ENABLE_PUSH = ${value}`);
        }
        peer.enablePush = value === 1;
        break;
      case SettingId.MAX_CONCURRENT_STREAMS:
        peer.maxConcurrentStreams = value;
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) {
          return fail(session, ErrorCode.FLOW_CONTROL_ERROR, `INITIAL_WINDOW_SIZE = ${value}`);
        }
        peer.initialWindowSize = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < MIN_MAX_FRAME_SIZE || value > MAX_MAX_FRAME_SIZE) {
          return fail(session, ErrorCode.PROTOCOL_ERROR, `MAX_FRAME_SIZE = ${value}`);
        }
        peer.maxFrameSize = value;
        break;
      case SettingId.MAX_HEADER_LIST_SIZE:
        peer.maxHeaderListSize = value;
        break;
      case SettingId.ENABLE_CONNECT_PROTOCOL:
        if (value > 1 || (value === 0 && peer.enableConnectProtocol)) { // RFC 8441 §3: it cannot be taken back
          return fail(session, ErrorCode.PROTOCOL_ERROR, `ENABLE_CONNECT_PROTOCOL = ${value}`);
        }
        peer.enableConnectProtocol = value === 1;
        break;
      case SettingId.NO_RFC7540_PRIORITIES:
        if (value > 1) return fail(session, ErrorCode.PROTOCOL_ERROR, `NO_RFC7540_PRIORITIES = ${value}`);
        break;
    }
  }
  return moveWindows(session, peer.initialWindowSize - window);
}

/** A new INITIAL_WINDOW_SIZE moves the windows of open streams too (RFC 9113 §6.9.2). */
function moveWindows<T>(session: Session<T>, difference: number): boolean {
  if (difference === 0) return true;
  for (const stream of session.table.values()) {
    stream.sendWindow += difference;
    if (stream.sendWindow > MAX_WINDOW) {
      return fail(session, ErrorCode.FLOW_CONTROL_ERROR, `window of stream ${stream.id} above 2^31-1`);
    }
    if (difference > 0) session.scheduler.wake(stream);
  }
  return true;
}

function fail<T>(session: Session<T>, code: number, message: string): false {
  session.connectionError(code, message);
  return false;
}
