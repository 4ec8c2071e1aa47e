/** Run by system_lookup.test.ts: a name server on port 53, and what the runtime's resolver makes of its answers. */
import { decodeMessage, encodeMessage, HostnameResolver, systemLookup, TYPE } from "../../src/dns/mod.ts";
import { address } from "./records.ts";

const CODES: Record<string, number> = { "four.test.": 0, "none.test.": 0, "broken.test.": 2 };

const server = await Bun.udpSocket({
  hostname: "127.0.0.1",
  port: 53,
  socket: {
    data(socket, bytes, port, ip) {
      const decoded = decodeMessage(bytes);
      const [question] = decoded.ok ? decoded.message.questions : [];
      if (!decoded.ok || question === undefined) return;
      const rcode = CODES[question.name] ?? 3;
      const has = question.name === "four.test." && question.type === TYPE.A;
      const answers = has ? [address(question.name, "192.0.2.1", 9)] : [];
      socket.send(encodeMessage({ ...decoded.message, response: true, rcode, answers, edns: undefined }), port, ip);
    },
  },
});

const found: Record<string, unknown> = {};
for (
  const [name, family] of [
    ["four.test.", 4],
    ["four.test.", 6],
    ["none.test.", 4],
    ["nowhere.test.", 4],
    ["nowhere.test.", 6],
    ["broken.test.", 4],
  ] as const
) {
  found[`${name} ${family}`] = await systemLookup(name, family).catch((error) => error.code);
}
const resolver = new HostnameResolver({ ipv6: true });
for (const name of ["four.test.", "none.test."]) {
  found[`${name} by a resolver for IPv6`] = await new Promise((done) => resolver.resolve(name, "IPv6", done));
}
console.log(JSON.stringify(found));
server.close();
