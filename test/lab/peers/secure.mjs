/**
 * An application of the lab outside the mesh, run by Node: one port that takes HTTP with and without TLS, each with and
 * without a PROXY protocol header before it, and answers with what it saw of the connection.
 *
 *     node secure.mjs '{"port":8443,"key":"-----BEGIN …","chain":"-----BEGIN …"}'
 *
 * It answers `{"secure":true,"sni":"…","proxy":{"version":1,"source":"ip:port","destination":"ip:port"},"connection":7}`;
 * `delay=MS` in the query makes it wait. At the end of a connection it prints `closed 7`.
 */
import { Buffer } from "node:buffer";
import { createServer as createHttp } from "node:http";
import { createServer as createTcp } from "node:net";
import process from "node:process";
import { createSecureContext, TLSSocket } from "node:tls";

const { port, key, chain } = JSON.parse(process.argv[2]);
const secureContext = createSecureContext({ key, cert: chain });
/** PROXY protocol version 2, §2.2: the signature. */
const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const FIXED = 16;
const HANDSHAKE = 0x16;
let connections = 0;

const http = createHttp({ keepAliveTimeout: 120_000 }, (request, response) => {
  const { seen, servername } = request.socket;
  const secure = request.socket instanceof TLSSocket;
  const answer = { ...seen, secure, sni: typeof servername === "string" ? servername : "" };
  console.log(`${request.method} ${request.url}`);
  const delay = Number(new URL(request.url, "http://secure").searchParams.get("delay") ?? 0);
  setTimeout(() => response.end(JSON.stringify(answer)), delay);
});

function ipv4(bytes, at) {
  return [...bytes.subarray(at, at + 4)].join(".");
}

/** The header at the start, and how long it is; null: there is none; undefined: more must come first. */
function proxyHeader(bytes) {
  if (bytes.subarray(0, 6).toString("latin1") === "PROXY ") {
    const end = bytes.indexOf("\r\n");
    if (end < 0) return undefined;
    const [, , from, to, fromPort, toPort] = bytes.subarray(0, end).toString("latin1").split(" ");
    return { length: end + 2, seen: { version: 1, source: `${from}:${fromPort}`, destination: `${to}:${toPort}` } };
  }
  if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return null;
  if (bytes.length < FIXED || bytes.length < FIXED + bytes.readUInt16BE(14)) return undefined;
  return {
    length: FIXED + bytes.readUInt16BE(14),
    seen: {
      version: bytes[12] >> 4,
      source: `${ipv4(bytes, FIXED)}:${bytes.readUInt16BE(FIXED + 8)}`,
      destination: `${ipv4(bytes, FIXED + 4)}:${bytes.readUInt16BE(FIXED + 10)}`,
    },
  };
}

createTcp((socket) => {
  const connection = ++connections;
  socket.on("error", () => socket.destroy());
  socket.on("close", () => console.log(`closed ${connection}`));
  let proxy = null;
  const look = () => {
    const bytes = socket.read();
    if (bytes === null) return void socket.once("readable", look);
    const header = proxyHeader(bytes);
    if (header === undefined) {
      socket.unshift(bytes);
      return void socket.once("readable", look);
    }
    if (header !== null) {
      proxy = header.seen;
      const rest = bytes.subarray(header.length);
      if (rest.length === 0) return void socket.once("readable", hand);
      socket.unshift(rest);
    } else socket.unshift(bytes);
    hand();
  };
  const hand = () => {
    const first = socket.read();
    if (first === null) return void socket.once("readable", hand);
    socket.unshift(first);
    const inner = first[0] === HANDSHAKE ? new TLSSocket(socket, { isServer: true, secureContext }) : socket;
    inner.on("error", () => socket.destroy());
    inner.seen = { connection, proxy };
    http.emit("connection", inner);
  };
  socket.once("readable", look);
}).listen(port, "0.0.0.0", () => console.log("ready"));
