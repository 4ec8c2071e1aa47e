/**
 * The echo application of the lab, run by Node: it answers with what it saw, as the echo server of the Gateway API's
 * conformance tests does. HTTP/1.1 and HTTP/2 without TLS on the same ports, WebSocket, gRPC.
 *
 *     node echo.mjs '{"pod":"echo-v1","namespace":"demo","http":[80,8080],"grpc":[7070]}'
 *
 * What an answer is like can be asked for in the query:
 *   status=N        this status             size=N       a body of N bytes instead of JSON
 *   delay=MS        wait before answering   trailer=N:V  a trailer field
 *   header=N:V      an answer header        fail=KEY:N   the first N requests with this key get 503
 *   reset=1         end the connection instead of answering; reset=late: after half of the answer
 *   linger=MS       send the head at once, the body later
 */
import { createHash } from "node:crypto";
import { createServer as createHttp } from "node:http";
import { constants, createServer as createHttp2 } from "node:http2";
import { createServer as createTcp } from "node:net";
import { createRequire } from "node:module";
import process from "node:process";
import { Buffer } from "node:buffer";
import { methods } from "./grpc_service.mjs";

const settings = JSON.parse(process.argv[2]);
const load = createRequire(`${process.env.AMBIENT_PEERS}/`);
const { WebSocketServer } = load("ws");
const grpc = load("@grpc/grpc-js");

const failures = new Map();
const PATTERN = Buffer.alloc(1 << 16, "0123456789abcdef");

function seen(request, extra) {
  const headers = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    headers.push([request.rawHeaders[at], request.rawHeaders[at + 1]]);
  }
  const trailers = [];
  for (let at = 0; at < request.rawTrailers.length; at += 2) {
    trailers.push([request.rawTrailers[at], request.rawTrailers[at + 1]]);
  }
  return {
    method: request.method,
    path: request.url,
    host: request.headers[":authority"] ?? request.headers.host ?? "",
    protocol: `HTTP/${request.httpVersion}`,
    headers,
    trailers,
    remote: request.socket.remoteAddress.replace(/^::ffff:/, ""),
    port: request.socket.localPort,
    pod: settings.pod,
    namespace: settings.namespace,
    ...extra,
  };
}

/** Splits at the first colon. */
function pair(text) {
  const colon = text.indexOf(":");
  return [text.slice(0, colon), text.slice(colon + 1)];
}

function shouldFail(key, times) {
  const count = (failures.get(key) ?? 0) + 1;
  failures.set(key, count);
  return count <= times;
}

async function answer(request, response, expectation) {
  const query = new URL(request.url, "http://echo").searchParams;
  const hash = createHash("sha256");
  let bytes = 0;
  if (query.has("early")) {
    request.resume();
  } else {
    for await (const chunk of request) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  }
  if (query.has("delay")) {
    console.log(`delaying ${request.url}`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, Number(query.get("delay")));
      response.once("close", () => {
        clearTimeout(timer);
        console.log(`cancelled ${request.url}`);
        resolve();
      });
    });
    if (response.destroyed) return;
  }
  if (query.get("reset") === "1") return abort(request);
  let status = Number(query.get("status") ?? 200);
  if (query.has("fail")) {
    const [key, times] = pair(query.get("fail"));
    if (shouldFail(key, Number(times))) status = 503;
  }
  const trailers = query.getAll("trailer").map(pair);
  response.statusCode = status;
  for (const [name, value] of query.getAll("header").map(pair)) response.appendHeader(name, value);
  if (trailers.length > 0) response.setHeader("trailer", trailers.map(([name]) => name).join(", "));
  console.log(`${request.method} ${request.url} ${status}`);
  if (status === 204 || status === 304) return response.end();
  if (query.has("size")) {
    const size = Number(query.get("size"));
    response.setHeader("content-type", "application/octet-stream");
    if (trailers.length === 0) response.setHeader("content-length", `${size}`);
    if (request.method === "HEAD") return response.end();
    const half = query.get("reset") === "late" ? size / 2 : size;
    for (let sent = 0; sent < half;) {
      const piece = PATTERN.subarray(0, Math.min(PATTERN.length, half - sent));
      sent += piece.length;
      if (!response.write(piece)) await new Promise((resolve) => response.once("drain", resolve));
    }
    if (half < size) return abort(request);
  } else {
    response.setHeader("content-type", "application/json");
    const text = JSON.stringify(seen(request, { bytes, sha256: hash.digest("hex"), expectation }));
    if (trailers.length === 0) response.setHeader("content-length", `${Buffer.byteLength(text)}`);
    if (query.has("linger")) {
      response.flushHeaders();
      await new Promise((resolve) => setTimeout(resolve, Number(query.get("linger"))));
    }
    if (request.method !== "HEAD") response.write(text);
  }
  for (const [name, value] of trailers) response.addTrailers({ [name]: value });
  response.end();
}

/** Ends without an answer: the stream where there are streams, the connection otherwise. */
function abort(request) {
  if (request.stream !== undefined) request.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  else request.socket.destroy();
}

function handle(request, response, expectation) {
  answer(request, response, expectation).catch((error) => {
    console.log(`gone ${request.url} ${error.message}`);
    response.destroy();
  });
}

const http = createHttp({ keepAliveTimeout: 120_000 }, (request, response) => handle(request, response, "none"));
http.on("checkContinue", (request, response) => {
  response.writeContinue();
  handle(request, response, "100-continue");
});
const http2 = createHttp2({}, (request, response) => handle(request, response, "none"));
const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
http.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.send(JSON.stringify(seen(request, {})));
    client.on("message", (data, binary) => client.send(data, { binary }));
    client.on("close", (code, reason) => console.log(`websocket closed ${code} ${reason}`));
  });
});

const PREFACE = "PRI * HTTP/2.0";

/** Gives a connection to the server of the protocol that its first bytes speak. */
function distribute(socket) {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.once("readable", () => {
    const first = socket.read();
    if (first === null) return socket.destroy();
    socket.unshift(first);
    const second = first.subarray(0, PREFACE.length).toString("latin1") === PREFACE;
    (second ? http2 : http).emit("connection", socket);
  });
}

function grpcHandlers() {
  const context = (call) => ({
    pod: settings.pod,
    namespace: settings.namespace,
    authority: call.getHost(),
    peer: call.getPeer(),
    metadata: Object.entries(call.metadata.toHttp2Headers()).map(([name, value]) => [name, `${value}`]),
  });
  const unary = (call, callback) => {
    const { request } = call;
    if (request.waitMs !== undefined) {
      const timer = setTimeout(() => callback(null, context(call)), request.waitMs);
      call.on("cancelled", () => {
        clearTimeout(timer);
        console.log(`grpc cancelled ${request.waitMs}`);
      });
      return;
    }
    const trailers = new grpc.Metadata();
    trailers.set("x-trailer", settings.pod);
    if (request.fail !== undefined) {
      const [key, times] = pair(request.fail);
      if (!shouldFail(key, Number(times))) return callback(null, context(call), trailers);
      return callback({ code: request.code ?? 14, details: "told to fail", metadata: trailers });
    }
    if (request.code !== undefined) {
      return callback({ code: request.code, details: request.details ?? "", metadata: trailers });
    }
    callback(null, { ...context(call), message: request }, trailers);
  };
  return {
    Echo: unary,
    EchoTwo: unary,
    Collect(call, callback) {
      const texts = [];
      call.on("data", (message) => texts.push(message.text));
      call.on("end", () => callback(null, { ...context(call), texts }));
    },
    Spread(call) {
      const { count, size = 0 } = call.request;
      for (let index = 0; index < count; index++) call.write({ index, text: "x".repeat(size), pod: settings.pod });
      call.end();
    },
    Chat(call) {
      call.on("data", (message) => call.write({ text: `re: ${message.text}`, pod: settings.pod }));
      call.on("end", () => call.end());
    },
  };
}

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "::", ipv6Only: false, backlog: 1024 }, resolve);
  });
}

for (const port of settings.http ?? []) await listen(createTcp(distribute), port);
for (const port of settings.grpc ?? []) {
  const server = new grpc.Server();
  server.addService(methods, grpcHandlers());
  await new Promise((resolve, reject) =>
    server.bindAsync(`[::]:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    })
  );
}
console.log("ready");
