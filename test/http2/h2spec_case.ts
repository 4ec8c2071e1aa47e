/** The form in which h2spec's cases stand as table tests: what is sent, and what must come of it. */
import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/http2/mod.ts";
import { FrameType, PREFACE } from "../../src/http2/frames.ts";
import { join, settings, SETTINGS_ACK, Wire } from "./wire.ts";

export type Outcome = (wire: Wire) => void;
export type Case = readonly [id: string, what: string, send: Uint8Array | readonly Uint8Array[], outcome: Outcome];

/** The connection goes on, and the stream is answered 200 completely. */
export function response(streamId: number): Outcome {
  return (wire) => {
    expect(wire.goaway).toBeUndefined();
    expect(wire.headerLists(streamId)[0]).toEqual([[":status", "200"]]);
    expect(wire.of(FrameType.DATA).find((f) => f.streamId === streamId && (f.flags & 1) !== 0)).toBeDefined();
  };
}

/** The connection goes on and answers PING. */
export const pong: Outcome = (wire) => {
  expect(wire.goaway).toBeUndefined();
  expect(wire.of(FrameType.PING).map((f) => f.flags)).toContain(1);
};

/** The connection goes on and acknowledges SETTINGS. */
export const settingsAck: Outcome = (wire) => {
  expect(wire.goaway).toBeUndefined();
  expect(wire.of(FrameType.SETTINGS).filter((f) => f.flags === 1).length).toBe(1);
};

/** A connection error (RFC 9113 §5.4.1): GOAWAY with the code, and nothing is taken after it. */
export function connectionError(code: keyof typeof ErrorCode): Outcome {
  return (wire) => {
    expect(wire.goaway).toBe(ErrorCode[code]);
    expect(wire.recorder.events.at(-1)).toStartWith(`failed ${ErrorCode[code]} `);
    expect(wire.connection.drained).toBe(true);
  };
}

/** A stream error (RFC 9113 §5.4.2): RST_STREAM with the code, and the connection goes on. */
export function streamError(streamId: number, code: keyof typeof ErrorCode): Outcome {
  return (wire) => {
    expect(wire.goaway).toBeUndefined();
    expect(wire.reset(streamId)).toBe(ErrorCode[code]);
    expect(wire.clear().receive(join([0, 0, 8, 6, 0, 0, 0, 0, 0], "12345678")).of(FrameType.PING).length).toBe(1);
  };
}

/** Runs each case with its bytes at once and in pieces: the outcome may not depend on it. */
export function caseTable(cases: readonly Case[], begin: Uint8Array = join(PREFACE, settings(), SETTINGS_ACK)): void {
  for (const piece of [Infinity, 1, 7]) {
    describe(piece === Infinity ? "at once" : `in pieces of ${piece}`, () => {
      for (const [id, what, send, outcome] of cases) {
        test(`${id} ${what}`, () => {
          const wire = new Wire("server").receive(begin, Math.min(piece, begin.length)).clear();
          const bytes = send instanceof Uint8Array ? send : join(...send);
          wire.receive(bytes, Math.min(piece, bytes.length));
          outcome(wire);
        });
      }
    });
  }
}
