import {
  acceptQueue,
  closeFd,
  type ConnectOptions,
  connectTcp,
  errnoName,
  peerAddress,
  refusedByNetwork,
  socketError,
  SystemError,
} from "../linux/mod.ts";
import type { SocketAddress } from "./address.ts";
import { errorCode, osErrorText } from "./os_error.ts";
import { surfaceBug } from "./surface.ts";
import { TcpEndpoint, type TcpSocket } from "./tcp_endpoint.ts";

/** Time a TCP connect may take, ms (spec/ztunnel.md §14.4). */
export const CONNECT_TIMEOUT_MS = 10_000;

/** How sockets towards a destination are made: from which stock, SO_MARK, keepalive. */
export type DialOptions = Pick<ConnectOptions, "stock" | "mark" | "keepAlive" | "userTimeoutMs">;

/** Why a connect failed: the operating system's text, or the original's for a time-out. */
export interface DialError {
  readonly timedOut: boolean;
  readonly text: string;
  /** No socket could be made: the destination has no part in it. */
  readonly ours?: true;
}

/** Who asked for a connection; hears exactly one of the two, possibly before `dialTcp` returns. */
export interface DialOwner {
  dialed(endpoint: TcpEndpoint): void;
  dialFailed(error: DialError): void;
}

/** A connect that is under way. */
export interface Dial {
  /** Gives it up; the owner hears nothing more. */
  cancel(): void;
}

const TIMED_OUT: DialError = { timedOut: true, text: "deadline has elapsed" };

/** A connect in progress. The runtime opens an adopted socket at once; it is connected when it becomes writable. */
class PendingDial implements Dial {
  #socket: TcpSocket | undefined;
  #timer: Timer | undefined;
  #owner: DialOwner | undefined;
  #cancelled = false;

  constructor(owner: DialOwner) {
    this.#owner = owner;
  }

  opened(socket: TcpSocket): void {
    if (this.#cancelled) {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    const { fd } = socket as unknown as { fd: number };
    if (peerAddress(fd) !== undefined) {
      this.connected();
      return;
    }
    const error = socketError(fd);
    if (error !== 0) this.fail(osErrorText(errnoName(error)));
    else this.#timer = setTimeout(() => this.#expired(), CONNECT_TIMEOUT_MS);
  }

  connected(): void {
    const socket = this.#socket;
    if (socket === undefined) return; // cancelled or failed
    const owner = this.#owner;
    this.#done();
    owner?.dialed(new TcpEndpoint(socket));
  }

  fail(text: string): void {
    const owner = this.#owner;
    const socket = this.#socket;
    this.#done();
    socket?.terminate();
    owner?.dialFailed({ timedOut: text === "ETIMEDOUT", text });
  }

  cancel(): void {
    const socket = this.#socket;
    this.#cancelled = true;
    this.#done();
    socket?.terminate();
  }

  #expired(): void {
    const owner = this.#owner;
    const socket = this.#socket;
    this.#done();
    socket?.terminate();
    owner?.dialFailed(TIMED_OUT);
  }

  #done(): void {
    clearTimeout(this.#timer);
    this.#owner = undefined;
    this.#socket = undefined;
  }
}

/** What `socket.data` holds: a dial until it is connected, its endpoint from then on, nothing when TLS has taken over. */
type DialData = PendingDial | TcpEndpoint | undefined;
type DialSocket = Bun.Socket<DialData>;

/** Handlers of all outgoing plain sockets. */
const dialHandlers: Bun.SocketHandler<DialData> = {
  open(socket: DialSocket) {
    (socket.data as PendingDial).opened(socket as TcpSocket);
  },
  data(socket, chunk) {
    if (socket.data instanceof PendingDial) socket.data.connected(); // readable before writable was reported
    if (socket.data instanceof TcpEndpoint) socket.data.received(chunk);
  },
  drain(socket) {
    if (socket.data instanceof TcpEndpoint) socket.data.writable();
    else socket.data?.connected();
  },
  end(socket) {
    if (socket.data instanceof TcpEndpoint) socket.data.ended();
  },
  close(socket, error) {
    if (socket.data instanceof TcpEndpoint) socket.data.gone(error);
    else socket.data?.fail(osErrorText(errorCode(error) || "ECONNABORTED"));
  },
  error(socket, error) {
    if (socket.data instanceof TcpEndpoint) socket.data.broken(error);
    else {
      surfaceBug(error);
      socket.data?.fail(error.message);
    }
  },
};

/**
 * Connects to `destination` from the given namespace, without waiting: the owner is called back.
 *
 * `source`, when given, is bound as the source IP (the port is the kernel's choice) so that an application sees its
 * real client; where the kernel refuses that, the connection is made from our own address.
 */
export function dialTcp(
  destination: SocketAddress,
  source: string | undefined,
  options: DialOptions,
  owner: DialOwner,
): Dial {
  const fd = connectTcp({
    destination,
    ...options,
    ...(source !== undefined && source !== destination.ip ? { source } : {}),
  });
  if (fd instanceof SystemError) {
    const text = osErrorText(fd.code);
    owner.dialFailed(refusedByNetwork(fd) ? { timedOut: false, text } : { timedOut: false, text, ours: true });
    return NO_DIAL;
  }
  const pending = new PendingDial(owner);
  const adopted = { fd, data: pending, allowHalfOpen: true, socket: dialHandlers };
  try {
    // The promise repeats what the handlers hear; only a socket that could not be adopted is news.
    Bun.connect<DialData>(adopted as unknown as Bun.TCPSocketConnectOptions<DialData>)
      .catch((error: Error) => pending.fail(error.message));
  } catch (error) {
    closeFd(fd);
    pending.fail((error as Error).message);
  }
  return pending;
}

const NO_DIAL: Dial = { cancel() {} };

/** Handlers of accepted plain sockets of one listener: `accept` gets each as an endpoint, `closed` hears when it is gone. */
export function acceptHandlers(
  accept: (endpoint: TcpEndpoint) => void,
  closed: () => void,
): Bun.SocketHandler<TcpEndpoint> {
  return {
    open(socket) {
      accept(new TcpEndpoint(socket));
    },
    data: (socket, chunk) => socket.data.received(chunk),
    drain: (socket) => socket.data.writable(),
    end: (socket) => socket.data.ended(),
    close(socket, error) {
      closed();
      socket.data.gone(error);
    },
    error: (socket, error) => socket.data.broken(error),
  };
}

/** Before its endpoint is there, `socket.data` is what was read of the socket elsewhere. */
type AdoptedData = TcpEndpoint | Uint8Array;

/** Handlers of connected sockets that come from another process; `closed` hears when one is gone. */
export function adoptHandlers(closed: () => void): Bun.SocketHandler<AdoptedData> {
  return {
    ...(acceptHandlers(() => {}, closed) as Bun.SocketHandler<AdoptedData>),
    open(socket) {
      const read = socket.data as Uint8Array;
      const endpoint = new TcpEndpoint(socket as TcpSocket);
      if (read.length > 0) endpoint.received(read);
    },
  };
}

/**
 * Adopts a connected fd, of which `read` was read by another process and not passed on. Rejects with the runtime's error; the
 * fd stays the caller's then.
 */
export async function adoptTcp(
  fd: number,
  read: Uint8Array,
  handlers: Bun.SocketHandler<AdoptedData>,
): Promise<TcpEndpoint> {
  const adopted = { fd, data: read, allowHalfOpen: true, socket: handlers };
  const socket = await Bun.connect<AdoptedData>(adopted as unknown as Bun.TCPSocketConnectOptions<AdoptedData>);
  return socket.data as TcpEndpoint;
}

/** Adopts a listening fd made by `listenTcp`. */
export function adoptListener<T>(fd: number, socket: Bun.SocketHandler<T>): Bun.TCPSocketListener<T> {
  return Bun.listen<T>({ fd, allowHalfOpen: true, socket } as unknown as Bun.TCPSocketListenOptions<T>);
}

/**
 * How long a listener that is to be closed goes on accepting what waits in its queue, ms. Where a newer process shares the
 * port nothing comes any more; where none does, new connections come as long as it listens.
 */
const LAST_ACCEPTS_MS = 200;

/**
 * Closes a listener when nobody waits in its queue: the kernel resets whoever does. Resolves when it is closed, at most
 * 200 ms later; what is accepted meanwhile goes to the listener's handlers as before.
 */
export function finishListening(listener: { stop(force: false): void }): Promise<void> {
  const { fd = -1 } = listener as { readonly fd?: number };
  const deadline = performance.now() + LAST_ACCEPTS_MS;
  return new Promise((resolve) => {
    const look = () => {
      // The runtime accepts all that waits at once, when its turn to look at sockets comes: after this one.
      if ((acceptQueue(fd) ?? 0) > 0 && performance.now() < deadline) {
        setImmediate(look);
        return;
      }
      listener.stop(false);
      resolve();
    };
    look();
  });
}
