/** A TCP connection made from inside a pod, with the awaitable reads and writes a test reads well with. */
import { Buffer } from "node:buffer";
import type { Socket, SocketHandler } from "bun";
import { connectTcp, errnoName, localAddress, socketError, SystemError } from "../../../src/linux/mod.ts";
import { formatAddress } from "../../../src/net/address.ts";
import { DeadlineError, LAB_DEADLINE_MS, type NetworkNamespace } from "../topology/mod.ts";
import { adoptConnection, descriptorOf } from "./adoption.ts";

/** The connection could not be made, or broke; `code` is the errno name where there is one (`ECONNREFUSED`). */
export class ConversationError extends Error {
  override readonly name = "ConversationError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Destination {
  readonly ip: string;
  readonly port: number;
}

export interface ConversationOptions {
  /** Source address; the namespace's own choice without. */
  readonly source?: string;
  readonly mark?: number;
  readonly tls?: Bun.TLSOptions;
  readonly deadlineMs?: number;
}

interface Reader {
  ready(): boolean;
  resolve(): void;
}

export class Conversation {
  /** Bytes received and not yet read. */
  #chunks: Buffer[] = [];
  #buffered = 0;
  #received = 0;
  #ended = false;
  #closed = false;
  #failure: ConversationError | undefined;
  #readers = new Set<Reader>();
  #unsent: Uint8Array[] = [];
  #finishing = false;
  #socket: Socket<Conversation> | undefined;
  #address = "";

  /** @throws ConversationError when refused or reset; DeadlineError */
  static async open(
    namespace: NetworkNamespace,
    destination: Destination,
    options: ConversationOptions = {},
  ): Promise<Conversation> {
    const fd = connectTcp({
      namespace: namespace.fd,
      destination,
      ...(options.source === undefined ? {} : { source: options.source }),
      ...(options.mark === undefined ? {} : { mark: options.mark }),
    });
    if (fd instanceof SystemError) throw new ConversationError(fd.code, fd.message);
    const conversation = new Conversation();
    // The kernel has chosen it already, and forgets it when the connection ends.
    conversation.#address = addressOf(fd);
    const deadline = options.deadlineMs ?? LAB_DEADLINE_MS;
    await within(deadline, `connect to ${destination.ip}:${destination.port}`, conversation.#adopt(fd, options.tls));
    return conversation;
  }

  /** For an accepted socket; its handlers must be `conversationHandlers`. */
  static of(socket: Socket<Conversation>): Conversation {
    const conversation = new Conversation();
    conversation.#socket = socket;
    conversation.#address = addressOf(conversation.fd);
    socket.data = conversation;
    return conversation;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether the peer has finished sending. */
  get ended(): boolean {
    return this.#ended || this.#closed;
  }

  /** Bytes received over all, read or not. */
  get received(): number {
    return this.#received;
  }

  /** How the connection broke; undefined after an orderly end. */
  get failure(): ConversationError | undefined {
    return this.#failure;
  }

  get fd(): number {
    return descriptorOf(this.socket);
  }

  /** Own address as `ip:port`, as the proxy's log writes it; also of a connection that has ended. */
  get address(): string {
    return this.#address;
  }

  get socket(): Socket<Conversation> {
    if (this.#socket === undefined) throw new Error("not connected");
    return this.#socket;
  }

  write(data: string | Uint8Array): this {
    this.#unsent.push(typeof data === "string" ? Buffer.from(data) : data);
    this.flush();
    return this;
  }

  /** Bytes the kernel had no room for yet. */
  get unsent(): number {
    return this.#unsent.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** Sends FIN once everything is written; reading goes on. */
  finish(): this {
    this.#finishing = true;
    this.flush();
    return this;
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  close(): void {
    this.#socket?.terminate();
  }

  /** Exactly so many bytes, as text. @throws ConversationError when the connection ends before; DeadlineError */
  async read(count: number, deadlineMs = LAB_DEADLINE_MS): Promise<string> {
    return (await this.readBytes(count, deadlineMs)).toString();
  }

  async readBytes(count: number, deadlineMs = LAB_DEADLINE_MS): Promise<Buffer> {
    await this.#until(() => this.#buffered >= count || this.ended, `${count} bytes`, deadlineMs);
    if (this.#buffered < count) {
      throw this.#failure ?? new ConversationError("EOF", `ended after ${this.#buffered} of ${count} bytes`);
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(count)];
    this.#buffered -= count;
    return all.subarray(0, count);
  }

  /** Text up to and with the delimiter. @throws ConversationError when the connection ends before; DeadlineError */
  async readUntil(delimiter: string, deadlineMs = LAB_DEADLINE_MS): Promise<string> {
    let at = -1;
    const found = () => {
      if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
      at = this.#chunks[0]?.indexOf(delimiter) ?? -1;
      return at >= 0;
    };
    await this.#until(() => found() || this.ended, JSON.stringify(delimiter), deadlineMs);
    if (!found()) throw this.#failure ?? new ConversationError("EOF", `ended after ${this.#buffered} bytes`);
    return this.read(at + delimiter.length, deadlineMs);
  }

  /** Everything up to the peer's end. A reset gives what came before it; look at `failure`. */
  async readToEnd(deadlineMs = LAB_DEADLINE_MS): Promise<string> {
    await this.#until(() => this.ended, "the end of the stream", deadlineMs);
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#buffered = 0;
    return all.toString();
  }

  /** Throws away what was received. @returns its length */
  discard(): number {
    const count = this.#buffered;
    this.#chunks = [];
    this.#buffered = 0;
    return count;
  }

  /** Waits until the connection is fully closed. */
  async untilClosed(deadlineMs = LAB_DEADLINE_MS): Promise<this> {
    await this.#until(() => this.#closed, "the close of the connection", deadlineMs);
    return this;
  }

  async untilReceived(bytes: number, deadlineMs = LAB_DEADLINE_MS): Promise<void> {
    await this.#until(() => this.#received >= bytes || this.ended, `${bytes} bytes in all`, deadlineMs);
  }

  flush(): void {
    while (this.#unsent.length > 0 && !this.#closed) {
      const chunk = this.#unsent[0] as Uint8Array;
      const taken = Math.max(0, this.#socket?.write(chunk) ?? 0);
      if (taken < chunk.length) {
        this.#unsent[0] = chunk.subarray(taken);
        return;
      }
      this.#unsent.shift();
    }
    if (this.#finishing && !this.#closed) {
      this.#finishing = false;
      // Not end(): that closes the receiving direction too.
      this.#socket?.shutdown();
    }
  }

  onData(chunk: Uint8Array): void {
    this.#chunks.push(Buffer.from(chunk));
    this.#buffered += chunk.length;
    this.#received += chunk.length;
    this.#wake();
  }

  onEnd(): void {
    this.#ended = true;
    this.#wake();
  }

  onClose(error?: Error): void {
    if (error !== undefined && error !== null) this.#fail(error);
    this.#closed = true;
    this.#wake();
  }

  onError(error: Error): void {
    this.#fail(error);
    this.#socket?.terminate();
  }

  #fail(error: Error): void {
    this.#failure ??= new ConversationError((error as { code?: string }).code ?? "UNKNOWN", error.message);
  }

  #wake(): void {
    for (const reader of this.#readers) if (reader.ready()) reader.resolve();
  }

  #until(ready: () => boolean, what: string, deadlineMs: number): Promise<void> {
    if (ready()) return Promise.resolve();
    const promise = new Promise<void>((resolve) => {
      const reader: Reader = {
        ready,
        resolve: () => {
          this.#readers.delete(reader);
          resolve();
        },
      };
      this.#readers.add(reader);
    });
    return within(deadlineMs, `${what} (got ${this.#received} bytes, ended ${this.#ended})`, promise);
  }

  async #adopt(fd: number, tls: Bun.TLSOptions | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (error: Error) => {
      reject(new ConversationError((error as { code?: string }).code ?? "UNKNOWN", error.message));
    };
    const socket: SocketHandler<Conversation> = {
      ...conversationHandlers,
      open(socket) {
        socket.data.#socket = socket;
        const error = socketError(descriptorOf(socket));
        if (error !== 0) {
          reject(new ConversationError(errnoName(error), `connect failed: ${errnoName(error)}`));
          socket.terminate();
          return;
        }
        if (tls === undefined) resolve();
      },
      handshake(socket, _ok, error) {
        // Judging the peer is the test's business; only a broken handshake is an error here.
        if (error !== null && error !== undefined) socket.data.#fail(error);
        resolve();
      },
      close(socket, error) {
        socket.data.onClose(error);
        reject(socket.data.failure ?? new ConversationError("EOF", "closed before it was connected"));
      },
      connectError(_socket, error) {
        fail(error);
      },
    };
    adoptConnection({ fd, data: this, socket, tls }).catch(fail);
    await promise;
  }
}

function addressOf(fd: number): string {
  const own = localAddress(fd);
  return own === undefined ? "" : formatAddress(own);
}

/** Handlers of every socket whose data is a Conversation. */
export const conversationHandlers: SocketHandler<Conversation> = {
  data: (socket, chunk) => socket.data.onData(chunk),
  drain: (socket) => socket.data.flush(),
  end: (socket) => socket.data.onEnd(),
  close: (socket, error) => socket.data.onClose(error),
  error: (socket, error) => socket.data.onError(error),
};

async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
