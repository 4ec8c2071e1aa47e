/** Against servers of other implementations: Node's http2, and gRPC's own for Python where it is installed. */
import { afterAll, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import process from "node:process";
import type { GrpcChannel } from "../../src/grpc/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { bytesOf, textOf } from "./bytes.ts";
import { channelTo, failure, Recorder } from "./client.ts";

const TIMEOUT = 60_000; // ms
const IN_TIME = { timeoutMs: 30_000, maxMessage: 40 << 20 };

const authority = new ForgingCa();
const roots = await authority.ca.rootPem();
const certificate = await authority.forge(["subjectAltName = DNS:istiod.test"]);
const key = join(authority.directory, "server.key");
const chain = join(authority.directory, "server.pem");
await Bun.write(key, certificate.keyPem);
await Bun.write(chain, certificate.chainPem);
afterAll(() => authority.remove());

/** Both servers know: /t.S/Echo, /t.S/Fail, /t.S/Metadata, and /t.S/Sizes, which answers each number with as many bytes. */
const NODE_SERVER = `
const { readFileSync } = require("node:fs");
const [key, cert] = process.argv.slice(1).map((path) => readFileSync(path));
const server = require("node:http2").createSecureServer({ key, cert });
const framed = (body) => { const head = Buffer.alloc(5); head.writeUInt32BE(body.length, 1); return Buffer.concat([head, body]); };
const open = (stream) => {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
};
server.on("stream", (stream, headers) => {
  let bytes = Buffer.alloc(0);
  stream.on("error", () => {});
  const path = headers[":path"];
  if (path === "/t.S/Fail") {
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "7", "grpc-message": "n%C3%A9 pas" }, { endStream: true });
    return;
  }
  if (path === "/t.S/Sizes") open(stream);
  const pieces = [];
  stream.on("data", (chunk) => {
    pieces.push(chunk);
    if (path !== "/t.S/Sizes") return;
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const size = 5 + bytes.readUInt32BE(1);
      stream.write(framed(Buffer.alloc(Number(bytes.subarray(5, size)), 120)));
      bytes = bytes.subarray(size);
    }
  });
  stream.on("end", () => {
    if (path === "/t.S/Sizes") return void stream.end();
    open(stream);
    const { authorization, clusterid } = headers;
    stream.end(path === "/t.S/Echo" ? Buffer.concat(pieces) : framed(Buffer.from([authorization, clusterid].join())));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

const PYTHON_SERVER = `
import grpc, sys
from concurrent import futures

def fail(request, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "n\\u00e9 pas")

def metadata(request, context):
    fields = dict(context.invocation_metadata())
    return ",".join(fields[name] for name in ("authorization", "clusterid")).encode()

def sizes(requests, context):
    for request in requests:
        yield b"x" * int(request)

class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/t.S/Sizes":
            return grpc.stream_stream_rpc_method_handler(sizes)
        unary = {"/t.S/Echo": lambda request, context: request, "/t.S/Fail": fail, "/t.S/Metadata": metadata}
        method = unary.get(details.method)
        return method and grpc.unary_unary_rpc_method_handler(method)

key, chain = (open(path, "rb").read() for path in sys.argv[1:])
server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
server.add_generic_rpc_handlers((Handler(),))
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
server.start()
print(port, flush=True)
server.wait_for_termination()
`;

/** Runs with a server that is ended afterwards. */
async function serving(command: string[], use: (port: number) => Promise<void>): Promise<void> {
  const child = Bun.spawn([...command, key, chain], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  try {
    const first = await child.stdout.getReader().read();
    await use(Number(textOf(first.value ?? new Uint8Array(0))));
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

async function converse(channel: GrpcChannel): Promise<void> {
  expect(textOf(await channel.unary("/t.S/Echo", bytesOf("hello"), IN_TIME))).toBe("hello");
  expect((await channel.unary("/t.S/Echo", new Uint8Array(0), IN_TIME)).length).toBe(0);
  const large = Uint8Array.from({ length: 5_000_001 }, (_, i) => i * 7);
  expect(Buffer.compare(await channel.unary("/t.S/Echo", large, IN_TIME), large)).toBe(0);
  expect(textOf(await channel.unary("/t.S/Metadata", bytesOf(""), IN_TIME))).toBe("Bearer abc,Kubernetes");
  expect(await failure(channel.unary("/t.S/Fail", bytesOf(""), IN_TIME))).toBe(
    "status 7: PERMISSION_DENIED: né pas",
  );
  const many = await Promise.all(
    Array.from({ length: 300 }, (_, i) => channel.unary("/t.S/Echo", bytesOf(`call ${i}`), IN_TIME)),
  );
  expect(many.map(textOf)).toEqual(Array.from({ length: 300 }, (_, i) => `call ${i}`));

  const seen = new Recorder();
  const stream = channel.stream("/t.S/Sizes", seen);
  for (const size of [0, 200, 30_000_000, 201]) stream.send(bytesOf(String(size)));
  seen.react = () => {
    stream.pause();
    setImmediate(() => stream.resume());
  };
  await seen.until(() => seen.events.length === 5);
  expect(seen.events).toEqual(["open", "", "200 bytes", "30000000 bytes", "201 bytes"]);
  stream.cancel();
  await seen.ended();
  expect(seen.events.at(-1)).toBe("end protocol 1: the call was cancelled");
  expect(textOf(await channel.unary("/t.S/Echo", bytesOf("still"), IN_TIME))).toBe("still");
}

async function meet(port: number): Promise<void> {
  const metadata = (): [string, string][] => [["authorization", "Bearer abc"], ["clusterid", "Kubernetes"]];
  const channel = channelTo(port, roots, { metadata });
  try {
    await converse(channel);
  } finally {
    channel.close();
  }
}

/** The interpreter that has gRPC; AMBIENT_TEST_PYTHON names another than python3. */
const python = process.env.AMBIENT_TEST_PYTHON ?? "python3";
const grpcio = Bun.which(python) !== null &&
  Bun.spawnSync([python, "-c", "import grpc"], { stdout: "ignore", stderr: "ignore" }).success;

describe("interop", () => {
  test("Node's http2", () => serving(["node", "-e", NODE_SERVER, "--"], meet), TIMEOUT);

  test.skipIf(!grpcio)(
    `gRPC for Python${grpcio ? "" : " (python3 has no grpcio here: pip install grpcio)"}`,
    () => serving([python, "-c", PYTHON_SERVER], meet),
    TIMEOUT,
  );
});
