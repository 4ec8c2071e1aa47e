/**
 * The yardstick: what a relay costs at least. One TLS connection for each TCP connection, callbacks only, nothing decided,
 * nothing counted. It captures as ztunnel does: listening in the pod's namespace, marked sockets, original destination,
 * the client's source address toward the application.
 *
 *     relay outbound NETNS CERTIFICATES            15001 → TLS to <original destination>:15008
 *     relay inbound  NETNS CERTIFICATES APP_PORT   15008 → <pod address>:APP_PORT
 *
 * CERTIFICATES is a JSON file {key, chain, roots} of PEM texts. It says `ready` once it listens.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Socket, SocketHandler } from "bun";
import {
  connectTcp,
  listenTcp,
  localAddress,
  openNamespace,
  originalDestination,
  peerAddress,
  socketError,
  SystemError,
} from "../../src/linux/mod.ts";
import { adoptConnection, adoptListener, descriptorOf } from "../lab/traffic/adoption.ts";

const MARK = 0x539;
const OUTBOUND_PORT = 15001;
const TLS_PORT = 15008;
const BACKLOG = 4096;
const EMPTY = new Uint8Array(0);

/** One end of a relayed connection. `rest` is what its kernel buffer had no room for. */
class End {
  socket: Socket<End> | undefined;
  other: End | undefined;
  rest: Uint8Array = EMPTY;
  /** The other end has finished: a FIN is due once `rest` is written. */
  finishing = false;
  finished = false;
  ready = false;

  /** Sends or keeps; the sender is paused while something is kept. */
  take(chunk: Uint8Array): void {
    if (!this.ready || this.rest.length > 0) {
      this.keep(chunk);
      return;
    }
    const taken = Math.max(0, this.socket?.write(chunk) ?? 0);
    if (taken < chunk.length) this.keep(chunk.subarray(taken));
  }

  flush(): void {
    if (this.rest.length > 0) {
      const taken = Math.max(0, this.socket?.write(this.rest) ?? 0);
      this.rest = this.rest.subarray(taken);
      if (this.rest.length > 0) return;
      this.rest = EMPTY;
      this.other?.socket?.resume();
    }
    if (this.finishing && !this.finished) {
      this.finished = true;
      // Not end(): that closes the receiving direction too.
      this.socket?.shutdown();
    }
  }

  finish(): void {
    this.finishing = true;
    if (this.ready && this.rest.length === 0) this.flush();
  }

  keep(chunk: Uint8Array): void {
    const all = new Uint8Array(this.rest.length + chunk.length);
    all.set(this.rest);
    all.set(chunk, this.rest.length);
    this.rest = all;
    this.other?.socket?.pause();
  }
}

const relaying: SocketHandler<End> = {
  data(socket, chunk) {
    socket.data.other?.take(chunk);
  },
  drain(socket) {
    if (socket.data.ready) socket.data.flush();
  },
  end(socket) {
    socket.data.other?.finish();
  },
  close(socket) {
    const other = socket.data?.other;
    if (other === undefined) return;
    socket.data.other = undefined;
    other.other = undefined;
    other.finish();
  },
  error(socket) {
    socket.terminate();
  },
};

/** Connects the far end of `near`, whose socket stays paused until bytes can go somewhere. */
function dial(near: End, fd: number | SystemError, tls: Bun.TLSOptions | undefined): void {
  if (fd instanceof SystemError) {
    near.socket?.terminate();
    return;
  }
  const far = new End();
  far.other = near;
  near.other = far;
  const usable = (socket: Socket<End>) => {
    far.socket = socket;
    far.ready = true;
    far.flush();
    near.socket?.resume();
  };
  const socket: SocketHandler<End> = {
    ...relaying,
    open(socket) {
      far.socket = socket;
      if (socketError(descriptorOf(socket)) !== 0) socket.terminate();
      else if (tls === undefined) usable(socket);
    },
    handshake: usable,
    connectError() {
      near.socket?.terminate();
    },
  };
  adoptConnection({ fd, data: far, socket, tls }).catch(() => near.socket?.terminate());
}

const [direction, namespacePath = "", certificatePath = "", appPort = "0"] = process.argv.slice(2);
const certificates = JSON.parse(readFileSync(certificatePath, "utf8")) as { key: string; chain: string; roots: string };
const tls: Bun.TLSOptions = {
  key: certificates.key,
  cert: certificates.chain,
  ca: certificates.roots,
  rejectUnauthorized: false,
};
const namespace = openNamespace(namespacePath);
const outbound = direction === "outbound";
const listener = listenTcp({
  namespace,
  address: { ip: "0.0.0.0", port: outbound ? OUTBOUND_PORT : TLS_PORT },
  backlog: BACKLOG,
  reusePort: true,
  reuseAddress: false,
  mark: MARK,
  transparent: "try",
  noDelay: true,
});

function accepted(socket: Socket<End>): End {
  const near = new End();
  near.socket = socket;
  near.ready = true;
  socket.data = near;
  socket.pause();
  return near;
}

const capturing: SocketHandler<End> = {
  ...relaying,
  open(socket) {
    const near = accepted(socket);
    const target = originalDestination(descriptorOf(socket));
    if (target === undefined) socket.terminate();
    else dial(near, connectTcp({ namespace, destination: { ip: target.ip, port: TLS_PORT }, mark: MARK }), tls);
  },
};

const terminating: SocketHandler<End> = {
  ...relaying,
  // Nothing is paired before the handshake: the client's bytes come after it.
  open() {},
  handshake(socket) {
    const near = accepted(socket);
    const fd = descriptorOf(socket);
    const own = localAddress(fd);
    const source = peerAddress(fd);
    if (own === undefined || source === undefined) return void socket.terminate();
    const destination = { ip: own.ip, port: Number(appPort) };
    dial(near, connectTcp({ namespace, destination, source: source.ip, mark: MARK }), undefined);
  },
};

adoptListener(outbound ? { fd: listener.fd, socket: capturing } : { fd: listener.fd, socket: terminating, tls });
process.stdout.write("ready\n");
