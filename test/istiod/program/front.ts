/**
 * The port itself: TCP connections handed on to the TLS server over a unix socket in the scratch directory. So that a
 * connection can be reset, stalled or never answered, whatever the layers above are doing.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { PortSettings } from "../protocol.ts";
import { saw } from "./output.ts";

interface Relay {
  readonly id: number;
  readonly client: Socket;
  inner: Socket | undefined;
  /** The other end of `inner`, in the server's hands. */
  served: Socket | undefined;
}

export interface FrontOptions {
  readonly address: string;
  readonly port: number;
  /** Connections are numbered after this one. */
  readonly lastNumber: number;
}

export class Front {
  readonly #relays = new Map<number, Relay>();
  readonly #inner: Server;
  /** Ids of connections on their way to the inner server: it accepts in the order of our connects. */
  readonly #coming: number[] = [];
  readonly #path: string;
  #server: Server | undefined;
  #mode: PortSettings["connections"] = "refuse";
  #made: number;
  readonly #address: string;
  #port: number;

  /** @param onConnection takes the server's end of a connection */
  constructor(path: string, options: FrontOptions, onConnection: (id: number, socket: Socket) => void) {
    this.#path = path;
    this.#address = options.address;
    this.#port = options.port;
    this.#made = options.lastNumber;
    this.#inner = createServer({ allowHalfOpen: true }, (socket) => {
      const id = this.#coming.shift();
      if (id === undefined) throw new Error("a connection that nobody made");
      const relay = this.#relays.get(id);
      if (relay !== undefined) relay.served = socket;
      onConnection(id, socket);
    });
  }

  async open(): Promise<void> {
    await listening(this.#inner, { path: this.#path });
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#relays.size;
  }

  /** @throws Error where the port cannot be had */
  async set(mode: PortSettings["connections"]): Promise<void> {
    const before = this.#mode;
    this.#mode = mode;
    if (mode === "refuse") {
      const server = this.#server;
      this.#server = undefined;
      server?.close();
    } else if (this.#server === undefined) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
      await listening(server, { host: this.#address, port: this.#port });
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("the port has no address");
      this.#port = address.port;
      this.#server = server;
    }
    if (mode === "stall") { for (const relay of this.#relays.values()) stall(relay); }
    else if (before === "stall") { for (const relay of this.#relays.values()) join(relay); }
  }

  /** The client sees a reset, or the end of the connection. @returns whether it was still there */
  cut(id: number, how: "reset" | "end"): boolean {
    const relay = this.#relays.get(id);
    if (relay === undefined) return false;
    // Else the inner side's end would be told to the client first.
    relay.inner?.unpipe(relay.client);
    if (how === "reset") relay.client.resetAndDestroy();
    else relay.client.destroy();
    return true;
  }

  #accept(client: Socket): void {
    const id = ++this.#made;
    const relay: Relay = { id, client, inner: undefined, served: undefined };
    this.#relays.set(id, relay);
    saw({ kind: "connection", connection: id, remote: `${client.remoteAddress}:${client.remotePort}` });
    client.on("error", () => client.destroy());
    client.on("close", () => {
      this.#relays.delete(id);
      relay.inner?.destroy();
      // An end alone leaves HTTP/2 streams open, and pushes would go to nobody.
      setImmediate(() => relay.served?.destroy());
      saw({ kind: "closed", connection: id });
    });
    if (this.#mode === "reset") client.resetAndDestroy();
    else if (this.#mode === "accept") join(this.#enter(relay));
  }

  #enter(relay: Relay): Relay {
    this.#coming.push(relay.id);
    const inner = connect({ path: this.#path, allowHalfOpen: true });
    relay.inner = inner;
    inner.on("error", () => inner.destroy());
    // What the server wrote last has to reach the client before the end does.
    inner.on("close", () => relay.client.destroySoon());
    return relay;
  }
}

function join({ client, inner }: Relay): void {
  // A connection that began in a black hole stays there.
  if (inner === undefined) return;
  client.pipe(inner);
  inner.pipe(client);
}

function stall({ client, inner }: Relay): void {
  if (inner === undefined) return;
  client.unpipe(inner);
  inner.unpipe(client);
  client.pause();
  inner.pause();
}

function listening(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
