/**
 * Asks nameservers from inside a pod, run by Node. Each line of its input is one question: how to ask, and the message in
 * hexadecimal; each line of its output is one answer, or why there is none.
 *
 *     {"order":1,"protocol":"udp","server":"10.96.0.53","message":"4242…","deadline":3000}
 *     {"order":1,"message":"4242…"}    {"order":1,"error":"timeout"}
 */
import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const PORT = 53;

function ask({ order, protocol, server, message, deadline = 3000 }) {
  const bytes = Buffer.from(message, "hex");
  let close = () => {};
  let done = false;
  const answer = (said) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    close();
    console.log(JSON.stringify({ order, ...said }));
  };
  const timer = setTimeout(() => answer({ error: "timeout" }), deadline);
  if (protocol === "udp") {
    const socket = createSocket(isIPv6(server) ? "udp6" : "udp4");
    close = () => socket.close();
    socket.on("error", (error) => answer({ error: error.code }));
    socket.on("message", (received) => answer({ message: received.toString("hex") }));
    // Connected: the kernel then takes answers from that address only, and tells of refusals.
    socket.connect(PORT, server, () => socket.send(bytes));
    return;
  }
  const socket = connect(PORT, server);
  let received = Buffer.alloc(0);
  close = () => socket.destroy();
  socket.on("error", (error) => answer({ error: error.code }));
  socket.on("close", () => answer({ error: "closed" }));
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    answer({ message: received.subarray(2, 2 + received.readUInt16BE(0)).toString("hex") });
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  socket.write(Buffer.concat([length, bytes]));
}

createInterface({ input: process.stdin }).on("line", (line) => ask(JSON.parse(line)));
console.log("ready");
