import type { CertificateCache, WorkloadCertificate } from "../identity/mod.ts";
import { connectTcp, peerAddress, refusedByNetwork, SystemError } from "../linux/mod.ts";
import { osErrorText } from "../net/os_error.ts";
import { CONNECT_TIMEOUT_MS, type DialOptions } from "../net/tcp.ts";
import type { PeerTrust, TlsPolicy, TrackedPeer } from "../tls/mod.ts";
import { ClientHandshake, type HandshakeOwner } from "./client_handshake.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import type { TunnelSocket } from "./handlers.ts";
import type { PoolTarget } from "./pool.ts";
import type { TransportOwner } from "./stream_user.ts";
import { type HboneSettings, HboneTransport, type TransportSocket } from "./transport.ts";

/** What all tunnels of the process share. */
export interface TunnelOptions {
  readonly certificates: CertificateCache;
  readonly tlsPolicy: TlsPolicy;
  readonly settings: HboneSettings;
  /** Asked about every peer, and cuts those that lose its trust; left out: the handshake alone decides. */
  readonly trust?: PeerTrust | undefined;
}

/** One connection in the making: certificate, TCP, TLS, verification, HTTP/2. */
class TunnelDial implements HandshakeOwner {
  readonly #options: TunnelOptions;
  readonly #target: PoolTarget;
  readonly #owner: TransportOwner;
  readonly #done: (transport: HboneTransport) => void;
  readonly #failed: (failure: ConnectFailure) => void;
  readonly #handshake: ClientHandshake;
  #state: "dialing" | "finished" = "dialing";
  #timer: Timer | undefined = undefined;

  constructor(
    options: TunnelOptions,
    target: PoolTarget,
    owner: TransportOwner,
    done: (transport: HboneTransport) => void,
    failed: (failure: ConnectFailure) => void,
  ) {
    this.#options = options;
    this.#target = target;
    this.#owner = owner;
    this.#done = done;
    this.#failed = failed;
    this.#handshake = new ClientHandshake(target.expectedIdentities, this, options.trust);
  }

  start(dialOptions: DialOptions): void {
    this.#timer = setTimeout(() => this.#expired(), CONNECT_TIMEOUT_MS);
    const { certificates } = this.#options;
    const certificate = certificates.peek(this.#target.sourceIdentity);
    if (certificate !== undefined) {
      // The pool counts on hearing of the outcome later, not from within its own call.
      queueMicrotask(() => this.#connect(certificate, dialOptions));
      return;
    }
    certificates.get(this.#target.sourceIdentity, "realtime").then(
      (fetched) => this.#connect(fetched, dialOptions),
      (error: Error) => this.handshakeFailed(connectFailure(`identity error: ${error.message}`, "IDENTITY_ERROR")),
    );
  }

  #connect(certificate: WorkloadCertificate, dialOptions: DialOptions): void {
    if (this.#state === "finished") return;
    const fd = connectTcp({ ...dialOptions, destination: this.#target.destination });
    if (fd instanceof SystemError) {
      this.handshakeFailed(connectFailure(`io error: ${osErrorText(fd.code)}`, "CONNECT", refusedByNetwork(fd)));
    } else {
      this.#handshake.start(fd, certificate, this.#options.tlsPolicy);
    }
  }

  verified(socket: TunnelSocket, _identity: string, peer: TrackedPeer | undefined): void {
    this.#finish();
    const transport = new HboneTransport("client", socket as TransportSocket, this.#options.settings, this.#owner);
    socket.data = transport;
    transport.watch(peer);
    this.#done(transport);
  }

  handshakeFailed(failure: ConnectFailure): void {
    if (this.#state === "finished") return;
    this.#finish();
    this.#failed(failure);
  }

  #expired(): void {
    const { fd } = this.#handshake;
    const connected = fd < 0 || peerAddress(fd) !== undefined;
    this.#handshake.abandon();
    if (!connected) {
      const { port } = this.#target.destination;
      const text = `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${port}: deadline has elapsed`;
      this.handshakeFailed(connectFailure(text, "NETWORK_POLICY", true));
    } else if (fd < 0) {
      this.handshakeFailed(connectFailure("identity error: no certificate in time"));
    } else {
      this.handshakeFailed(connectFailure("io error: tls handshake timed out", "CONNECT", true));
    }
  }

  #finish(): void {
    this.#state = "finished";
    clearTimeout(this.#timer);
  }
}

/** Makes a tunnel to a peer, from a pod's namespace. Exactly one of the callbacks is called, never at once. */
export type DialTunnel = (
  target: PoolTarget,
  dialOptions: DialOptions,
  owner: TransportOwner,
  done: (transport: HboneTransport) => void,
  failed: (failure: ConnectFailure) => void,
) => void;

export function tunnelDialer(options: TunnelOptions): DialTunnel {
  return (target, dialOptions, owner, done, failed) =>
    new TunnelDial(options, target, owner, done, failed).start(dialOptions);
}
