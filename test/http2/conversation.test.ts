/** Two codecs talk to each other while their applications do random things: nothing is lost, mixed up or stuck. */
import { describe, expect, test } from "bun:test";
import {
  type HeaderList,
  Http2Connection,
  type Http2Handler,
  type Http2Options,
  type Http2Stream,
} from "../../src/http2/mod.ts";
import { Random } from "./random.ts";

/** What one end of a stream has sent and received. Content is a function of stream, direction and position. */
class End {
  readonly key: number;
  readonly peerKey: number;
  sent = 0;
  received = 0;
  unconsumed = 0;
  blocked = false;
  sentEnd = false;
  gotEnd = false;
  reset = false;
  closed = false;

  constructor(id: number, client: boolean) {
    this.key = id * 2 + (client ? 1 : 0);
    this.peerKey = id * 2 + (client ? 0 : 1);
  }
}

const octet = (key: number, at: number) => (key * 31 + at * 7 + (at >> 8)) & 255;

class Application implements Http2Handler<End> {
  readonly ends = new Map<number, End>();
  readonly problems: string[] = [];
  onOutput(): void {}
  onHeaders(stream: Http2Stream<End>, headers: HeaderList, end: boolean): void {
    if (stream.connection.role === "server") {
      this.ends.set(stream.id, stream.data = new End(stream.id, false));
      stream.respond([[":status", "200"], ["x-id", String(stream.id)]], false);
    } else if (headers[0]![1] !== "200") this.problems.push(`status of ${stream.id}`);
    if (end) stream.data.gotEnd = true;
  }
  onTrailers(stream: Http2Stream<End>, trailers: HeaderList): void {
    if (trailers[0]![1] !== String(stream.data.received)) this.problems.push(`trailers of ${stream.id}`);
    stream.data.gotEnd = true;
  }
  onData(stream: Http2Stream<End>, chunk: Uint8Array, end: boolean): void {
    const own = stream.data;
    for (const value of chunk) {
      if (value !== octet(own.peerKey, own.received++)) this.problems.push(`content of ${stream.id}`);
    }
    own.unconsumed += chunk.length;
    if (end) own.gotEnd = true;
  }
  onWritable(stream: Http2Stream<End>): void {
    if (!stream.data.blocked) this.problems.push(`onWritable of ${stream.id} unasked`);
    stream.data.blocked = false;
  }
  onReset(stream: Http2Stream<End>): void {
    stream.data.reset = true;
  }
  onStreamClosed(stream: Http2Stream<End>): void {
    if (stream.data.closed) this.problems.push(`${stream.id} closed twice`);
    stream.data.closed = true;
    stream.consume(stream.data.unconsumed); // what a closed stream still holds is the connection's window
    stream.data.unconsumed = 0;
  }
  onConnectionError(_connection: Http2Connection<End>, code: number, message: string): void {
    this.problems.push(`connection error ${code} ${message}`);
  }
}

class Talk {
  readonly random: Random;
  readonly applications = [new Application(), new Application()] as const;
  readonly connections: readonly [Http2Connection<End>, Http2Connection<End>];
  readonly streams: Http2Stream<End>[][] = [[], []];
  readonly #onWire: Uint8Array[][] = [[], []]; // bytes under way from each end
  readonly #sizes: readonly number[]; // of chunks to send; a window of few bytes makes a frame of each few bytes

  constructor(seed: number) {
    this.random = new Random(seed);
    const options = (): Http2Options => ({
      initialWindowSize: this.random.pick([1, 7, 100, 65_535, 1 << 20]),
      connectionWindowSize: this.random.pick([65_535, 100_000, 1 << 20]),
      maxFrameSize: this.random.pick([16_384, 40_000, 1 << 20]),
      maxHeaderListSize: 16_384,
      maxSendBuffer: this.random.pick([1000, 50_000, 400_000]),
      limits: { peerResets: { burst: 1e9, perSecond: 1 }, provokedResets: { burst: 1e9, perSecond: 1 } },
    });
    const both = [options(), options()] as const;
    this.connections = [
      new Http2Connection("client", both[0], this.applications[0]),
      new Http2Connection("server", both[1], this.applications[1]),
    ];
    const narrow = Math.min(both[0].initialWindowSize, both[1].initialWindowSize) < 1000;
    this.#sizes = narrow ? [0, 1, 100, 700] : [0, 1, 100, 5000, 40_000, 300_000];
  }

  /** Takes some output of an end and delivers some of what is under way, in pieces. */
  carry(from: 0 | 1, everything: boolean): boolean {
    const wire = this.#onWire[from]!;
    let moved = false;
    for (let pieces = everything ? Infinity : this.random.below(4); pieces > 0; pieces--) {
      const piece = this.connections[from].nextOutput();
      if (piece === undefined) break;
      wire.push(piece.slice());
      moved = true;
    }
    for (let pieces = everything ? Infinity : this.random.below(4); pieces > 0 && wire.length > 0; pieces--) {
      const piece = wire.shift()!;
      const cut = everything ? piece.length : 1 + this.random.below(piece.length);
      if (cut < piece.length) wire.unshift(piece.subarray(cut));
      this.connections[1 - from]!.receive(piece.slice(0, cut));
      moved = true;
    }
    return moved;
  }

  act(side: 0 | 1): void {
    const { random } = this;
    const connection = this.connections[side];
    if (side === 0 && random.chance(15) && connection.openStreams < 30) {
      const own = new End(0, true);
      const stream = connection.request([[":method", "CONNECT"], [":authority", `h${random.below(9)}:80`]], false, own);
      if (stream !== undefined) stream.data = new End(stream.id, true);
    }
    const open = [...connection.streams()].filter((stream) => stream.data !== undefined);
    if (open.length === 0) return;
    const stream = random.pick(open);
    const own = stream.data;
    switch (random.below(12)) {
      case 0:
        if (!own.sentEnd) this.end(stream);
        break;
      case 1:
        if (random.chance(20)) {
          own.reset = true;
          stream.reset(8);
        }
        break;
      case 2:
      case 3:
      case 4:
        this.consume(stream, random.below(own.unconsumed + 1));
        break;
      default:
        if (!own.blocked && !own.sentEnd) this.send(stream, random.pick(this.#sizes), false);
    }
  }

  send(stream: Http2Stream<End>, size: number, end: boolean): void {
    const own = stream.data;
    const chunk = new Uint8Array(size);
    for (let i = 0; i < size; i++) chunk[i] = octet(own.key, own.sent + i);
    own.sent += size;
    if (end) own.sentEnd = true;
    if (!stream.sendData(chunk, end)) own.blocked = true;
  }

  end(stream: Http2Stream<End>): void {
    const own = stream.data;
    own.sentEnd = true;
    stream.sendData(new Uint8Array(0), true);
  }

  consume(stream: Http2Stream<End>, bytes: number): void {
    stream.data.unconsumed -= bytes;
    stream.consume(bytes);
  }

  /** Ends all streams and carries until nothing moves. */
  settle(): void {
    for (let moved = true; moved;) {
      moved = false;
      for (const side of [0, 1] as const) {
        if (this.carry(side, true)) moved = true;
        for (const stream of [...this.connections[side].streams()]) {
          if (stream.data === undefined) continue;
          if (stream.data.unconsumed > 0) {
            this.consume(stream, stream.data.unconsumed);
            moved = true;
          }
          if (!stream.data.sentEnd) {
            this.end(stream);
            moved = true;
          }
        }
      }
    }
  }
}

describe("random conversations", () => {
  for (let seed = 1; seed <= 40; seed++) {
    test(`seed ${seed}`, () => {
      const talk = new Talk(seed);
      const known: Map<number, End>[] = [new Map(), new Map()];
      for (let i = 0; i < 600; i++) {
        const side = talk.random.below(2) as 0 | 1;
        talk.act(side);
        talk.carry(talk.random.below(2) as 0 | 1, talk.random.chance(5));
        for (const at of [0, 1] as const) {
          for (const stream of talk.connections[at].streams()) {
            if (stream.data !== undefined) known[at]!.set(stream.id, stream.data);
          }
        }
      }
      talk.settle();
      expect(talk.applications[0].problems).toEqual([]);
      expect(talk.applications[1].problems).toEqual([]);
      expect(talk.connections.map((connection) => connection.openStreams)).toEqual([0, 0]);
      let compared = 0;
      for (const [id, one] of known[0]!) {
        const other = talk.applications[1].ends.get(id);
        if (one.reset || other === undefined || other.reset) continue;
        expect({ id, sent: one.sent, gotEnd: one.gotEnd }).toEqual({ id, sent: other.received, gotEnd: true });
        expect({ id, sent: other.sent, gotEnd: other.gotEnd }).toEqual({ id, sent: one.received, gotEnd: true });
        compared++;
      }
      expect(compared).toBeGreaterThan(0);
    });
  }
});
