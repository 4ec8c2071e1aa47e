/**
 * The application under the benchmark, in the server's pod: the least work that still answers. The first bytes of a
 * connection say what it is for:
 *
 *     GET …             HTTP/1.1 keep-alive, a 128-byte answer for each request
 *     DOWNLOAD <bytes>\n   sends so many bytes, then ends
 *     UPLOAD <bytes>\n     reads so many bytes, then answers "done\n" and ends
 *     COUNT 0\n            answers how many requests it has served so far, then ends
 */
import process from "node:process";
import type { Socket } from "bun";

const BODY = "x".repeat(64);
const RESPONSE = new TextEncoder().encode(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
);
const RESPONSES = repeat(RESPONSE, 16);
const BLOCK = new Uint8Array(256 << 10).fill(0x61);
/** HTTP requests answered since the start. */
let served = 0;
const DONE = new TextEncoder().encode("done\n");

interface Visit {
  purpose: "unknown" | "requests" | "download" | "upload";
  /** Bytes still to send or to receive. */
  left: number;
  rest: Uint8Array;
  head: string;
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}

/** Ends of request headers in the chunk. A benchmark's requests are short and end with their packet. */
function requestsIn(chunk: Uint8Array): number {
  let count = 0;
  for (let i = 3; i < chunk.length; i++) {
    if (chunk[i] === 10 && chunk[i - 1] === 13 && chunk[i - 2] === 10 && chunk[i - 3] === 13) count++;
  }
  return count;
}

function answer(socket: Socket<Visit>, count: number): void {
  served += count;
  for (let left = count; left > 0; left -= 16) {
    send(socket, left >= 16 ? RESPONSES : RESPONSES.subarray(0, left * RESPONSE.length));
  }
}

function send(socket: Socket<Visit>, bytes: Uint8Array): void {
  const taken = socket.data.rest.length > 0 ? 0 : Math.max(0, socket.write(bytes));
  if (taken === bytes.length) return;
  const kept = new Uint8Array(socket.data.rest.length + bytes.length - taken);
  kept.set(socket.data.rest);
  kept.set(bytes.subarray(taken), socket.data.rest.length);
  socket.data.rest = kept;
}

function pour(socket: Socket<Visit>): void {
  const visit = socket.data;
  while (visit.left > 0) {
    const block = visit.left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, visit.left);
    const taken = Math.max(0, socket.write(block));
    visit.left -= taken;
    if (taken < block.length) return;
  }
  socket.end();
}

function receive(socket: Socket<Visit>, bytes: number): void {
  const visit = socket.data;
  visit.left -= bytes;
  if (visit.left > 0) return;
  socket.write(DONE);
  socket.end();
}

Bun.listen<Visit>({
  hostname: "0.0.0.0",
  port: Number(process.argv[2] ?? 8080),
  socket: {
    open(socket) {
      socket.data = { purpose: "unknown", left: 0, rest: new Uint8Array(0), head: "" };
    },
    data(socket, chunk) {
      const visit = socket.data;
      if (visit.purpose === "requests") return answer(socket, requestsIn(chunk));
      if (visit.purpose === "upload") return receive(socket, chunk.length);
      if (visit.purpose === "download") return;
      if (visit.head === "" && chunk[0] === 0x47) {
        visit.purpose = "requests";
        return answer(socket, requestsIn(chunk));
      }
      visit.head += String.fromCharCode(...chunk.subarray(0, 64));
      const end = visit.head.indexOf("\n");
      if (end < 0) return;
      const [verb, count] = visit.head.slice(0, end).split(" ");
      if (verb === "COUNT") return void socket.end(`${served}\n`);
      visit.left = Number(count);
      visit.purpose = verb === "DOWNLOAD" ? "download" : "upload";
      if (verb === "DOWNLOAD") return pour(socket);
      receive(socket, chunk.length - (end + 1));
    },
    drain(socket) {
      const visit = socket.data;
      if (visit.purpose === "download") return pour(socket);
      const rest = visit.rest;
      visit.rest = rest.subarray(Math.max(0, socket.write(rest)));
    },
    error(socket) {
      socket.terminate();
    },
  },
});
process.stdout.write("ready\n");
