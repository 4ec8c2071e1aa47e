import type { WorkloadCertificate } from "../identity/mod.ts";
import { closeFd } from "../linux/mod.ts";
import { errorCode, osErrorText } from "../net/os_error.ts";
import { clientContext, type PeerTrust, type TlsPolicy, type TrackedPeer, verifyServer } from "../tls/mod.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import { type TunnelData, tunnelHandlers, type TunnelSocket, type Unverified } from "./handlers.ts";

/** Who wants a verified peer: hears one of the two, once. */
export interface HandshakeOwner {
  /**
   * The peer proved `identity`. From here on the socket's events go to what is put in `socket.data`, at once. `peer` is for
   * the transport to watch.
   */
  verified(socket: TunnelSocket, identity: string, peer: TrackedPeer | undefined): void;
  handshakeFailed(failure: ConnectFailure): void;
}

/** The client's side of TLS on a descriptor, up to the verdict on the peer. It has no deadline of its own. */
export class ClientHandshake implements Unverified {
  readonly #expected: readonly string[];
  readonly #trust: PeerTrust | undefined;
  #owner: HandshakeOwner | undefined;
  #certificate: WorkloadCertificate | undefined = undefined;
  #socket: TunnelSocket | undefined = undefined;

  /** @param expected SPIFFE ids of which the peer must prove one; with none every peer fails */
  constructor(expected: readonly string[], owner: HandshakeOwner, trust: PeerTrust | undefined) {
    this.#expected = expected;
    this.#owner = owner;
    this.#trust = trust;
  }

  /** Begins on a descriptor, connected or connecting, which belongs to the handshake from here on. */
  start(fd: number, certificate: WorkloadCertificate, policy: TlsPolicy): void {
    this.#certificate = certificate;
    try {
      // The promise repeats what the handlers hear; only a socket that could not be adopted is news.
      Bun.connect<TunnelData>({
        fd,
        data: this,
        allowHalfOpen: true,
        tls: clientContext(certificate, policy),
        socket: handshakeHandlers,
      } as unknown as Bun.TCPSocketConnectOptions<TunnelData>).catch((error: Error) => this.broken(error));
    } catch (error) {
      // The runtime did not like key or certificate.
      closeFd(fd);
      this.#fail(connectFailure(`tls error: ${(error as Error).message}`, "TLS_FAILURE"));
    }
  }

  /** The socket's descriptor, or -1 while there is none. */
  get fd(): number {
    return (this.#socket as { fd?: number } | undefined)?.fd ?? -1;
  }

  /** Nobody waits any more; the owner hears nothing. */
  abandon(): void {
    this.#owner = undefined;
    this.#socket?.terminate();
    this.#socket = undefined;
  }

  opened(socket: TunnelSocket): void {
    if (this.#owner === undefined) socket.terminate();
    else this.#socket = socket;
  }

  handshake(socket: TunnelSocket, ok: boolean, error: Error | null | undefined): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    if (!ok && errorCode(error) === "ECONNRESET") {
      this.closed(undefined); // the runtime's words for any peer that leaves before the end of the handshake
      return;
    }
    const verdict = verifyServer(socket as Bun.Socket<unknown>, ok, error, this.#expected);
    if (!verdict.ok) {
      this.#refuse(verdict.error);
      return;
    }
    const standing = this.#trust?.check(
      socket as Bun.Socket<unknown>,
      this.#certificate as WorkloadCertificate,
      "source",
    );
    if (standing?.ok === false) {
      this.#refuse(standing.error);
      return;
    }
    this.#owner = this.#socket = this.#certificate = undefined;
    owner.verified(socket, verdict.identity, standing?.peer);
  }

  #refuse(error: string): void {
    // Where nobody is expected, nobody else can do better.
    this.#fail(connectFailure(`io error: ${error}`, "CONNECT", this.#expected.length > 0));
  }

  closed(error: Error | undefined): void {
    const code = errorCode(error);
    this.#fail(
      connectFailure(`io error: ${code === "" ? "tls handshake eof" : osErrorText(code)}`, "CONNECT", true),
    );
  }

  broken(error: Error): void {
    this.#fail(connectFailure(`io error: ${error.message}`, "CONNECT", true));
  }

  #fail(failure: ConnectFailure): void {
    const owner = this.#owner;
    this.abandon();
    owner?.handshakeFailed(failure);
  }
}

/** As `tunnelHandlers`; a socket that we make is there before anything has happened on it. */
const handshakeHandlers: Bun.SocketHandler<TunnelData> = {
  ...tunnelHandlers,
  open(socket) {
    if (socket.data instanceof ClientHandshake) socket.data.opened(socket);
  },
};
