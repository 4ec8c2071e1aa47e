import type { CertificateCache, WorkloadCertificate } from "../identity/mod.ts";
import { closeFd, connectTcp, peerAddress, SystemError } from "../linux/mod.ts";
import { errorCode, osErrorText } from "../net/os_error.ts";
import { CONNECT_TIMEOUT_MS, type DialOptions } from "../net/tcp.ts";
import { clientContext, type TlsPolicy, verifyServer } from "../tls/mod.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import { type TunnelData, tunnelHandlers, type TunnelSocket, type Unverified } from "./handlers.ts";
import type { PoolTarget } from "./pool.ts";
import { type HboneSettings, HboneTransport, type TransportOwner, type TransportSocket } from "./transport.ts";

/** What all tunnels of the process share. */
export interface TunnelOptions {
  readonly certificates: CertificateCache;
  readonly tlsPolicy: TlsPolicy;
  readonly settings: HboneSettings;
}

/** One connection in the making: certificate, TCP, TLS, verification, HTTP/2. */
class TunnelDial implements Unverified {
  readonly #options: TunnelOptions;
  readonly #target: PoolTarget;
  readonly #owner: TransportOwner;
  readonly #done: (transport: HboneTransport) => void;
  readonly #failed: (failure: ConnectFailure) => void;
  #state: "dialing" | "finished" = "dialing";
  #socket: TunnelSocket | undefined = undefined;
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
      (error: Error) => this.fail(connectFailure(`identity error: ${error.message}`, "IDENTITY_ERROR")),
    );
  }

  #connect(certificate: WorkloadCertificate, dialOptions: DialOptions): void {
    if (this.#state === "finished") return;
    const fd = connectTcp({ ...dialOptions, destination: this.#target.destination });
    if (fd instanceof SystemError) {
      this.fail(connectFailure(`io error: ${osErrorText(fd.code)}`));
      return;
    }
    try {
      // The promise repeats what the handlers hear; only a socket that could not be adopted is news.
      Bun.connect<TunnelData>({
        fd,
        data: this,
        allowHalfOpen: true,
        tls: clientContext(certificate, this.#options.tlsPolicy),
        socket: dialHandlers,
      } as unknown as Bun.TCPSocketConnectOptions<TunnelData>).catch((error: Error) =>
        this.fail(connectFailure(`io error: ${error.message}`))
      );
    } catch (error) {
      // The runtime did not like key or certificate.
      closeFd(fd);
      this.fail(connectFailure(`tls error: ${(error as Error).message}`, "TLS_FAILURE"));
    }
  }

  opened(socket: TunnelSocket): void {
    this.#socket = socket;
  }

  handshake(socket: TunnelSocket, ok: boolean, error: Error | null | undefined): void {
    if (this.#state === "finished") return;
    const verdict = verifyServer(socket as Bun.Socket<unknown>, ok, error, this.#target.expectedIdentities);
    if (!verdict.ok) {
      this.fail(connectFailure(`io error: ${verdict.error}`));
      return;
    }
    this.#finish();
    const transport = new HboneTransport(
      "client",
      socket as TransportSocket,
      this.#options.settings,
      this.#owner,
    );
    socket.data = transport;
    this.#done(transport);
  }

  closed(error: Error | undefined): void {
    const code = errorCode(error);
    this.fail(connectFailure(`io error: ${code === "" ? "tls handshake eof" : osErrorText(code)}`));
  }

  broken(error: Error): void {
    this.fail(connectFailure(`io error: ${error.message}`));
  }

  fail(failure: ConnectFailure): void {
    if (this.#state === "finished") return;
    const socket = this.#socket;
    this.#finish();
    socket?.terminate();
    this.#failed(failure);
  }

  #expired(): void {
    const fd = (this.#socket as { fd?: number } | undefined)?.fd ?? -1;
    if (fd >= 0 && peerAddress(fd) === undefined) {
      const { port } = this.#target.destination;
      const text = `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${port}: deadline has elapsed`;
      this.fail(connectFailure(text, "NETWORK_POLICY"));
    } else {
      this.fail(
        connectFailure(fd < 0 ? "identity error: no certificate in time" : "io error: tls handshake timed out"),
      );
    }
  }

  #finish(): void {
    this.#state = "finished";
    clearTimeout(this.#timer);
    this.#socket = undefined;
  }
}

/** As `tunnelHandlers`; a socket that we make is there before anything has happened on it. */
const dialHandlers: Bun.SocketHandler<TunnelData> = {
  ...tunnelHandlers,
  open(socket) {
    if (socket.data instanceof TunnelDial) socket.data.opened(socket);
  },
};

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
