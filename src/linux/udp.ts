/**
 * UDP sockets of a network namespace. The runtime makes and polls them itself: `Bun.udpSocket` calls socket() and bind()
 * before it returns, so it can be called inside the namespace, and its descriptor is there for the mark. Measured beside
 * non-blocking sockets through bun:ffi with SIGIO for their readiness, an echo of one datagram costs 9.8 µs of CPU here
 * and 10.1 µs there when they come one by one, 6.5 and 4.6 µs when they come 32 at a time; but a signal does not say which
 * of a hundred pods it is for, so that an epoll of our own would be needed as well. 200 sockets take 0.7 MB; making,
 * marking and closing a connected one inside another namespace costs 21 µs.
 */
import { ptr } from "bun:ffi";
import { isIpv4, type SocketAddress } from "../net/address.ts";
import { SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_MARK, SO_MEMINFO, SOL_SOCKET } from "./constants.ts";
import { SystemError } from "./error.ts";
import { libc } from "./libc.ts";
import { inNamespace } from "./namespace.ts";
import { preferNewest, receiveQueue } from "./reuseport.ts";
import { requireOption, setOption } from "./socket.ts";

export interface UdpOptions {
  /** Descriptor of the network namespace; the thread's own when absent. */
  readonly namespace?: number;
  readonly mark?: number;
}

export interface UdpBindOptions extends UdpOptions {
  readonly address: SocketAddress;
  /** SO_REUSEPORT: two processes share the port during an upgrade; the newer one gets the datagrams (reuseport.ts). */
  readonly reusePort: boolean;
  /** A datagram, in memory of its own. */
  readonly received: (bytes: Uint8Array, port: number, ip: string) => void;
}

export interface UdpConnectOptions extends UdpOptions {
  readonly server: SocketAddress;
  /** A datagram from the server, in memory of its own. */
  readonly received: (bytes: Uint8Array) => void;
  /** The network said something: `ECONNREFUSED` and so on. The socket is as open as before. */
  readonly failed: (code: string) => void;
}

/** LIBUS_LISTEN_REUSE_PORT, in the `flags` of Bun.udpSocket: SO_REUSEPORT before bind(). Not in its type declarations. */
const REUSE_PORT = 4;

/**
 * struct sock_fprog and behind it its one struct sock_filter: BPF_RET | BPF_K with 0, which keeps nothing of any packet. In
 * one buffer, which functions hold on to: what only this file's own code refers to is collected once that has run, and the
 * kernel was then given whatever had come in its place.
 */
const SOCK_FPROG = 16; // bytes
const dropProgram = new DataView(new ArrayBuffer(SOCK_FPROG + 8));
dropProgram.setUint16(0, 1, true);
dropProgram.setBigUint64(8, BigInt(ptr(dropProgram)) + BigInt(SOCK_FPROG), true);
dropProgram.setUint16(SOCK_FPROG, 0x06, true);

/** What SO_MEMINFO fills (linux/sock_diag.h), and where in it the kernel says how many datagrams it dropped. */
const memoryInfo = new Uint32Array(new ArrayBuffer(9 * 4));
const memoryInfoLength = new Int32Array(new ArrayBuffer(4));
const SK_MEMINFO_DROPS = 8;

type RuntimeSocket = Bun.udp.Socket<"buffer"> & { readonly fd: number };
type RuntimeConnection = Bun.udp.ConnectedSocket<"buffer"> & { readonly fd: number };

/** A bound socket. */
export class UdpSocket {
  readonly #socket: RuntimeSocket;
  readonly address: SocketAddress;

  constructor(socket: RuntimeSocket, address: SocketAddress) {
    this.#socket = socket;
    this.address = address;
  }

  get fd(): number {
    return this.#socket.fd;
  }

  /** Sends a datagram if there is room for it; false if it was dropped. */
  send(bytes: Uint8Array<ArrayBuffer>, port: number, ip: string): boolean {
    if (this.#socket.closed) return false;
    try {
      return this.#socket.send(bytes, port, ip);
    } catch {
      return false; // its kernel does not want it: too long, or nowhere to go
    }
  }

  /**
   * Lets the kernel drop what arrives from now on, or stops that. What is in its queue comes nevertheless. The runtime
   * cannot pause a UDP socket: it reads as long as there is something, which a flood never lets end.
   */
  setDeaf(deaf: boolean): void {
    if (this.#socket.closed) return;
    if (deaf) libc().setsockopt(this.fd, SOL_SOCKET, SO_ATTACH_FILTER, ptr(dropProgram), SOCK_FPROG);
    else setOption(this.fd, SOL_SOCKET, SO_DETACH_FILTER, 0, "SO_DETACH_FILTER");
  }

  /** Datagrams that the kernel has dropped so far: while deaf, or because its queue was full. Wraps around at 2³². */
  get drops(): number | undefined {
    if (this.#socket.closed) return undefined;
    memoryInfoLength[0] = memoryInfo.byteLength;
    const read = libc().getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, ptr(memoryInfo), ptr(memoryInfoLength));
    return read === 0 ? memoryInfo[SK_MEMINFO_DROPS] : undefined;
  }

  /** Whether the kernel holds datagrams for it that have not come yet. */
  get hasUnread(): boolean {
    return !this.#socket.closed && (receiveQueue(this.fd) ?? 0) > 0;
  }

  close(): void {
    this.#socket.close();
  }
}

/** A socket that sends to, and hears from, one server. */
export class UdpConnection {
  readonly #socket: RuntimeConnection;

  constructor(socket: RuntimeConnection) {
    this.#socket = socket;
  }

  get fd(): number {
    return this.#socket.fd;
  }

  /** Our end's. */
  get port(): number {
    return this.#socket.port;
  }

  /** The code of the failure if it cannot be sent. */
  send(bytes: Uint8Array<ArrayBuffer>): string | undefined {
    try {
      return this.#socket.send(bytes) ? undefined : "EAGAIN";
    } catch (error) {
      return codeOf(error);
    }
  }

  close(): void {
    this.#socket.close();
  }
}

/** Binds a UDP socket in a namespace. Throws SystemError naming the call; nothing stays open then. */
export function bindUdp(options: UdpBindOptions): UdpSocket {
  const { address, reusePort, received } = options;
  const socket = open<RuntimeSocket>(options, "bind", {
    hostname: address.ip,
    port: address.port,
    ...(reusePort ? { flags: REUSE_PORT } : {}),
    socket: {
      data: (_socket: unknown, bytes: Uint8Array, port: number, ip: string) => received(bytes, port, ip),
      error() {}, // of a datagram that we sent: its receiver is gone
    },
  });
  if (reusePort) preferNewest(socket.fd); // refused: the kernel spreads them, and both answer
  return new UdpSocket(socket, { ip: address.ip, port: socket.port });
}

/**
 * A UDP socket on a port that the kernel chooses at random, connected to a server: the kernel drops what anybody else
 * sends. Failures are values: they are an answer of the network like others. Throws FatalNamespaceError only.
 */
export function connectUdp(options: UdpConnectOptions): UdpConnection | SystemError {
  const { server, received, failed } = options;
  try {
    const socket = open<RuntimeConnection>(options, "connect", {
      hostname: isIpv4(server.ip) ? "0.0.0.0" : "::",
      connect: { hostname: server.ip, port: server.port },
      socket: {
        data: (_socket: unknown, bytes: Uint8Array) => received(bytes),
        error: (error: unknown) => failed(codeOf(error)),
      },
    });
    return new UdpConnection(socket);
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
  }
}

/** Makes and marks the socket inside the namespace; the runtime does so at once, whatever its promise suggests. */
function open<S extends { readonly fd: number; close(): void }>(
  { namespace, mark }: UdpOptions,
  call: "bind" | "connect",
  options: object,
): S {
  const socket = inNamespace(namespace, () => {
    let made: unknown;
    try {
      const promise = Bun.udpSocket(options as Bun.udp.SocketOptions<"buffer">);
      made = Bun.peek(promise);
      if (made === promise) throw new Error("the runtime made a UDP socket later than it was asked to");
    } catch (error) {
      made = error;
    }
    return { made };
  }).made;
  if (socket instanceof Error) throw systemError(call, socket);
  const opened = socket as S;
  if (mark === undefined) return opened;
  try {
    requireOption(opened.fd, SOL_SOCKET, SO_MARK, mark, "SO_MARK");
    return opened;
  } catch (error) {
    opened.close();
    throw error;
  }
}

function systemError(call: string, error: Error): Error {
  const { errno, syscall } = error as { errno?: unknown; syscall?: unknown };
  if (typeof errno !== "number") return error;
  return new SystemError(`${typeof syscall === "string" ? syscall : call}(UDP)`, Math.abs(errno));
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "EIO";
}
