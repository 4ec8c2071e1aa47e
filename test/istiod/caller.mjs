/**
 * A gRPC client by other hands than ours (@grpc/grpc-js, in Node), for the tests of the istiod for tests: orders as JSON
 * lines on stdin, answers and events on stdout. Messages are base64, nothing here knows what is in them.
 *
 *     {open: CHANNEL, target, roots, serverName, limit}   {close: CHANNEL}
 *     {call: N, channel, path, metadata, message}      → {call: N, message} or {call: N, code, details}
 *     {stream: N, channel, path, metadata}             → {stream: N, message}…, {stream: N, code, details}
 *     {send: N, message}   {end: N}   {cancel: N}
 */
import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import process from "node:process";
import { createInterface } from "node:readline";

const grpc = createRequire(`${process.env.AMBIENT_PEERS}/`)("@grpc/grpc-js");
const channels = new Map();
const streams = new Map();

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const keep = (bytes) => bytes;

function metadataOf(fields) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.add(name, value);
  return metadata;
}

const orders = {
  open({ open, target, roots, serverName, limit }) {
    const options = {
      "grpc.max_receive_message_length": limit ?? -1,
      "grpc.enable_retries": 0,
      "grpc.ssl_target_name_override": serverName,
      "grpc.default_authority": serverName,
    };
    channels.set(open, new grpc.Client(target, grpc.credentials.createSsl(Buffer.from(roots)), options));
  },
  close: ({ close }) => channels.get(close).close(),
  call({ call, channel, path, metadata, message }) {
    const bytes = Buffer.from(message, "base64");
    const deadline = Date.now() + 20_000;
    channels.get(channel).makeUnaryRequest(
      path,
      keep,
      keep,
      bytes,
      metadataOf(metadata),
      { deadline },
      (error, answer) =>
        tell(error ? { call, code: error.code, details: error.details } : { call, message: answer.toString("base64") }),
    );
  },
  stream({ stream, channel, path, metadata }) {
    const made = channels.get(channel).makeBidiStreamRequest(path, keep, keep, metadataOf(metadata));
    streams.set(stream, made);
    made.on("data", (message) => tell({ stream, message: message.toString("base64") }));
    // Told by the status as well.
    made.on("error", () => undefined);
    made.on("status", ({ code, details }) => tell({ stream, code, details }));
  },
  send: ({ send, message }) => streams.get(send).write(Buffer.from(message, "base64")),
  end: ({ end }) => streams.get(end).end(),
  cancel: ({ cancel }) => streams.get(cancel).cancel(),
};

createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on("line", (line) => {
    const order = JSON.parse(line);
    orders[Object.keys(order)[0]](order);
  })
  .on("close", () => process.exit(0));
