import { Buffer } from "node:buffer";
import { type PeerVerdict, type TlsContext } from "../../src/tls/mod.ts";

/** What one side saw of a connection. */
export interface Side {
  /** Arguments of the handshake callback: "true", "false EPROTO", … */
  handshake: string;
  verdict: PeerVerdict | undefined;
  /** Bytes given to the data callback. */
  received: number;
  /** Messages of the error callback. */
  errors: string[];
  alpn: string;
  version: string;
  /** The server certificate or client certificate that was shown to this side. */
  peerSerial: string | undefined;
}

export type Judge = (socket: Bun.Socket<unknown>, ok: boolean, error: Error | null | undefined) => PeerVerdict;

/** How long an encounter may take before the test fails; ms. */
const DEADLINE_MS = 20_000;
/** What each side sends as soon as it accepted the other: more than one TLS record. */
export const MESSAGE = Buffer.alloc(40_000, 7);

/**
 * Lets a client meet a server over loopback, both as src/tls/mod.ts says to do it. Each side sends MESSAGE when its
 * verdict on the other is good and ends when it has received as much. Returns when both sockets are closed.
 */
export async function encounter(
  server: { tls: TlsContext; judge: Judge },
  client: { tls: TlsContext; judge: Judge },
): Promise<{ server: Side; client: Side }> {
  const [atServer, atClient] = [new Observer(server.judge), new Observer(client.judge)];
  const listener = listen(server.tls, atServer.handlers());
  try {
    await Bun.connect({
      hostname: "127.0.0.1",
      port: listener.port,
      allowHalfOpen: true,
      tls: client.tls,
      socket: atClient.handlers(),
    });
    await Promise.all([atServer.closed, atClient.closed]);
  } finally {
    listener.stop(true);
  }
  return { server: atServer.side, client: atClient.side };
}

/** A listener that upgrades what it accepts. */
export function listen(tls: TlsContext | (() => TlsContext), handlers: Bun.SocketHandler): Bun.TCPSocketListener {
  return Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        const options = { isServer: true, tls: typeof tls === "function" ? tls() : tls, socket: handlers };
        socket.upgradeTLS(options);
      },
      drain() {},
    },
  });
}

/** The callbacks of one side, and what they saw. Sends `message` to a peer it accepts, ends when it got as many bytes. */
export class Observer {
  readonly side: Side = {
    handshake: "none",
    verdict: undefined,
    received: 0,
    errors: [],
    alpn: "",
    version: "",
    peerSerial: undefined,
  };
  readonly closed: Promise<void>;
  readonly #judge: Judge;
  readonly #message: Buffer;
  #close: () => void = () => {};

  constructor(judge: Judge, message = MESSAGE) {
    this.#judge = judge;
    this.#message = message;
    this.closed = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not closed: ${JSON.stringify(this.side)}`)), DEADLINE_MS);
      this.#close = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  handlers(): Bun.SocketHandler {
    const { side } = this;
    return {
      handshake: (socket, ok, error) => {
        side.handshake = `${ok}${error ? ` ${"code" in error ? error.code : error.message}` : ""}`;
        side.alpn = String(socket.alpnProtocol);
        side.version = socket.getTLSVersion();
        side.peerSerial = socket.getPeerX509Certificate()?.serialNumber;
        side.verdict = this.#judge(socket, ok, error);
        if (side.verdict.ok) socket.write(this.#message);
        else socket.terminate();
      },
      data: (socket, bytes) => {
        side.received += bytes.length;
        if (side.received === this.#message.length) socket.end();
      },
      error: (_socket, error) => {
        side.errors.push(error.message);
      },
      end: (socket) => {
        socket.end();
      },
      close: () => this.#close(),
      drain() {},
    };
  }
}
