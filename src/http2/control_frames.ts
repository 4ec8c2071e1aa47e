/** SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, and the frames that are read only to be ignored. */
import { Buffer } from "node:buffer";
import { ErrorCode } from "./errors.ts";
import { MAX_WINDOW } from "./flow_control.ts";
import { MAX_DEBUG_DATA, writePing, writeSettingsAck } from "./frame_writer.ts";
import { Flag, FrameType, MAX_STREAM_ID, readUint31, readUint32 } from "./frames.ts";
import { SKIP_PAYLOAD } from "./parser.ts";
import type { Session } from "./session.ts";
import { applySettings } from "./settings_frames.ts";
import type { Stream } from "./stream.ts";

const SETTING_SIZE = 6; // octets

function fail<T>(session: Session<T>, code: number, message: string): typeof SKIP_PAYLOAD {
  session.connectionError(code, message);
  return SKIP_PAYLOAD;
}

/** Checks a frame header; the answer is as FrameSink.onFrameHeader's. */
export function controlFrameHeader<T>(
  session: Session<T>,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  const { FRAME_SIZE_ERROR, PROTOCOL_ERROR } = ErrorCode;
  if (length > session.options.maxFrameSize) {
    return fail(session, FRAME_SIZE_ERROR, `a frame of ${length} octets, above SETTINGS_MAX_FRAME_SIZE`);
  }
  switch (type) {
    case FrameType.WINDOW_UPDATE:
      return length === 4 ? 4 : fail(session, FRAME_SIZE_ERROR, "WINDOW_UPDATE is not of 4 octets");
    case FrameType.RST_STREAM:
      if (streamId === 0) return fail(session, PROTOCOL_ERROR, "RST_STREAM on stream 0");
      return length === 4 ? 4 : fail(session, FRAME_SIZE_ERROR, "RST_STREAM is not of 4 octets");
    case FrameType.PING:
      if (streamId !== 0) return fail(session, PROTOCOL_ERROR, "PING on a stream");
      return length === 8 ? 8 : fail(session, FRAME_SIZE_ERROR, "PING is not of 8 octets");
    case FrameType.SETTINGS: {
      if (streamId !== 0) return fail(session, PROTOCOL_ERROR, "SETTINGS on a stream");
      const bad = length % SETTING_SIZE !== 0 || ((flags & Flag.ACK) !== 0 && length !== 0);
      if (bad) return fail(session, FRAME_SIZE_ERROR, "SETTINGS of a wrong length");
      if (length <= session.limits.settingsEntries * SETTING_SIZE) return length;
      return fail(session, ErrorCode.ENHANCE_YOUR_CALM, "SETTINGS with too many entries");
    }
    case FrameType.GOAWAY:
      if (streamId !== 0) return fail(session, PROTOCOL_ERROR, "GOAWAY on a stream");
      if (length < 8) return fail(session, FRAME_SIZE_ERROR, "GOAWAY shorter than 8 octets");
      return Math.min(length, 8 + MAX_DEBUG_DATA);
    case FrameType.PUSH_PROMISE:
      return fail(session, PROTOCOL_ERROR, "PUSH_PROMISE without push");
    case FrameType.PRIORITY:
      priorityHeader(session, length, streamId);
      return SKIP_PAYLOAD;
    default:
      session.allow("ignoredFrames", "too many frames of unknown type");
      return SKIP_PAYLOAD;
  }
}

/** PRIORITY means nothing any more (RFC 9113 §5.3.2), but its form is still checked (§6.3). */
function priorityHeader<T>(session: Session<T>, length: number, streamId: number): void {
  if (streamId === 0) fail(session, ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0");
  else if (length === 5) session.allow("ignoredFrames", "too many PRIORITY frames");
  else {
    const stream = session.table.get(streamId);
    if (stream !== undefined) session.streamError(stream, ErrorCode.FRAME_SIZE_ERROR);
    else fail(session, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not of 5 octets");
  }
}

/** Takes a frame's payload, whose form `controlFrameHeader` has checked. */
export function controlFrame<T>(
  session: Session<T>,
  type: number,
  flags: number,
  streamId: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): void {
  switch (type) {
    case FrameType.WINDOW_UPDATE:
      windowUpdate(session, streamId, readUint31(bytes, at));
      return;
    case FrameType.RST_STREAM:
      resetStream(session, streamId, readUint32(bytes, at));
      return;
    case FrameType.PING:
      ping(session, (flags & Flag.ACK) !== 0, bytes, at, end);
      return;
    case FrameType.SETTINGS:
      settings(session, (flags & Flag.ACK) !== 0, bytes, at, end);
      return;
    case FrameType.GOAWAY:
      goaway(session, bytes, at, end);
      return;
  }
}

function windowUpdate<T>(session: Session<T>, streamId: number, increment: number): void {
  if (streamId === 0) {
    if (increment === 0) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0");
    } else if (session.sendWindow + increment > MAX_WINDOW) {
      session.connectionError(ErrorCode.FLOW_CONTROL_ERROR, "connection window above 2^31-1");
    } else {
      session.sendWindow += increment;
      session.stalledSince = 0;
      if (session.scheduler.waiting > 0) session.announce();
    }
    return;
  }
  const stream = session.table.get(streamId);
  if (stream === undefined) {
    if (session.isIdle(streamId)) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, `WINDOW_UPDATE on idle stream ${streamId}`);
    } else session.allow("ignoredFrames", "too many frames for streams that are gone");
    return;
  }
  if (increment === 0) session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
  else if (stream.sendWindow + increment > MAX_WINDOW) session.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR);
  else widen(session, stream, increment);
}

function widen<T>(session: Session<T>, stream: Stream<T>, increment: number): void {
  stream.sendWindow += increment;
  if (stream.queue === undefined) return;
  session.scheduler.wake(stream);
  if (session.hasOutput) session.announce();
}

function resetStream<T>(session: Session<T>, streamId: number, code: number): void {
  const stream = session.table.get(streamId);
  if (stream === undefined) {
    if (session.isIdle(streamId)) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, `RST_STREAM on idle stream ${streamId}`);
    } else session.allow("ignoredFrames", "too many frames for streams that are gone");
    return;
  }
  const unanswered = session.role === "server" && !stream.headersSent;
  session.closed.resetByPeer(streamId);
  stream.abandon();
  session.handler.onReset(stream, code, true);
  session.finish(stream);
  if (unanswered) session.allow("peerResets", "too many requests taken back");
}

function ping<T>(session: Session<T>, ack: boolean, bytes: Uint8Array, at: number, end: number): void {
  if (ack) {
    session.handler.onPong?.(session, bytes.subarray(at, end));
  } else if (session.allow("pings", "too many PING frames") && session.answer()) {
    writePing(session.output, bytes, at, true);
    session.announce();
  }
}

function settings<T>(session: Session<T>, ack: boolean, bytes: Uint8Array, at: number, end: number): void {
  if (ack) {
    if (session.settingsAcknowledged) return;
    session.settingsAcknowledged = true;
    const { initialWindowSize, headerTableSize } = session.options;
    if (headerTableSize !== undefined) session.decoder.setLimit(headerTableSize);
    session.streamWindow = initialWindowSize;
    for (const stream of session.table.values()) stream.resizeReceived(initialWindowSize);
    return;
  }
  if (!session.allow("settings", "too many SETTINGS frames") || !session.answer()) return;
  if (!applySettings(session, bytes, at, end)) return;
  session.settingsReceived = true;
  writeSettingsAck(session.output);
  session.announce();
  session.handler.onSettings?.(session);
}

function goaway<T>(session: Session<T>, bytes: Uint8Array, at: number, end: number): void {
  const last = readUint31(bytes, at);
  const code = readUint32(bytes, at + 4);
  if (session.goawayReceived >= 0 && last > session.goawayReceived) {
    session.connectionError(ErrorCode.PROTOCOL_ERROR, "GOAWAY with a last stream id above the one before");
    return;
  }
  session.goawayReceived = last;
  if (session.role === "client" && last < MAX_STREAM_ID) {
    // RFC 9113 §6.8: streams above were not processed and never will be.
    for (const stream of [...session.table.values()]) {
      if (stream.id <= last || stream.state === "closed") continue;
      stream.abandon();
      session.closed.resetByUs(stream.id);
      session.handler.onReset(stream, ErrorCode.REFUSED_STREAM, true);
      session.finish(stream);
    }
  }
  const debug = Buffer.from(bytes.subarray(at + 8, end)).toString("utf8");
  session.handler.onGoaway?.(session, last, code, debug);
}
