/** Run without any capability: prints what is refused, and how, as JSON. Its argument is the port of a listener on 127.0.0.1. */
import process from "node:process";
import {
  closeFd,
  connectTcp,
  listenTcp,
  markRefusal,
  namespaceRefusal,
  peerAddress,
  SystemError,
} from "../../src/linux/mod.ts";

const port = Number(process.argv[2]);
const address = { ip: "127.0.0.1", port: 0 };
const common = { address, backlog: 1, reusePort: false, reuseAddress: true };

function thrown(body: () => unknown): string {
  try {
    body();
    return "nothing";
  } catch (error) {
    return String(error);
  }
}

const tried = listenTcp({ ...common, transparent: "try" });
closeFd(tried.fd);
let sourceRefusal = "nothing";
const spoofed = connectTcp({
  destination: { ip: "127.0.0.1", port },
  source: "192.0.2.1",
  onSourceRefused: (error) => sourceRefusal = String(error),
});

console.log(JSON.stringify({
  marking: String(markRefusal(0x539)),
  namespace: String(namespaceRefusal()),
  tried: tried.transparent,
  required: thrown(() => listenTcp({ ...common, transparent: "require" })),
  mark: thrown(() => listenTcp({ ...common, mark: 1 })),
  markedConnect: String(connectTcp({ destination: { ip: "127.0.0.1", port }, mark: 1 })),
  sourceRefusal,
  peer: spoofed instanceof SystemError ? String(spoofed) : peerAddress(spoofed)?.ip,
}));
