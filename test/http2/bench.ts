/**
 * Micro benchmark of the codec: two connections back to back in one thread, no sockets.
 * Run with `bun test/http2/bench.ts`; each line is the best of seven rounds, in CPU time.
 */
import process from "node:process";
import {
  type HeaderList,
  Http2Connection,
  type Http2Handler,
  type Http2Options,
  type Http2Stream,
} from "../../src/http2/mod.ts";

const OPTIONS: Http2Options = {
  initialWindowSize: 4 << 20,
  connectionWindowSize: 16 << 20,
  maxFrameSize: 1 << 20,
  maxHeaderListSize: 64 << 10,
  maxSendBuffer: 4 << 20,
};

const CONNECT: HeaderList = [
  [":method", "CONNECT"],
  [":authority", "10.244.1.17:8080"],
  [
    "baggage",
    "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=client,service.name=client,service.version=v1",
  ],
  ["forwarded", "for=10.244.2.9"],
];

let received = 0;

class Quiet implements Http2Handler<number> {
  onOutput(): void {}
  onHeaders(_stream: Http2Stream<number>, _headers: HeaderList, _end: boolean): void {}
  onTrailers(): void {}
  onData(stream: Http2Stream<number>, chunk: Uint8Array, _end: boolean): void {
    received += chunk.length;
    stream.consume(chunk.length);
  }
  onWritable(): void {}
  onReset(): void {}
  onStreamClosed(): void {}
  onConnectionError(_connection: Http2Connection<number>, _code: number, message: string): void {
    throw new Error(message);
  }
}

class Echo extends Quiet {
  override onHeaders(stream: Http2Stream<number>): void {
    stream.respond([[":status", "200"]], false);
  }
  override onData(stream: Http2Stream<number>, chunk: Uint8Array, end: boolean): void {
    stream.consume(chunk.length);
    stream.sendData(chunk, end);
  }
}

/** What a socket would do: the bytes arrive in a fresh buffer. */
function carry(from: Http2Connection<number>, to: Http2Connection<number>): void {
  for (let piece = from.nextOutput(); piece !== undefined; piece = from.nextOutput()) to.receive(piece.slice());
}

function pair(server: Http2Handler<number>): [Http2Connection<number>, Http2Connection<number>] {
  const ends: [Http2Connection<number>, Http2Connection<number>] = [
    new Http2Connection("client", OPTIONS, new Quiet()),
    new Http2Connection("server", { ...OPTIONS, maxSendBuffer: 409_600 }, server),
  ];
  for (let i = 0; i < 3; i++) {
    carry(ends[0], ends[1]);
    carry(ends[1], ends[0]);
  }
  return ends;
}

/** CPU time of this process in ms: steadier than the clock when others share the machine. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function best(round: () => number): number {
  let least = Infinity;
  for (let i = 0; i < 7; i++) least = Math.min(least, round());
  return least;
}

function smallFrames(size: number, perTurn: number): number {
  const [client, server] = pair(new Echo());
  const streams = Array.from({ length: perTurn }, (_, i) => client.request(CONNECT, false, i)!);
  const chunk = new Uint8Array(size).fill(7);
  const turns = Math.ceil(200_000 / perTurn);
  return best(() => {
    const start = cpu();
    for (let turn = 0; turn < turns; turn++) {
      for (const stream of streams) stream.sendData(chunk, false);
      carry(client, server);
      carry(server, client);
    }
    return ((cpu() - start) * 1e6) / (turns * perTurn);
  });
}

function bulk(size: number): number {
  const [client, server] = pair(new Quiet());
  const stream = client.request(CONNECT, false, 0)!;
  const chunk = new Uint8Array(size).fill(7);
  const turns = Math.ceil(2 ** 31 / size);
  const seconds = best(() => {
    const start = cpu();
    received = 0;
    for (let turn = 0; turn < turns; turn++) {
      stream.sendData(chunk, false);
      for (let p = client.nextOutput(); p !== undefined; p = client.nextOutput()) server.receive(p);
      carry(server, client);
    }
    if (received !== turns * size) throw new Error(`only ${received} of ${turns * size} bytes arrived`);
    return (cpu() - start) / 1000;
  });
  return (turns * size) / seconds / 1e9;
}

function tunnels(): number {
  const [client, server] = pair(new Echo());
  const count = 20_000;
  return best(() => {
    const start = cpu();
    for (let i = 0; i < count; i++) {
      const stream = client.request(CONNECT, false, i)!;
      carry(client, server);
      carry(server, client);
      stream.sendData(new Uint8Array(0), true);
      carry(client, server);
      carry(server, client);
    }
    return ((cpu() - start) * 1e6) / count;
  });
}

function heldStreams(): number {
  const [client, server] = pair(new Echo());
  const count = 20_000;
  Bun.gc(true);
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < count; i++) {
    client.request(CONNECT, false, i);
    if (i % 100 === 0) {
      carry(client, server);
      carry(server, client);
    }
  }
  Bun.gc(true);
  const held = (process.memoryUsage().heapUsed - before) / (count * 2);
  if (client.openStreams + server.openStreams < count) throw new Error("streams were lost");
  return held;
}

function idleConnections(): number {
  const kept: unknown[] = [];
  Bun.gc(true);
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 1000; i++) {
    const ends = pair(new Echo());
    const stream = ends[0].request(CONNECT, true, 0)!;
    carry(ends[0], ends[1]);
    carry(ends[1], ends[0]);
    stream.reset(8);
    carry(ends[0], ends[1]);
    carry(ends[1], ends[0]);
    kept.push(ends);
  }
  Bun.gc(true);
  return (process.memoryUsage().heapUsed - before) / (kept.length * 2);
}

const print = (what: string, value: number, unit: string) =>
  console.log(`${what.padEnd(58)} ${value.toFixed(value < 100 ? 2 : 0).padStart(9)} ${unit}`);
print("small DATA (100 B) echoed, 1 stream, a write per frame", smallFrames(100, 1), "ns");
print("small DATA (100 B) echoed, 32 streams, a write per turn", smallFrames(100, 32), "ns");
print("small DATA (1 KiB) echoed, 32 streams, a write per turn", smallFrames(1024, 32), "ns");
print("DATA one way, 16 KiB chunks", bulk(16 << 10), "GB/s");
print("DATA one way, 64 KiB chunks", bulk(64 << 10), "GB/s");
print("DATA one way, 512 KiB chunks", bulk(512 << 10), "GB/s");
print("CONNECT, 200, END_STREAM both ways", tunnels(), "ns");
print("held stream", heldStreams(), "bytes of heap");
print("idle connection, used once", idleConnections(), "bytes of heap");
