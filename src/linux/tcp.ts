import { formatAddress, isIpv4, type SocketAddress } from "../net/address.ts";
import {
  EINPROGRESS,
  IP_BIND_ADDRESS_NO_PORT,
  IP_FREEBIND,
  IP_TRANSPARENT,
  IPPROTO_TCP,
  IPV6_FREEBIND,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SO_MARK,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  TCP_NODELAY,
} from "./constants.ts";
import { closeFd } from "./descriptor.ts";
import { SystemError } from "./error.ts";
import { checked, errno, failure, libc } from "./libc.ts";
import { enterNamespace, inNamespace, leaveNamespace } from "./namespace.ts";
import { preferNewest } from "./reuseport.ts";
import { encodeSockaddr, familyOf, sockaddr } from "./sockaddr.ts";
import type { SocketStock } from "./socket_stock.ts";
import { type LivenessOptions, localAddress, requireOption, setLiveness, setOption } from "./socket.ts";

export interface ListenOptions extends LivenessOptions {
  /** Descriptor of the network namespace to listen in; the thread's own when absent. */
  readonly namespace?: number;
  /** `::` takes both families unless v6Only. */
  readonly address: SocketAddress;
  /** Length of the accept queue; 128 for listeners in pods (spec/ztunnel.md §2.5). */
  readonly backlog: number;
  /** SO_REUSEPORT: two processes share the port during an upgrade; the newer one gets the new connections (reuseport.ts). */
  readonly reusePort: boolean;
  /** SO_REUSEADDR: bind although old connections linger in TIME_WAIT. */
  readonly reuseAddress: boolean;
  /** SO_MARK, which the redirection rules of the namespace know. */
  readonly mark?: number;
  /** IP_TRANSPARENT: `try` reports the outcome, `require` throws where it is refused. Default `off`. */
  readonly transparent?: "try" | "require" | "off";
  readonly noDelay?: boolean;
  readonly v6Only?: boolean;
}

export interface TcpListener {
  /** Non-blocking, close-on-exec, listening; the caller's to close or to give to Bun.listen. */
  readonly fd: number;
  /** Whether IP_TRANSPARENT is on. */
  readonly transparent: boolean;
  /** What it is bound to, with the port the kernel chose where 0 was asked. */
  readonly address: SocketAddress;
  /** Why, on a shared port, the kernel would not give the newest process all new connections. */
  readonly spread?: SystemError;
}

/**
 * A listening TCP socket. Accepted sockets inherit mark, IP_TRANSPARENT, TCP_NODELAY, keepalive and user timeout from
 * it on Linux, so that an accept costs no call more. Throws SystemError naming the call; nothing stays open then.
 */
export function listenTcp(options: ListenOptions): TcpListener {
  return inNamespace(options.namespace, () => {
    const { address } = options;
    const family = familyOf(address.ip);
    const fd = checked(libc().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket(SOCK_STREAM)");
    try {
      const transparent = setListenerOptions(fd, options);
      const place = formatAddress(address);
      checked(libc().bind(fd, sockaddr, encodeSockaddr(address.ip, address.port)), `bind(${place})`);
      checked(libc().listen(fd, options.backlog), `listen(${place})`);
      const spread = options.reusePort ? preferNewest(fd) : undefined;
      return { fd, transparent, address: localAddress(fd) ?? address, ...(spread === undefined ? {} : { spread }) };
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  });
}

function setListenerOptions(fd: number, options: ListenOptions): boolean {
  const { address, transparent = "off" } = options;
  if (options.mark !== undefined) requireOption(fd, SOL_SOCKET, SO_MARK, options.mark, "SO_MARK");
  if (options.reusePort) requireOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (options.reuseAddress) requireOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  // Always said, because the sysctl net.ipv6.bindv6only changes the default.
  if (!isIpv4(address.ip)) requireOption(fd, SOL_IPV6, IPV6_V6ONLY, options.v6Only === true ? 1 : 0, "IPV6_V6ONLY");
  if (options.noDelay === true) requireOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  const error = setLiveness(fd, options);
  if (error !== undefined) throw error;
  if (transparent === "off") return false;
  const refused = setTransparent(fd, isIpv4(address.ip));
  if (refused !== undefined && transparent === "require") throw refused;
  return refused === undefined;
}

/** IP_TRANSPARENT also on an IPv6 socket, because a dual-stack one carries IPv4 connections. */
function setTransparent(fd: number, ipv4: boolean): SystemError | undefined {
  const error = setOption(fd, SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
  if (error !== undefined || ipv4) return error;
  return setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
}

export interface ConnectOptions extends LivenessOptions {
  /** Descriptor of the network namespace to connect from; the thread's own when absent. */
  readonly namespace?: number;
  /** Where sockets of that namespace are taken from instead of being made one by one. */
  readonly stock?: SocketStock;
  readonly destination: SocketAddress;
  /** An IP, usually not ours, to connect from (port chosen by the kernel). Ignored when it is of the other family. */
  readonly source?: string;
  readonly mark?: number;
  /** Told why `source` could not be used; the connection then goes out from our own address. */
  readonly onSourceRefused?: (error: SystemError) => void;
}

/**
 * Starts a TCP connection and returns its non-blocking descriptor, for Bun.connect({ fd }); its outcome is in SO_ERROR.
 * What the system refuses at once is returned as SystemError (nothing stays open). TCP_NODELAY is always set. Throws
 * FatalNamespaceError only.
 */
export function connectTcp(options: ConnectOptions): number | SystemError {
  const { destination, source } = options;
  const family = familyOf(destination.ip);
  const fd = options.stock === undefined ? openStream(family, options.namespace) : options.stock.take(family);
  if (typeof fd !== "number") return fd;
  const error = setConnectionOptions(fd, options);
  if (error !== undefined) {
    closeFd(fd);
    return error;
  }
  if (source !== undefined && isIpv4(source) === isIpv4(destination.ip)) {
    const refused = bindSource(fd, source);
    if (refused !== undefined) options.onSourceRefused?.(refused);
  }
  if (libc().connect(fd, sockaddr, encodeSockaddr(destination.ip, destination.port)) !== 0) {
    const reason = errno();
    if (reason !== EINPROGRESS) {
      closeFd(fd);
      return new SystemError(`${CONNECT}${formatAddress(destination)})`, reason);
    }
  }
  return fd;
}

const CONNECT = "connect(";

/** Whether an error of connectTcp is about the destination; else there was no socket to try it with. */
export function refusedByNetwork({ call, code }: SystemError): boolean {
  return call.startsWith(CONNECT) && code !== "ENOBUFS" && code !== "ENOMEM";
}

/** A stream socket of a namespace. Only its creation needs the thread to be there. */
function openStream(family: number, namespace: number | undefined): number | SystemError {
  if (namespace !== undefined) {
    const error = enterNamespace(namespace);
    if (error !== undefined) return error;
  }
  const fd = libc().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const error = fd < 0 ? failure("socket(SOCK_STREAM)") : undefined;
  if (namespace !== undefined) leaveNamespace(undefined);
  return error ?? fd;
}

function setConnectionOptions(fd: number, options: ConnectOptions): SystemError | undefined {
  const error = setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY") ?? setLiveness(fd, options);
  if (error !== undefined || options.mark === undefined) return error;
  return setOption(fd, SOL_SOCKET, SO_MARK, options.mark, "SO_MARK");
}

/**
 * Binds to an address that need not be ours. IP_BIND_ADDRESS_NO_PORT leaves the choice of the port to connect(), where
 * the whole 4-tuple is known: a bind alone would run out of ports at 28 000 connections from one client.
 */
function bindSource(fd: number, source: string): SystemError | undefined {
  const error = isIpv4(source)
    ? setOption(fd, SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT") ??
      setOption(fd, SOL_IP, IP_FREEBIND, 1, "IP_FREEBIND")
    : setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT") ??
      setOption(fd, SOL_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND");
  if (error !== undefined) return error;
  const deferred = setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
  if (deferred !== undefined) return deferred;
  return libc().bind(fd, sockaddr, encodeSockaddr(source, 0)) === 0 ? undefined : failure(`bind(${source})`);
}

/** The error that setting this mark gives, or undefined when the process may (CAP_NET_ADMIN or CAP_NET_RAW). */
export function markRefusal(mark: number): SystemError | undefined {
  const fd = openStream(familyOf("127.0.0.1"), undefined);
  if (typeof fd !== "number") return fd;
  const error = setOption(fd, SOL_SOCKET, SO_MARK, mark, "SO_MARK");
  closeFd(fd);
  return error;
}
