import { closeFd, connectTcp, peerAddress, SystemError } from "../linux/mod.ts";
import { canonicalIp, formatAddress, type SocketAddress } from "../net/address.ts";
import { errorCode, osErrorText } from "../net/os_error.ts";
import { keyExchangeGroups, minimumVersion, TLS_1_2_CIPHERS, TLS_1_3, type TlsPolicy } from "../tls/policy.ts";
import { printable } from "./response.ts";
import { plainName, refuseServer } from "./server_certificate.ts";
import { type GrpcSocket, socketHandlers, type SocketUser } from "./socket.ts";
import type { GrpcClock } from "./types.ts";

/** TCP keepalive of control connections, ms and probes (spec/ztunnel.md §3.1). */
const KEEP_ALIVE = { timeMs: 300_000, intervalMs: 75_000, retries: 9 };
/** From a TCP connection to the end of the TLS handshake, ms. */
export const TLS_TIMEOUT_MS = 5_000;
/** ALPN of HTTP/2, as bytes of the wire and as name. */
const ALPN_H2 = "\x02h2";
const H2 = "h2";
/** SSL_OP_NO_TICKET: a resumed session would not show its certificate again. */
const NO_SESSION_TICKETS = 0x4000;

/** How a server is asked for its certificate, and what of it is taken. */
export interface TlsTrust {
  /** PEM */
  readonly roots: string;
  readonly serverNames: readonly [string, ...string[]];
  readonly policy: TlsPolicy;
}

/** What became of one address. */
export type HandshakeOutcome<C> =
  | { readonly kind: "verified"; readonly connection: C }
  /** No TCP connection: another address may do better. */
  | { readonly kind: "unreachable"; readonly text: string }
  /** Somebody is there, and not whom we want. */
  | { readonly kind: "refused"; readonly text: string }
  | { readonly kind: "abandoned" };

/** TLS options of Bun's sockets, with those that its type declarations leave out. */
interface ClientTls extends Bun.TLSOptions {
  readonly ecdhCurve: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** No certificate of ours; the chain is judged against these roots alone, the verdict and the names by refuseServer. */
function clientTls({ roots, serverNames: [first], policy }: TlsTrust): ClientTls {
  return {
    ca: roots,
    // An address is no server name (RFC 6066 §3).
    serverName: canonicalIp(first) === undefined ? plainName(first) : "",
    rejectUnauthorized: false,
    ALPNProtocols: ALPN_H2,
    ecdhCurve: keyExchangeGroups(policy),
    ciphers: TLS_1_2_CIPHERS,
    minVersion: minimumVersion(policy),
    maxVersion: TLS_1_3,
    secureOptions: NO_SESSION_TICKETS,
  };
}

/** TCP and TLS to one address, up to the verdict on the server. */
export class Handshake<C extends SocketUser> implements SocketUser {
  readonly outcome: Promise<HandshakeOutcome<C>>;
  readonly #address: SocketAddress;
  readonly #trust: TlsTrust;
  readonly #clock: GrpcClock;
  readonly #timeoutMs: number;
  readonly #adopt: (socket: GrpcSocket) => C;
  #settle: (outcome: HandshakeOutcome<C>) => void = () => {};
  #state: "tcp" | "tls" | "finished" = "tcp";
  #socket: GrpcSocket | undefined = undefined;
  #timer: unknown = undefined;

  /**
   * @param timeoutMs for TCP
   * @param adopt makes the connection of a verified socket, whose events are its own from here on
   */
  constructor(
    address: SocketAddress,
    trust: TlsTrust,
    clock: GrpcClock,
    timeoutMs: number,
    adopt: (socket: GrpcSocket) => C,
  ) {
    this.#address = address;
    this.#trust = trust;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#adopt = adopt;
    this.outcome = new Promise((resolve) => this.#settle = resolve);
  }

  start(): void {
    const fd = connectTcp({ destination: this.#address, keepAlive: KEEP_ALIVE });
    if (fd instanceof SystemError) {
      this.#unreachable(osErrorText(fd.code));
      return;
    }
    this.#timer = this.#clock.setTimer(this.#timeoutMs, () => this.#expired());
    try {
      // The promise repeats what the handlers hear; only a socket that could not be adopted is news.
      Bun.connect<SocketUser>({
        fd,
        data: this,
        allowHalfOpen: true,
        tls: clientTls(this.#trust),
        socket: socketHandlers,
      } as unknown as Bun.TCPSocketConnectOptions<SocketUser>).catch((error: Error) => this.broken(error));
    } catch (error) {
      closeFd(fd);
      this.#refused((error as Error).message); // the runtime did not like the roots
    }
  }

  /** Nobody waits any more. */
  abandon(): void {
    this.#finish({ kind: "abandoned" });
  }

  opened(socket: GrpcSocket): void {
    if (this.#state === "finished") socket.terminate();
    else this.#socket = socket;
  }

  verified(socket: GrpcSocket, ok: boolean, error: Error | null | undefined): void {
    if (this.#state === "finished") return;
    if (!ok && errorCode(error) === "ECONNRESET") {
      this.#left(); // the runtime's words for any server that leaves before the end of the handshake
      return;
    }
    const problem = refuseServer(socket, ok, error, this.#trust.serverNames);
    if (problem !== undefined) this.#refused(problem);
    else if (socket.alpnProtocol !== H2) this.#refused("the server does not speak HTTP/2 (ALPN h2)");
    else {
      this.#socket = undefined; // no more ours to end
      const connection = this.#adopt(socket);
      socket.data = connection;
      this.#finish({ kind: "verified", connection });
    }
  }

  received(): void {}

  writable(): void {}

  ended(): void {
    this.#left();
  }

  closed(error: Error | undefined): void {
    const code = errorCode(error);
    if (code === "") this.#left();
    else if (this.#state === "tcp" && code !== "ECONNRESET") this.#unreachable(osErrorText(code));
    else this.#refused(osErrorText(code));
  }

  broken(error: Error): void {
    this.#refused(printable(error.message));
  }

  #expired(): void {
    const { fd = -1 } = (this.#socket ?? {}) as { fd?: number };
    if (this.#state === "tcp" && fd >= 0 && peerAddress(fd) !== undefined) {
      this.#state = "tls";
      this.#timer = this.#clock.setTimer(TLS_TIMEOUT_MS, () => this.#expired());
    } else if (this.#state === "tcp") this.#unreachable(`no answer within ${this.#timeoutMs} ms`);
    else this.#refused(`the handshake was not completed within ${this.#timeoutMs + TLS_TIMEOUT_MS} ms`);
  }

  #left(): void {
    this.#refused("the server closed the connection during the handshake");
  }

  #unreachable(text: string): void {
    this.#finish({ kind: "unreachable", text: `${formatAddress(this.#address)}: ${text}` });
  }

  #refused(text: string): void {
    this.#finish({ kind: "refused", text });
  }

  #finish(outcome: HandshakeOutcome<C>): void {
    if (this.#state === "finished") return;
    this.#state = "finished";
    this.#clock.clearTimer(this.#timer);
    this.#socket?.terminate();
    this.#socket = undefined;
    this.#settle(outcome);
  }
}
