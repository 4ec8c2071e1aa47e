/**
 * The end of HBONE tunnels in a pod without a ztunnel, run by Node: it shows one certificate, whatever the mesh expects,
 * and joins each CONNECT with the pod's own port, or with what `to` has for its authority, as a gateway does. It prints
 * each CONNECT:
 *
 *     node tunnel_end.mjs '{"key":"-----BEGIN …","chain":"-----BEGIN …","to":{"web.example:80":{"ip":"10.77.2.10","port":15008}}}'
 *     CONNECT {"headers":{":method":"CONNECT",…},"identity":"spiffe://…","remote":"10.77.1.10"}
 */
import { createSecureServer } from "node:http2";
import { connect } from "node:net";
import process from "node:process";

const { key, chain, port = 15008, to = {}, status = 200 } = JSON.parse(process.argv[2]);
const server = createSecureServer({
  key,
  cert: chain,
  ALPNProtocols: ["h2"],
  requestCert: true,
  rejectUnauthorized: false,
});
server.on("session", (session) => session.on("error", () => session.destroy()));
server.on("stream", (stream, headers) => {
  const { authority, socket: peer } = { authority: headers[":authority"], socket: stream.session.socket };
  console.log(`CONNECT ${
    JSON.stringify({
      headers,
      identity: (peer.getPeerCertificate().subjectaltname ?? "").replace("URI:", ""),
      remote: peer.remoteAddress.replace("::ffff:", ""),
    })
  }`);
  if (status !== 200) return void stream.respond({ ":status": status }, { endStream: true });
  const own = { ip: "127.0.0.1", port: Number(authority.slice(authority.lastIndexOf(":") + 1)) };
  const target = to[authority] ?? own;
  const socket = connect({ host: target.ip, port: target.port, allowHalfOpen: true });
  const end = () => {
    socket.destroy();
    stream.destroy();
  };
  socket.on("error", end);
  stream.on("error", end);
  socket.on("connect", () => {
    stream.respond({ ":status": 200 });
    socket.pipe(stream);
    stream.pipe(socket);
  });
});
server.listen(port, "::", () => console.log("ready"));
