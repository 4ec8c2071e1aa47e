/** Against another implementation on real sockets: Node's http2 (nghttp2), as server and as client. */
import type { Socket } from "bun";
import { expect, test } from "bun:test";
import {
  type HeaderList,
  Http2Connection,
  type Http2Handler,
  type Http2Options,
  type Http2Stream,
} from "../../src/http2/mod.ts";

const OPTIONS: Http2Options = {
  initialWindowSize: 200_000,
  connectionWindowSize: 300_000,
  maxFrameSize: 50_000,
  maxHeaderListSize: 64 << 10,
  maxSendBuffer: 100_000,
};
const SIZE = 3_000_001;
const STREAMS = 8;
const TIMEOUT = 20_000; // ms

/** Echoes bodies, with their length as a trailer. Speaks its port. */
const NODE_SERVER = `
const server = require("node:http2").createServer();
server.on("stream", (stream, headers) => {
  stream.respond({ ":status": 200, "x-path": headers[":path"] }, { waitForTrailers: true });
  let size = 0;
  stream.on("data", (chunk) => { size += chunk.length; if (!stream.write(chunk)) { stream.pause(); stream.once("drain", () => stream.resume()); } });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-size": String(size) }));
  stream.on("end", () => stream.end());
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/** Posts bodies to a port and prints what came back as JSON. */
const NODE_CLIENT = `
const [port, size, streams] = process.argv.slice(1).map(Number);
const session = require("node:http2").connect("http://127.0.0.1:" + port, { maxSessionMemory: 100 });
Promise.all(Array.from({ length: streams }, (_, i) => new Promise((resolve, reject) => {
  const request = session.request({ ":method": "POST", ":path": "/" + i, "x-long": "v".repeat(20000) });
  let got = 0, wrong = 0, trailers = {};
  request.on("error", reject);
  request.on("data", (chunk) => { for (const octet of chunk) if (octet !== (got++ * 7 + i & 255)) wrong++; });
  request.on("trailers", (list) => { trailers = list; });
  request.on("end", () => resolve({ got, wrong, trailer: trailers["x-size"] }));
  request.end(Buffer.from(Uint8Array.from({ length: size }, (_, at) => at * 7 + i)));
}))).then((results) => { console.log(JSON.stringify(results)); session.close(); });
`;

interface Link {
  socket: Socket<Link>;
  connection: Http2Connection<Exchange>;
  rest: Uint8Array | undefined;
}

interface Exchange {
  readonly index: number;
  received: number;
  wrong: number;
  trailers: HeaderList;
}

function flush(link: Link): void {
  for (;;) {
    const piece = link.rest ?? link.connection.nextOutput();
    if (piece === undefined) return;
    const written = Math.max(0, link.socket.write(piece));
    link.rest = written < piece.length ? piece.subarray(written) : undefined;
    if (link.rest !== undefined) return;
  }
}

/** Socket callbacks that serve a codec. */
const plumbing = {
  data(socket: Socket<Link>, bytes: Uint8Array): void {
    socket.data.connection.receive(bytes);
    flush(socket.data);
  },
  drain(socket: Socket<Link>): void {
    flush(socket.data);
  },
  close(socket: Socket<Link>): void {
    socket.data?.connection.transportClosed("the socket closed");
  },
  error(): void {},
};

const quiet = {
  onOutput() {},
  onWritable() {},
  onReset() {},
  onStreamClosed() {},
  onConnectionError(_connection: Http2Connection<Exchange>, code: number, message: string) {
    throw new Error(`connection error ${code}: ${message}`);
  },
};

const node = Bun.which("node");

test.skipIf(node === null)("our client, Node's server", async () => {
  const child = Bun.spawn([node!, "-e", NODE_SERVER], { stdout: "pipe", stderr: "inherit" });
  try {
    const reader = child.stdout.getReader();
    const port = Number(new TextDecoder().decode((await reader.read()).value));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let open = STREAMS;
    const handler: Http2Handler<Exchange> = {
      ...quiet,
      onHeaders(stream, headers) {
        if (headers[0]![1] !== "200") reject(new Error(`status ${headers[0]![1]}`));
        if (headers.find(([name]) => name === "x-path")![1] !== `/${stream.data.index}`) reject(new Error("mixed up"));
      },
      onData(stream, chunk) {
        const own = stream.data;
        for (const octet of chunk) if (octet !== ((own.received++ * 7 + own.index) & 255)) own.wrong++;
        stream.consume(chunk.length);
      },
      onTrailers(stream, trailers) {
        stream.data.trailers = trailers;
      },
      onReset: (_stream, code) => reject(new Error(`reset ${code}`)),
      onStreamClosed() {
        if (--open === 0) resolve();
      },
    };
    const connection = new Http2Connection<Exchange>("client", OPTIONS, handler);
    const socket = await Bun.connect<Link>({ hostname: "127.0.0.1", port, allowHalfOpen: true, socket: plumbing });
    const link: Link = { socket, connection, rest: undefined };
    socket.data = link;
    const exchanges = Array.from(
      { length: STREAMS },
      (_, index): Exchange => ({ index, received: 0, wrong: 0, trailers: [] }),
    );
    for (const exchange of exchanges) {
      const list: HeaderList = [[":method", "POST"], [":scheme", "http"], [":path", `/${exchange.index}`], [
        ":authority",
        "a",
      ]];
      const stream = connection.request(list, false, exchange)!;
      stream.sendData(Uint8Array.from({ length: SIZE }, (_, at) => at * 7 + exchange.index), true);
    }
    flush(link);
    await promise;
    for (const exchange of exchanges) {
      expect(exchange).toEqual({
        index: exchange.index,
        received: SIZE,
        wrong: 0,
        trailers: [["x-size", String(SIZE)]],
      });
    }
    socket.end();
  } finally {
    child.kill();
    await child.exited;
  }
}, TIMEOUT);

test.skipIf(node === null)("Node's client, our server", async () => {
  const handler: Http2Handler<Exchange> = {
    ...quiet,
    onHeaders(stream) {
      stream.data = { index: stream.id, received: 0, wrong: 0, trailers: [] };
      stream.respond([[":status", "200"]], false);
    },
    onData(stream: Http2Stream<Exchange>, chunk, end) {
      stream.data.received += chunk.length;
      stream.consume(chunk.length);
      stream.sendData(chunk, false);
      if (end) stream.sendTrailers([["x-size", String(stream.data.received)]]);
    },
    onTrailers() {},
  };
  const listener = Bun.listen<Link>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      ...plumbing,
      open(socket) {
        const connection = new Http2Connection<Exchange>("server", OPTIONS, handler);
        socket.data = { socket, connection, rest: undefined };
        flush(socket.data);
      },
      end(socket) {
        socket.end();
      },
    },
  });
  try {
    const command = [node!, "-e", NODE_CLIENT, String(listener.port), String(SIZE), String(STREAMS)];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit", timeout: TIMEOUT, killSignal: "SIGKILL" });
    const results = JSON.parse(await new Response(child.stdout).text());
    expect(results).toEqual(Array.from({ length: STREAMS }, () => ({ got: SIZE, wrong: 0, trailer: String(SIZE) })));
  } finally {
    listener.stop(true);
  }
}, TIMEOUT);
