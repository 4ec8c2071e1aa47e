import type { HeaderList, Http2Stream } from "../http2/mod.ts";
import { formatIdentity, type Identity, parseIdentity, type WorkloadCertificate } from "../identity/mod.ts";
import { localAddress, peerAddress } from "../linux/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import { errorCode, osErrorText } from "../net/os_error.ts";
import { surfaceBug } from "../net/surface.ts";
import { adoptListener, finishListening } from "../net/tcp.ts";
import { type PeerTrust, serverContext, type TlsPolicy, type TrackedPeer, verifyClient } from "../tls/mod.ts";
import { type TunnelData, tunnelHandlers, type TunnelSocket, type Unverified } from "./handlers.ts";
import type { StreamUser, TransportOwner } from "./stream_user.ts";
import { type HboneSettings, HboneTransport, type TransportSocket } from "./transport.ts";

/** Time for the TLS handshake, ms. The original has none, so a silent client holds a socket for ever. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Both ends of an accepted connection. */
export interface AcceptedPeer {
  readonly address: SocketAddress;
  readonly local: SocketAddress;
  /** As proved in the handshake. */
  readonly identity: Identity;
  readonly identityText: string;
}

export interface HboneServerOptions {
  readonly tlsPolicy: TlsPolicy;
  readonly settings: HboneSettings;
  /** Asked about every peer, and cuts those that lose its trust; left out: the handshake alone decides. */
  readonly trust?: PeerTrust | undefined;
  /** The certificate to present now; waits while it is being made. */
  certificate(): WorkloadCertificate | Promise<WorkloadCertificate>;
  onRequest(
    transport: HboneTransport,
    peer: AcceptedPeer,
    stream: Http2Stream<StreamUser>,
    headers: HeaderList,
    endStream: boolean,
  ): void;
  /** A connection that did not get as far as HTTP/2. */
  onRefused(peer: SocketAddress, local: SocketAddress, error: string): void;
  onSocketOpened(): void;
  onSocketClosed(): void;
}

/**
 * Accepts HBONE connections on a listening fd: plain accept, then TLS with the certificate of the moment, so that a
 * rotation needs nothing but a newer certificate.
 */
export class HboneServer implements TransportOwner {
  readonly #options: HboneServerOptions;
  readonly #listener: Bun.TCPSocketListener<TunnelData>;
  readonly #transports = new Map<HboneTransport, AcceptedPeer>();
  readonly #handshakes = new Set<Handshake>();
  #emptied: (() => void) | undefined = undefined;
  #draining = false;
  /** It drains, and those who wait to be accepted still are. */
  #listening = false;

  constructor(fd: number, options: HboneServerOptions) {
    this.#options = options;
    // No `data` here: the runtime would copy all ciphertext once more for the socket under the TLS socket.
    this.#listener = adoptListener<TunnelData>(fd, {
      open: (socket) => {
        options.onSocketOpened();
        new Handshake(this, options, socket);
      },
      drain() {},
      close(socket, error) {
        if (socket.data instanceof Handshake) socket.data.closed(error);
      },
      error: (_, error) => surfaceBug(error),
    });
  }

  /** Connections that are open. */
  get size(): number {
    return this.#transports.size;
  }

  /** Connections whose peer is not verified yet, but for those that wait for our certificate: whoever gives it knows them. */
  get handshakes(): number {
    let begun = 0;
    for (const { waitsForUs } of this.#handshakes) if (!waitsForUs) begun++;
    return begun;
  }

  stopListening(): void {
    this.#listener.stop(false);
  }

  /**
   * Accepts no more connections and asks the peers to open no more streams. What runs goes on, and so does what was under
   * way: streams that a peer opened before it knew, for a moment, and handshakes, whose connections are then drained too.
   */
  drain(): void {
    this.#draining = true;
    this.#listening = true;
    void finishListening(this.#listener).then(() => {
      this.#listening = false;
      this.#checkEmpty();
    });
    for (const transport of [...this.#transports.keys()]) transport.drain();
  }

  /** Asks the peers to open no more connections in their tunnels, nor in those begun by now; new ones are still taken. */
  retire(): void {
    for (const handshake of this.#handshakes) handshake.retired = true;
    for (const transport of [...this.#transports.keys()]) transport.drain();
  }

  /** Ends everything now. */
  close(): void {
    this.stopListening();
    for (const handshake of [...this.#handshakes]) handshake.fail("connection draining");
    for (const transport of [...this.#transports.keys()]) transport.close();
  }

  /** Whether no connection is left, nor a handshake, nor may a drain bring one. */
  get empty(): boolean {
    return this.#transports.size + this.#handshakes.size === 0 && !this.#listening;
  }

  /** Resolves when it is empty. */
  whenEmpty(): Promise<void> {
    if (this.empty) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }

  begun(handshake: Handshake): void {
    this.#handshakes.add(handshake);
  }

  ended(handshake: Handshake): void {
    this.#handshakes.delete(handshake);
    this.#checkEmpty();
  }

  #checkEmpty(): void {
    if (this.empty) this.#emptied?.();
  }

  admit(
    socket: TransportSocket,
    peer: AcceptedPeer,
    tracked: TrackedPeer | undefined,
    retired: boolean,
  ): HboneTransport {
    const transport = new HboneTransport("server", socket, this.#options.settings, this);
    this.#transports.set(transport, peer);
    transport.watch(tracked);
    if (this.#draining || retired) transport.drain();
    return transport;
  }

  onRequest(
    transport: HboneTransport,
    stream: Http2Stream<StreamUser>,
    headers: HeaderList,
    endStream: boolean,
  ): void {
    this.#options.onRequest(transport, this.#transports.get(transport) as AcceptedPeer, stream, headers, endStream);
  }

  onCapacity(): void {
    // Room for more streams matters to clients only.
  }

  onGoaway(): void {
    // The client opens no more streams; those that run go on.
  }

  onTransportClosed(transport: HboneTransport): void {
    this.#transports.delete(transport);
    this.#options.onSocketClosed();
    this.#checkEmpty();
  }
}

/** An accepted socket until its peer is verified. */
class Handshake implements Unverified {
  readonly #server: HboneServer;
  readonly #options: HboneServerOptions;
  readonly #peer: SocketAddress;
  readonly #local: SocketAddress;
  #certificate: WorkloadCertificate | undefined = undefined;
  #own: Identity | undefined = undefined;
  #socket: TunnelSocket;
  #timer: Timer | undefined = undefined;
  #state: "certificate" | "tls" | "finished" = "certificate";
  /** Its connection is to take no more streams than have been opened by then. */
  retired = false;

  constructor(server: HboneServer, options: HboneServerOptions, socket: TunnelSocket) {
    this.#server = server;
    this.#options = options;
    this.#socket = socket;
    socket.data = this;
    const { fd } = socket as unknown as { fd: number };
    const peer = peerAddress(fd);
    const local = localAddress(fd);
    this.#peer = peer ?? NOWHERE;
    this.#local = local ?? NOWHERE;
    if (peer === undefined || local === undefined) {
      this.#state = "finished"; // reset before it was accepted
      options.onSocketClosed();
      socket.end();
      return;
    }
    server.begun(this);
    this.#timer = setTimeout(() => this.fail("tls handshake error: timed out"), HANDSHAKE_TIMEOUT_MS);
    const certificate = options.certificate();
    if (!(certificate instanceof Promise)) {
      this.#upgrade(certificate);
      return;
    }
    socket.pause(); // the client's first flight waits in the kernel until the upgrade reads on
    certificate.then((fetched) => {
      if (this.#state === "certificate") this.#upgrade(fetched);
    }, (error: Error) => this.fail(error.message));
  }

  /** It has not begun yet: the certificate is being made. */
  get waitsForUs(): boolean {
    return this.#state === "certificate";
  }

  #upgrade(certificate: WorkloadCertificate): void {
    this.#state = "tls";
    this.#certificate = certificate;
    this.#own = parseIdentity(certificate.identity);
    try {
      const [, secure] = this.#socket.upgradeTLS<TunnelData>({
        data: this,
        isServer: true,
        tls: serverContext(certificate, this.#options.tlsPolicy),
        socket: tunnelHandlers,
      } as unknown as Bun.TLSUpgradeOptions<TunnelData>);
      this.#socket = secure;
    } catch (error) {
      this.fail(`tls error: ${(error as Error).message}`); // the runtime did not like key or certificate
    }
  }

  handshake(socket: TunnelSocket, ok: boolean, error: Error | null | undefined): void {
    if (this.#state !== "tls" || this.#own === undefined) return;
    const verdict = verifyClient(socket as Bun.Socket<unknown>, ok, error, this.#own);
    const identity = verdict.ok ? parseIdentity(verdict.identity) : undefined;
    if (!verdict.ok || identity === undefined) {
      this.fail(`tls handshake error: ${verdict.ok ? `invalid identity ${verdict.identity}` : verdict.error}`);
      return;
    }
    const { trust } = this.#options;
    const standing = trust?.check(
      socket as Bun.Socket<unknown>,
      this.#certificate as WorkloadCertificate,
      "destination",
    );
    if (standing?.ok === false) {
      this.fail(`tls handshake error: ${standing.error}`);
      return;
    }
    socket.data = this.#server.admit(
      socket as TransportSocket,
      {
        address: this.#peer,
        local: this.#local,
        identity,
        identityText: formatIdentity(identity),
      },
      standing?.peer,
      this.retired,
    );
    this.#finish(); // after it, so that the server is not empty in between
  }

  closed(error: Error | undefined): void {
    if (this.#state === "finished") return;
    const code = errorCode(error);
    this.#report(`tls handshake error: ${code === "" ? "tls handshake eof" : osErrorText(code)}`);
  }

  broken(error: Error): void {
    this.fail(`tls handshake error: ${error.message}`);
  }

  fail(text: string): void {
    if (this.#state === "finished") return;
    const socket = this.#socket;
    this.#report(text);
    socket.terminate(); // after anything gentler, bytes of a refused peer would still be handed over
  }

  #report(text: string): void {
    this.#finish();
    this.#options.onSocketClosed();
    this.#options.onRefused(this.#peer, this.#local, text);
  }

  #finish(): void {
    this.#state = "finished";
    this.#certificate = undefined;
    clearTimeout(this.#timer);
    this.#server.ended(this);
  }
}

const NOWHERE: SocketAddress = { ip: "0.0.0.0", port: 0 };
