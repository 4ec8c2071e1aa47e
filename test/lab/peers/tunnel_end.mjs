/**
 * The end of HBONE tunnels in a pod without a ztunnel, run by Node: it shows one certificate, whatever the mesh expects,
 * and joins each CONNECT with the pod's own port.
 *
 *     node tunnel_end.mjs '{"key":"-----BEGIN …","chain":"-----BEGIN …"}'
 */
import { createSecureServer } from "node:http2";
import { connect } from "node:net";
import process from "node:process";

const { key, chain } = JSON.parse(process.argv[2]);
const server = createSecureServer({ key, cert: chain, ALPNProtocols: ["h2"] });
server.on("session", (session) => session.on("error", () => session.destroy()));
server.on("stream", (stream, headers) => {
  const authority = headers[":authority"];
  const socket = connect(Number(authority.slice(authority.lastIndexOf(":") + 1)), "127.0.0.1");
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
server.listen(15008, "0.0.0.0", () => console.log("ready"));
