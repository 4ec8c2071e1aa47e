/**
 * The load, in the client's pod: a process that takes one order a line on stdin and answers with one JSON line.
 *
 *     {"kind":"requests","connections":32,"ms":4000}        → {count, p50, p99, seconds}     latencies in ms
 *     {"kind":"bulk","direction":"up","streams":4,"bytes":n} → {bytes, seconds}
 *     {"kind":"churn","concurrency":16,"ms":3000}            → {count, seconds}               connect, one request, close
 *     {"kind":"hold","connections":4000}                     → {open}                         each after one request
 *     {"kind":"release"}                                      → {open: 0}
 *     {"kind":"bodies","direction":"up","connections":4,"count":1000,"bytes":1000000} → {count, seconds}
 *
 * Arguments: address and port of the application.
 */
import { createInterface } from "node:readline";
import process from "node:process";
import type { Socket } from "bun";

export type Order =
  | { readonly kind: "requests"; readonly connections: number; readonly ms: number }
  | { readonly kind: "bulk"; readonly direction: "up" | "down"; readonly streams: number; readonly bytes: number }
  | { readonly kind: "churn"; readonly concurrency: number; readonly ms: number }
  | { readonly kind: "hold"; readonly connections: number }
  | { readonly kind: "release" }
  | BodiesOrder;

/** HTTP/1.1 requests with (`up`) or for (`down`) bodies of so many bytes, `count` in all. */
export interface BodiesOrder {
  readonly kind: "bodies";
  readonly direction: "up" | "down";
  readonly connections: number;
  readonly count: number;
  readonly bytes: number;
}

export interface Outcome {
  readonly count: number;
  readonly seconds: number;
  readonly p50?: number;
  readonly p99?: number;
  readonly errors: number;
}

const RESPONSE_LENGTH = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n`.length + 64;
const BLOCK = new Uint8Array(256 << 10).fill(0x62);
const HOLD_CONCURRENCY = 64;

/** One connection's part in the work; replaced by what each kind of order needs. */
interface Part {
  data(socket: Socket<Part>, chunk: Uint8Array): void;
  drain?(socket: Socket<Part>): void;
  closed(): void;
}

const handlers = {
  data: (socket: Socket<Part>, chunk: Uint8Array) => socket.data.data(socket, chunk),
  drain: (socket: Socket<Part>) => socket.data.drain?.(socket),
  close: (socket: Socket<Part>) => socket.data.closed(),
  error: (socket: Socket<Part>) => socket.terminate(),
};

const [hostname = "127.0.0.1", portText = "8080"] = process.argv.slice(2);
const REQUEST = new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);

function connect(part: Part): Promise<Socket<Part>> {
  return Bun.connect<Part>({ hostname, port: Number(portText), data: part, socket: handlers });
}

/** Keep-alive requests, one outstanding on each connection. */
async function requests(connections: number, ms: number): Promise<Outcome> {
  const latencies: number[] = [];
  let errors = 0;
  let running = true;
  const sockets = await Promise.all(
    Array.from({ length: connections }, () => {
      let sent = 0;
      let got = 0;
      const ask = (socket: Socket<Part>) => {
        sent = performance.now();
        socket.write(REQUEST);
      };
      return connect({
        data(socket, chunk) {
          if (sent === 0) return;
          got += chunk.length;
          if (got < RESPONSE_LENGTH) return;
          got = 0;
          latencies.push(performance.now() - sent);
          if (running) ask(socket);
        },
        closed() {
          if (running) errors++;
        },
      }).then((socket) => ({ socket, ask }));
    }),
  );
  const start = performance.now();
  for (const { socket, ask } of sockets) ask(socket);
  await Bun.sleep(ms);
  running = false;
  const seconds = (performance.now() - start) / 1000;
  const count = latencies.length;
  for (const { socket } of sockets) socket.end();
  return { count, seconds, errors, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) };
}

async function bulk(direction: "up" | "down", streams: number, bytes: number): Promise<Outcome> {
  const each = Math.floor(bytes / streams);
  const start = performance.now();
  let errors = 0;
  await Promise.all(
    Array.from({ length: streams }, () =>
      new Promise<void>((resolve) => {
        let left = each;
        let answered = false;
        const pour = (socket: Socket<Part>) => {
          while (left > 0) {
            const block = left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left);
            const taken = Math.max(0, socket.write(block));
            left -= taken;
            if (taken < block.length) return;
          }
        };
        const done = () => {
          if (direction === "up" ? !answered : left > 0) errors++;
          resolve();
        };
        const part: Part = direction === "up"
          ? {
            data: () => {
              answered = true;
            },
            drain: pour,
            closed: done,
          }
          : { data: (_, chunk) => void (left -= chunk.length), closed: done };
        connect(part).then((socket) => {
          socket.write(new TextEncoder().encode(`${direction === "up" ? "UPLOAD" : "DOWNLOAD"} ${each}\n`));
          if (direction === "up") pour(socket);
        }, done);
      })),
  );
  return { count: each * streams, seconds: (performance.now() - start) / 1000, errors };
}

/** Opens a connection, sends one request, reads the answer; the connection is left open or closed by `then`. */
function visit(then: (socket: Socket<Part>) => void): Promise<boolean> {
  return new Promise((resolve) => {
    let got = 0;
    connect({
      data(socket, chunk) {
        got += chunk.length;
        if (got < RESPONSE_LENGTH) return;
        // First the verdict: closing calls `closed` at once.
        resolve(true);
        then(socket);
      },
      closed: () => resolve(false),
    }).then((socket) => socket.write(REQUEST), () => resolve(false));
  });
}

async function churn(concurrency: number, ms: number): Promise<Outcome> {
  let count = 0;
  let errors = 0;
  const start = performance.now();
  const worker = async () => {
    while (performance.now() - start < ms) {
      if (await visit((socket) => socket.end())) count++;
      else errors++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { count, seconds: (performance.now() - start) / 1000, errors };
}

let held: Socket<Part>[] = [];

async function hold(connections: number): Promise<Outcome> {
  const start = performance.now();
  let errors = 0;
  let next = 0;
  const worker = async () => {
    while (next < connections) {
      next++;
      if (!await visit((socket) => void held.push(socket))) errors++;
    }
  };
  await Promise.all(Array.from({ length: HOLD_CONCURRENCY }, worker));
  return { count: held.length, seconds: (performance.now() - start) / 1000, errors };
}

function release(): Outcome {
  for (const socket of held) socket.end();
  held = [];
  return { count: 0, seconds: 0, errors: 0 };
}

/** Octets after the head that `head` ends with; undefined where its end or its content-length is missing. */
function bodyAfter(head: string): { total: number; arrived: number } | undefined {
  const end = head.indexOf("\r\n\r\n");
  const length = /^content-length: *(\d+)/im.exec(head.slice(0, Math.max(0, end)));
  if (length === null || !head.startsWith("HTTP/1.1 200 ")) return undefined;
  return { total: Number(length[1]), arrived: head.length - (end + 4) };
}

/** Requests one after the other on each connection, bodies read or written as the socket takes them. */
async function bodies({ direction, connections, count, bytes }: BodiesOrder): Promise<Outcome> {
  const method = direction === "up" ? `POST / HTTP/1.1\r\nContent-Length: ${bytes}\r\n` : "GET / HTTP/1.1\r\n";
  const head = new TextEncoder().encode(`${method}Host: ${hostname}\r\n\r\n`);
  const latin1 = new TextDecoder("latin1");
  const start = performance.now();
  let errors = 0;
  let asked = 0;
  let done = 0;
  const visit = () =>
    new Promise<void>((resolve) => {
      /** Octets of the request's body still to write. */
      let left = 0;
      /** Octets of the answer's body still to read; undefined before its head. */
      let awaited: number | undefined;
      let busy = false;
      const pour = (socket: Socket<Part>) => {
        while (left > 0) {
          const block = left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left);
          const taken = Math.max(0, socket.write(block));
          left -= taken;
          if (taken < block.length) return;
        }
      };
      const ask = (socket: Socket<Part>) => {
        busy = asked < count;
        if (!busy) return void socket.end();
        asked++;
        awaited = undefined;
        socket.write(head);
        if (direction === "up") left = bytes;
        pour(socket);
      };
      connect({
        data(socket, chunk) {
          if (awaited === undefined) {
            const body = bodyAfter(latin1.decode(chunk));
            // The head of a small answer comes whole; anything else is a failure of the path.
            if (body === undefined) return void socket.terminate();
            awaited = body.total - body.arrived;
          } else awaited -= chunk.length;
          if (awaited > 0) return;
          done++;
          ask(socket);
        },
        drain: pour,
        closed() {
          if (busy) errors++;
          resolve();
        },
      }).then(ask, () => {
        errors++;
        resolve();
      });
    });
  await Promise.all(Array.from({ length: connections }, visit));
  return { count: done, seconds: (performance.now() - start) / 1000, errors };
}

function quantile(values: number[], share: number): number {
  if (values.length === 0) return 0;
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
}

function perform(order: Order): Promise<Outcome> | Outcome {
  switch (order.kind) {
    case "requests":
      return requests(order.connections, order.ms);
    case "bulk":
      return bulk(order.direction, order.streams, order.bytes);
    case "churn":
      return churn(order.concurrency, order.ms);
    case "hold":
      return hold(order.connections);
    case "release":
      return release();
    case "bodies":
      return bodies(order);
  }
}

if (import.meta.main) {
  process.stdout.write("ready\n");
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await perform(JSON.parse(line) as Order))}\n`);
  }
  process.exit(0);
}
