/**
 * A nameserver in a pod, run by Node, UDP and TCP at port 53, with the zone it is given: a name has addresses, a rcode, or
 * nothing (it then stays silent). It prints each question: `udp a example.test. from 10.77.1.10`.
 *
 *     node nameserver.mjs '{"example.test.":{"a":["192.0.2.1"],"ttl":60},"none.test.":{"code":3},"silent.test.":null}'
 *
 * Names it does not know do not exist. Answers that are too long for UDP are truncated as RFC 1035 §4.2.1 says.
 */
import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import process from "node:process";

const zone = JSON.parse(process.argv[2]);
const A = 1;
const TXT = 16;
const AAAA = 28;
const TYPES = { [A]: "a", [TXT]: "txt", [AAAA]: "aaaa" };
const UDP_LIMIT = 512;
const NXDOMAIN = 3;

function question(message) {
  const labels = [];
  let at = 12;
  while (message[at] !== 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + message[at]));
    at += 1 + message[at];
  }
  return { name: `${labels.join(".")}.`.toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function addressBytes(address, type) {
  if (type === TXT) return Buffer.from([address.length, ...Buffer.from(address)]);
  if (type === A) return Buffer.from(address.split(".").map(Number));
  const [head, tail = ""] = address.split("::");
  const groups = (text) => text.split(":").filter(Boolean).map((group) => Number.parseInt(group, 16));
  const all = [...groups(head), ...Array(8 - groups(head).length - groups(tail).length).fill(0), ...groups(tail)];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** The answer; undefined: none. */
function answer(message, protocol, from) {
  const { name, type, end } = question(message);
  console.log(`${protocol} ${TYPES[type] ?? type} ${name} from ${from.replace("::ffff:", "")}`);
  const known = zone[name];
  if (known === null) return undefined;
  const records = (known?.[TYPES[type]] ?? []).map((address) => {
    const data = addressBytes(address, type);
    const head = Buffer.alloc(12);
    head.writeUInt16BE(0xc00c, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt32BE(known.ttl ?? 60, 6);
    head.writeUInt16BE(data.length, 10);
    return Buffer.concat([head, data]);
  });
  const whole = end + records.reduce((sum, record) => sum + record.length, 0);
  const truncated = protocol === "udp" && whole > UDP_LIMIT;
  const head = Buffer.from(message.subarray(0, end));
  const code = known === undefined ? NXDOMAIN : known.code ?? 0;
  head.writeUInt16BE(0x8180 | (truncated ? 0x0200 : 0) | code, 2);
  head.writeUInt16BE(truncated ? 0 : records.length, 6);
  head.writeUInt32BE(0, 8);
  return truncated ? head : Buffer.concat([head, ...records]);
}

const socket = createSocket({ type: "udp6", ipv6Only: false });
socket.on("message", (message, { address, port }) => {
  const bytes = answer(message, "udp", address);
  if (bytes !== undefined) socket.send(bytes, port, address);
});
const server = createServer((connection) => {
  let received = Buffer.alloc(0);
  connection.on("error", () => connection.destroy());
  connection.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const length = received.readUInt16BE(0);
      const bytes = answer(received.subarray(2, 2 + length), "tcp", connection.remoteAddress);
      received = received.subarray(2 + length);
      if (bytes === undefined) continue;
      const size = Buffer.alloc(2);
      size.writeUInt16BE(bytes.length);
      connection.write(Buffer.concat([size, bytes]));
    }
  });
});
socket.bind(53, "::", () => server.listen(53, "::", () => console.log("ready")));
