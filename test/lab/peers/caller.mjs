/**
 * The calling application of the lab, run by Node inside a client pod: one JSON order for each line of stdin, one JSON
 * answer for each line of stdout, `{id, …}` or `{id, error}`. Orders run side by side.
 */
import { createHash } from "node:crypto";
import { connect, constants } from "node:http2";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import process from "node:process";
import { Buffer } from "node:buffer";
import { methods } from "./grpc_service.mjs";

const load = createRequire(`${process.env.AMBIENT_PEERS}/`);
const { WebSocket } = load("ws");
const grpc = load("@grpc/grpc-js");

const sessions = new Map();
const clients = new Map();

function session(origin) {
  const known = sessions.get(origin);
  if (known !== undefined && !known.closed && !known.destroyed) return known;
  const made = connect(origin);
  made.on("error", () => {});
  made.on("goaway", () => sessions.delete(origin));
  made.on("close", () => sessions.get(origin) === made && sessions.delete(origin));
  sessions.set(origin, made);
  return made;
}

/** One HTTP/2 request with prior knowledge. */
function http2({ origin, headers, body, size, trailers }) {
  return new Promise((resolve, reject) => {
    const stream = session(origin).request(headers, {
      endStream: body === undefined && size === undefined && trailers === undefined,
      waitForTrailers: trailers !== undefined,
    });
    const outcome = { interim: [], headers: {}, trailers: {} };
    const chunks = [];
    const hash = createHash("sha256");
    let bytes = 0;
    stream.on("headers", (fields) => outcome.interim.push(fields[":status"]));
    stream.on("response", (fields) => (outcome.headers = fields));
    stream.on("trailers", (fields) => (outcome.trailers = fields));
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.on("data", (chunk) => {
      bytes += chunk.length;
      hash.update(chunk);
      if (bytes < 1 << 20) chunks.push(chunk);
    });
    stream.on("error", reject);
    stream.on("close", () => {
      const code = stream.rstCode;
      if (code !== constants.NGHTTP2_NO_ERROR) outcome.reset = code;
      resolve({ ...outcome, bytes, sha256: hash.digest("hex"), body: Buffer.concat(chunks).toString() });
    });
    if (size !== undefined) stream.end(Buffer.alloc(size, "0123456789abcdef"));
    else if (body !== undefined || trailers !== undefined) stream.end(body ?? "");
  });
}

function client(target) {
  const known = clients.get(target);
  if (known !== undefined) return known;
  const Client = grpc.makeGenericClientConstructor(methods, "GrpcEcho");
  const made = new Client(target, grpc.credentials.createInsecure(), { "grpc.enable_retries": 0 });
  clients.set(target, made);
  return made;
}

function fields(metadata) {
  return Object.fromEntries(
    Object.entries(metadata?.toHttp2Headers() ?? {}).map(([name, value]) => [name, `${value}`]),
  );
}

/** One gRPC call of any kind. */
function call({ target, method, messages, metadata, deadlineMs, cancelAfter }) {
  const headers = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata ?? {})) headers.add(name, value);
  const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const { requestStream, responseStream } = methods[method];
  return new Promise((resolve) => {
    const outcome = { code: 0, details: "", headers: {}, trailers: {}, responses: [] };
    const done = (error, response) => {
      if (response !== undefined) outcome.responses.push(response);
      if (error) Object.assign(outcome, { code: error.code, details: error.details });
    };
    const stub = client(target);
    const args = requestStream ? [headers, options] : [messages[0], headers, options];
    const running = responseStream ? stub[method](...args) : stub[method](...args, done);
    running.on("metadata", (received) => (outcome.headers = fields(received)));
    running.on("status", (status) => {
      Object.assign(outcome, { code: status.code, details: status.details, trailers: fields(status.metadata) });
      // The callback of a call that answers once may come after its status.
      setImmediate(() => resolve(outcome));
    });
    if (responseStream) {
      running.on("data", (message) => {
        outcome.responses.push(message);
        if (outcome.responses.length === cancelAfter) running.cancel();
      });
      running.on("error", () => {});
    }
    if (requestStream) {
      for (const message of messages) running.write(message);
      running.end();
    }
  });
}

/** A WebSocket conversation: says each message once the echo of the one before has come. */
function websocket({ url, headers, protocols, messages }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols ?? [], { headers });
    const received = [];
    let status = 0;
    socket.on("upgrade", (response) => (status = response.statusCode));
    socket.on("unexpected-response", (_, response) => resolve({ status: response.statusCode, received }));
    socket.on("error", reject);
    socket.on("message", (data) => {
      received.push(data.toString());
      const next = messages[received.length - 1];
      if (next === undefined) socket.close(1000, "enough");
      else socket.send(next);
    });
    socket.on("close", (code) => resolve({ status, received, code, protocol: socket.protocol }));
  });
}

const operations = { http2, call, websocket };

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, operation, order } = JSON.parse(line);
  const answer = await operations[operation](order).catch((error) => ({ error: error.message }));
  console.log(JSON.stringify({ id, ...answer }));
}).on("close", () => process.exit(0));
console.log("ready");
