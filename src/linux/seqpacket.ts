import { Buffer } from "node:buffer";
import { ptr } from "bun:ffi";
import {
  AF_UNIX,
  EAGAIN,
  EINTR,
  F_SETFL,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_TRUNC,
  SCM_RIGHTS,
  SHUT_RDWR,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "./constants.ts";
import { closeFd } from "./descriptor.ts";
import { SystemError } from "./error.ts";
import { checked, errno, libc } from "./libc.ts";

/** One packet. `bytes` empty without descriptors is the peer's end of the connection. */
export interface Packet {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Descriptors that came with it (SCM_RIGHTS), close-on-exec; the receiver's to close. */
  readonly fds: number[];
  /** The packet or its descriptors did not fit (MSG_TRUNC or MSG_CTRUNC). */
  readonly truncated: boolean;
}

/** struct sockaddr_un: family and a path of at most 107 bytes with its terminator. */
const SUN_PATH = 108; // bytes
/** struct msghdr, cmsghdr and iovec with 64-bit pointers. */
const MSGHDR = 56; // bytes
const CMSGHDR = 16; // bytes
const IOVEC = 16; // bytes
/** struct ucred: pid, uid, gid. */
const credentials = new Int32Array(new ArrayBuffer(12));
const credentialsLength = new Uint32Array(new ArrayBuffer(4));
/** Room for descriptors in one packet. ZDS sends one; more must be seen so that they can be closed. */
const MAX_FDS = 16;
const CONTROL = CMSGHDR + 8 * Math.ceil((4 * MAX_FDS) / 8); // bytes

/**
 * A unix SOCK_SEQPACKET socket (unix(7)): packets with their boundaries kept, and descriptors beside them. Only
 * receive() waits: it belongs in a Worker; poll() and watchReadable() do without one. The socket stays open when its
 * object is lost: close() it.
 */
export class SeqpacketSocket {
  readonly fd: number;

  /** Adopts a connected descriptor. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** Never waits: a server that does not accept is EAGAIN. Throws SystemError: `connect(PATH): ENOENT`. */
  static connect(path: string): SeqpacketSocket {
    const address = unixAddress(path);
    const fd = open(SOCK_NONBLOCK);
    try {
      checked(libc().connect(fd, ptr(address), address.length), `connect(${path})`);
      checked(libc().fcntl(fd, F_SETFL, 0), "fcntl(F_SETFL)"); // receive() waits
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return new SeqpacketSocket(fd);
  }

  /**
   * Waits for the next packet. Throws SystemError.
   * @param maxBytes what is longer is cut and flagged
   */
  receive(maxBytes: number): Packet {
    const packet = this.#receive(maxBytes, 0);
    if (packet === undefined) throw new SystemError("recvmsg", EAGAIN); // the socket was made non-blocking
    return packet;
  }

  /** The next packet if there is one. Throws SystemError. */
  poll(maxBytes: number): Packet | undefined {
    return this.#receive(maxBytes, MSG_DONTWAIT);
  }

  #receive(maxBytes: number, flags: number): Packet | undefined {
    const bytes = new Uint8Array(new ArrayBuffer(maxBytes));
    const message = new Message(bytes, CONTROL);
    let received: number;
    do {
      received = Number(libc().recvmsg(this.fd, message.pointer, MSG_CMSG_CLOEXEC | flags));
    } while (received < 0 && errno() === EINTR);
    if (received < 0 && errno() === EAGAIN) return undefined;
    checked(received, "recvmsg");
    const fds = message.descriptors();
    return { bytes: bytes.slice(0, received), fds, truncated: (message.flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0 };
  }

  /**
   * Sends one packet and never waits: a peer that does not read is EAGAIN. The descriptors are duplicated by the kernel,
   * ours stay ours. Throws SystemError.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    const message = new Message(Uint8Array.from(bytes), fds.length === 0 ? 0 : CMSGHDR + 4 * fds.length);
    message.setDescriptors(fds);
    let sent: number;
    do {
      sent = Number(libc().sendmsg(this.fd, message.pointer, MSG_NOSIGNAL | MSG_DONTWAIT));
    } while (sent < 0 && errno() === EINTR);
    checked(sent, "sendmsg");
  }

  /** User id of the process that connected, or made the listener, as the kernel knows it. Throws SystemError. */
  get peerUser(): number {
    credentialsLength[0] = credentials.byteLength;
    const result = libc().getsockopt(this.fd, SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(credentialsLength));
    checked(result, "getsockopt(SO_PEERCRED)");
    return credentials[1] ?? -1;
  }

  /** Ends both directions: a receive() that waits in another thread comes back with the end of the connection. */
  shutdown(): void {
    libc().shutdown(this.fd, SHUT_RDWR);
  }

  close(): void {
    closeFd(this.fd);
  }
}

/** The listening side: what a CNI node agent is. */
export class SeqpacketListener {
  readonly #fd: number;

  get fd(): number {
    return this.#fd;
  }

  /** Binds to a path that must not exist yet. Throws SystemError. */
  constructor(path: string, backlog = 16) {
    const address = unixAddress(path);
    this.#fd = open();
    try {
      checked(libc().bind(this.#fd, ptr(address), address.length), `bind(${path})`);
      checked(libc().listen(this.#fd, backlog), `listen(${path})`);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /** Waits for the next client. Throws SystemError; EINVAL after shutdown(). */
  accept(): SeqpacketSocket {
    let fd: number;
    do {
      fd = libc().accept4(this.#fd, null, null, SOCK_CLOEXEC);
    } while (fd < 0 && errno() === EINTR);
    return new SeqpacketSocket(checked(fd, "accept4"));
  }

  /** The next client if there is one, of a listener that does not wait (watchReadable). Throws SystemError. */
  poll(): SeqpacketSocket | undefined {
    try {
      return this.accept();
    } catch (error) {
      if (error instanceof SystemError && error.errno === EAGAIN) return undefined;
      throw error;
    }
  }

  /** Wakes an accept() that waits in another thread. */
  shutdown(): void {
    libc().shutdown(this.#fd, SHUT_RDWR);
  }

  close(): void {
    closeFd(this.#fd);
  }
}

function open(flags = 0): number {
  return checked(libc().socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0), "socket(SOCK_SEQPACKET)");
}

function unixAddress(path: string): Uint8Array {
  const text = Buffer.from(path);
  if (text.length === 0 || text.length >= SUN_PATH) {
    throw new RangeError(`a socket path has 1 to ${SUN_PATH - 1} bytes, not ${text.length}: "${path}"`);
  }
  const address = new Uint8Array(new ArrayBuffer(2 + text.length + 1));
  address[0] = AF_UNIX;
  address.set(text, 2);
  return address;
}

/** A msghdr with one iovec and room for descriptors, in one block of memory that lives as long as the object. */
class Message {
  readonly pointer: ReturnType<typeof ptr>;
  readonly #view: DataView;
  /** The packet's own memory must not be collected while the kernel has its address. */
  readonly payload: Uint8Array<ArrayBuffer>;

  constructor(payload: Uint8Array<ArrayBuffer>, controlLength: number) {
    const block = new ArrayBuffer(MSGHDR + IOVEC + CONTROL);
    this.payload = payload;
    this.pointer = ptr(block);
    this.#view = new DataView(block);
    const base = Number(this.pointer);
    this.#setPointer(16, base + MSGHDR); // msg_iov
    this.#setPointer(24, 1); // msg_iovlen
    this.#setPointer(MSGHDR, payload.length === 0 ? 0 : Number(ptr(payload))); // iov_base
    this.#setPointer(MSGHDR + 8, payload.length); // iov_len
    if (controlLength === 0) return;
    this.#setPointer(32, base + MSGHDR + IOVEC); // msg_control
    this.#setPointer(40, controlLength); // msg_controllen
  }

  get flags(): number {
    return this.#view.getInt32(48, true);
  }

  /** Writes one SCM_RIGHTS control message. */
  setDescriptors(fds: readonly number[]): void {
    if (fds.length === 0) return;
    if (fds.length > MAX_FDS) throw new RangeError(`at most ${MAX_FDS} descriptors in a packet, not ${fds.length}`);
    const control = MSGHDR + IOVEC;
    this.#setPointer(control, CMSGHDR + 4 * fds.length);
    this.#view.setInt32(control + 8, SOL_SOCKET, true);
    this.#view.setInt32(control + 12, SCM_RIGHTS, true);
    fds.forEach((fd, i) => this.#view.setInt32(control + CMSGHDR + 4 * i, fd, true));
  }

  /** The descriptors of all SCM_RIGHTS control messages that the kernel wrote. */
  descriptors(): number[] {
    const fds: number[] = [];
    let at = MSGHDR + IOVEC;
    const end = at + Number(this.#view.getBigUint64(40, true));
    while (at + CMSGHDR <= end) {
      const length = Number(this.#view.getBigUint64(at, true));
      if (length < CMSGHDR || at + length > end) break;
      const rights = this.#view.getInt32(at + 8, true) === SOL_SOCKET &&
        this.#view.getInt32(at + 12, true) === SCM_RIGHTS;
      if (rights) { for (let i = at + CMSGHDR; i + 4 <= at + length; i += 4) fds.push(this.#view.getInt32(i, true)); }
      at += 8 * Math.ceil(length / 8);
    }
    return fds;
  }

  #setPointer(offset: number, to: number): void {
    this.#view.setBigUint64(offset, BigInt(to), true);
  }
}
