/**
 * Micro benchmark of the codec, no sockets. Run with `bun test/http1/bench.ts`; each line is the best of nine rounds,
 * in CPU time for each message.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import type { RequestHead, ResponseHead } from "../../src/http/message.ts";
import {
  encodeChunkHead,
  encodeRequestHead,
  encodeResponseHead,
  RequestParser,
  type RequestSink,
  ResponseParser,
  type ResponseSink,
} from "../../src/http1/mod.ts";

const ROUNDS = 9;
const MESSAGES = 30_000;

const REQUEST = Buffer.from(
  [
    "GET /api/v1/products/1234?currency=EUR HTTP/1.1",
    "Host: productpage.default.svc.cluster.local:9080",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=9f86d081884c7d659a2feaa0c55ad015; theme=dark",
    "X-Request-Id: 7c9a2f6e-6f2b-4b1e-9b59-2f1f1f2a9c11",
    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Connection: keep-alive",
    "",
    "",
  ].join("\r\n"),
);

const RESPONSE = Buffer.from(
  [
    "HTTP/1.1 200 OK",
    "Content-Type: application/json; charset=utf-8",
    "Content-Length: 0",
    "Date: Mon, 02 Feb 2026 10:00:00 GMT",
    "Server: gunicorn/21.2.0",
    "Cache-Control: no-store",
    'ETag: W/"2a-9f86d081884c7d65"',
    "Vary: Accept-Encoding",
    "Connection: keep-alive",
    "",
    "",
  ].join("\r\n"),
);

const CHUNK = 16 << 10;
const CHUNKED = Buffer.concat([
  Buffer.from("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
  ...Array.from({ length: 64 }, () => [encodeChunkHead(CHUNK), Buffer.alloc(CHUNK), Buffer.from("\r\n")]).flat(),
  Buffer.from("0\r\n\r\n"),
]);

let request: RequestHead | undefined;
let response: ResponseHead | undefined;
let octets = 0;

const requests: RequestSink = {
  onRequest(head) {
    request = head;
  },
  onData(chunk) {
    octets += chunk.length;
  },
  onTrailers() {},
  onMessageEnd() {},
  onError(error) {
    throw new Error(error.problem);
  },
};
const responses: ResponseSink = {
  ...requests,
  onInformational() {},
  onResponse(head) {
    response = head;
  },
};

function measure(name: string, messages: number, run: (messages: number) => void): void {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    run(messages);
    const used = process.cpuUsage(before);
    best = Math.min(best, (used.user + used.system) / messages);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(2)} µs`);
}

const server = new RequestParser({}, requests);
const client = new ResponseParser({}, responses);

measure("parse a request, 8 fields", MESSAGES, (messages) => {
  for (let i = 0; i < messages; i++) {
    server.receive(REQUEST);
    server.next();
  }
});
measure("parse a request, split in the middle", MESSAGES, (messages) => {
  for (let i = 0; i < messages; i++) {
    server.receive(REQUEST.subarray(0, 200));
    server.receive(REQUEST.subarray(200));
    server.next();
  }
});
measure("parse a response, 8 fields", MESSAGES, (messages) => {
  for (let i = 0; i < messages; i++) {
    client.expect("GET", false);
    client.receive(RESPONSE);
  }
});
measure("encode a request, parsed before", MESSAGES, (messages) => {
  const head = request!;
  for (let i = 0; i < messages; i++) encodeRequestHead(head, "none", false);
});
measure("encode a response, parsed before", MESSAGES, (messages) => {
  const head = response!;
  for (let i = 0; i < messages; i++) encodeResponseHead(head, "length", "");
});
measure("parse and encode a request", MESSAGES, (messages) => {
  for (let i = 0; i < messages; i++) {
    server.receive(REQUEST);
    server.next();
    encodeRequestHead(request!, "none", false);
  }
});
measure("parse and encode a response", MESSAGES, (messages) => {
  for (let i = 0; i < messages; i++) {
    client.expect("GET", false);
    client.receive(RESPONSE);
    encodeResponseHead(response!, "length", "");
  }
});
measure("read 1 MiB in chunks of 16 KiB", 500, (messages) => {
  for (let i = 0; i < messages; i++) {
    server.receive(CHUNKED);
    server.next();
  }
});
if (octets === 0) throw new Error("nothing was read");
