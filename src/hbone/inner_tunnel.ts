import type { HeaderList } from "../http2/mod.ts";
import type { WorkloadCertificate } from "../identity/mod.ts";
import { closeFd, SystemError } from "../linux/mod.ts";
import { Conduit } from "../net/conduit.ts";
import { osErrorText } from "../net/os_error.ts";
import type { RelayError } from "../net/relay.ts";
import { CONNECT_TIMEOUT_MS } from "../net/tcp.ts";
import type { TrackedPeer } from "../tls/mod.ts";
import { ClientHandshake, type HandshakeOwner } from "./client_handshake.ts";
import type { TunnelOptions } from "./dial.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import type { TunnelSocket } from "./handlers.ts";
import { ANSWER_TIMEOUT_MS, unanswered } from "./pool.ts";
import { type ConnectOwner, StreamEndpoint } from "./stream_endpoint.ts";
import type { TransportOwner } from "./stream_user.ts";
import { HboneTransport, type TransportSocket } from "./transport.ts";

/** In whose name the inner tunnel is made, and whom it must reach. */
export interface InnerTarget {
  /** SPIFFE id of the workload that we speak for; the same as the outer tunnel's. */
  readonly sourceIdentity: string;
  /** SPIFFE ids of which the inner peer must prove one. Empty: nobody can, and the connection fails. */
  readonly expectedIdentities: readonly string[];
}

/** Who asked for an inner tunnel: hears exactly one of the two, later, unless it is abandoned. */
export interface InnerTunnelOwner {
  /** The inner peer answered 200: bytes may flow. `headers` are those of its response (baggage for telemetry). */
  innerConnected(
    endpoint: StreamEndpoint,
    facts: { readonly peerIdentity: string; readonly headers: HeaderList },
  ): void;
  connectFailed(failure: ConnectFailure): void;
}

/**
 * A tunnel inside the stream of another (double HBONE, spec/ztunnel.md §5 step 7, §5.1): TLS, HTTP/2 and one CONNECT.
 * It is not shared, and ends with its stream.
 */
class InnerTunnel implements HandshakeOwner, ConnectOwner, TransportOwner {
  readonly #options: TunnelOptions;
  readonly #target: InnerTarget;
  readonly #headers: HeaderList;
  readonly #handshake: ClientHandshake;
  #owner: InnerTunnelOwner | undefined;
  #conduit: Conduit | undefined = undefined;
  /** The conduit's descriptor, until the handshake takes it. */
  #fd = -1;
  #transport: HboneTransport | undefined = undefined;
  #stream: StreamEndpoint | undefined = undefined;
  #peerIdentity = "";
  #timer: Timer;

  constructor(options: TunnelOptions, target: InnerTarget, headers: HeaderList, owner: InnerTunnelOwner) {
    this.#options = options;
    this.#target = target;
    this.#headers = headers;
    this.#owner = owner;
    this.#handshake = new ClientHandshake(target.expectedIdentities, this, options.trust);
    this.#timer = setTimeout(() => this.#handshakeExpired(), CONNECT_TIMEOUT_MS);
  }

  start(outer: StreamEndpoint): void {
    const opened = Conduit.open(outer, (error) => this.#outerEnded(error));
    if (opened instanceof SystemError) {
      outer.abort();
      const failure = connectFailure(`io error: ${osErrorText(opened.code)}`);
      queueMicrotask(() => this.connectFailed(failure));
      return;
    }
    this.#conduit = opened.conduit;
    this.#fd = opened.fd;
    const { certificates } = this.#options;
    const certificate = certificates.peek(this.#target.sourceIdentity);
    if (certificate !== undefined) queueMicrotask(() => this.#begin(certificate));
    else {
      // The outer tunnel was made with it, so that it can only just have expired.
      certificates.get(this.#target.sourceIdentity, "realtime").then(
        (fetched) => this.#begin(fetched),
        (error: Error) => this.handshakeFailed(connectFailure(`identity error: ${error.message}`, "IDENTITY_ERROR")),
      );
    }
  }

  #begin(certificate: WorkloadCertificate): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) this.#handshake.start(fd, certificate, this.#options.tlsPolicy);
  }

  /** Gives up, or ends what was connected. The owner hears nothing more. */
  abandon(): void {
    this.#owner = undefined;
    if (this.#stream !== undefined) this.#stream.abandon();
    else this.#stop();
  }

  // --- handshake ---

  verified(socket: TunnelSocket, identity: string, peer: TrackedPeer | undefined): void {
    clearTimeout(this.#timer);
    const transport = new HboneTransport("client", socket as TransportSocket, this.#options.settings, this);
    socket.data = transport;
    transport.watch(peer);
    this.#transport = transport;
    this.#peerIdentity = identity;
    const endpoint = new StreamEndpoint(this);
    this.#stream = endpoint;
    const stream = transport.h2.request(this.#headers, false, endpoint);
    if (stream === undefined) throw new Error("hbone: a new connection takes no request");
    endpoint.bind(stream, undefined);
    transport.endWithLastStream();
    this.#timer = setTimeout(() => this.#answerExpired(), ANSWER_TIMEOUT_MS);
  }

  handshakeFailed(failure: ConnectFailure): void {
    this.connectFailed(failure);
    this.#stop();
  }

  #handshakeExpired(): void {
    this.handshakeFailed(connectFailure("io error: tls handshake timed out", "CONNECT", true));
  }

  // --- answer ---

  connected(endpoint: StreamEndpoint, headers: HeaderList): void {
    clearTimeout(this.#timer);
    const owner = this.#owner;
    this.#owner = undefined;
    if (owner === undefined) endpoint.abort();
    else owner.innerConnected(endpoint, { peerIdentity: this.#peerIdentity, headers });
  }

  connectFailed(failure: ConnectFailure): void {
    clearTimeout(this.#timer);
    const owner = this.#owner;
    this.#owner = undefined;
    owner?.connectFailed(failure);
  }

  #answerExpired(): void {
    this.#stream?.abandon();
    this.connectFailed(unanswered());
  }

  // --- ends ---

  /** The outer stream is over, and with it everything. */
  #outerEnded(error: RelayError | undefined): void {
    if (this.#transport === undefined) {
      const text = error?.text ?? "io error: tls handshake eof";
      this.connectFailed(connectFailure(text, error?.flag ?? "CONNECT", true));
      this.#stop();
    } else if (error !== undefined) {
      // What the outer tunnel knows says more than the end of file that the inner one is about to read.
      if (this.#owner === undefined) this.#stream?.cut(error);
      else {
        this.connectFailed(connectFailure(error.text, error.flag ?? "H2_HANDSHAKE_FAILURE", true));
        this.#transport.close();
      }
    }
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#handshake.abandon();
    if (this.#fd >= 0) closeFd(this.#fd);
    this.#fd = -1;
    this.#conduit?.cut();
  }

  onRequest(): void {
    // A client never receives requests: the codec refuses pushed streams before they get here.
  }

  onCapacity(): void {
    // There is one stream.
  }

  onGoaway(): void {
    // The stream may go on; there will be no other.
  }

  onTransportClosed(): void {
    this.#conduit?.retire();
  }
}

/**
 * Connects through `outer`, a stream that was answered with 200 and is joined with nothing; it belongs to the tunnel from
 * here on. `headers` are those of the inner CONNECT. `abandon` may be called at any time; it also ends a tunnel that is
 * connected.
 */
export function openInnerTunnel(
  options: TunnelOptions,
  outer: StreamEndpoint,
  target: InnerTarget,
  headers: HeaderList,
  owner: InnerTunnelOwner,
): { abandon(): void } {
  const tunnel = new InnerTunnel(options, target, headers, owner);
  tunnel.start(outer);
  return tunnel;
}
