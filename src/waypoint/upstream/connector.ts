import type { ConnectFailure, Pool, StreamEndpoint } from "../../hbone/mod.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { localAddress } from "../../linux/mod.ts";
import { formatAddress } from "../../net/address.ts";
import type { Endpoint } from "../../net/endpoint.ts";
import { writeFirst } from "../../net/preface.ts";
import { proxyProtocolHeader } from "../../net/proxy_protocol.ts";
import { type Dial, type DialError, type DialOptions, type DialOwner, dialTcp } from "../../net/tcp.ts";
import { TcpEndpoint } from "../../net/tcp_endpoint.ts";
import { HappyEyeballs } from "./happy_eyeballs.ts";
import type { StreamTarget, UpstreamConnectionInfo } from "./target.ts";
import { startTlsInside, TlsHandshake, type TlsOwner } from "./tls.ts";
import type { ConnectionOwner, PendingConnection, UpstreamConnector } from "./types.ts";

const HBONE_PORT = 15008;

export interface ConnectorOptions {
  /** Tunnels to peers in the mesh. */
  readonly tunnels: Pool;
  /** Our own SPIFFE id, in whose name tunnels are made. */
  readonly sourceIdentity: string;
  readonly sourceIp: string;
  /** For sockets outside tunnels. */
  readonly dialOptions: DialOptions;
}

/** Makes byte streams to endpoints, each as its target says: tunnel or TCP, a PROXY header, TLS. */
export class Connector implements UpstreamConnector {
  readonly #options: ConnectorOptions;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  connect(target: StreamTarget, owner: ConnectionOwner): PendingConnection {
    const connection = new Connecting(target, owner, this.#options);
    connection.start();
    return connection;
  }
}

/** One byte stream in the making. */
class Connecting implements PendingConnection, DialOwner, TlsOwner {
  readonly #target: StreamTarget;
  readonly #options: ConnectorOptions;
  #owner: ConnectionOwner | undefined;
  #timer: Timer | undefined = undefined;
  #dial: Dial | undefined = undefined;
  #tunnel: StreamEndpoint | undefined = undefined;
  #handshake: TlsHandshake | undefined = undefined;
  #localAddress = "";
  #starting = false;

  constructor(target: StreamTarget, owner: ConnectionOwner, options: ConnectorOptions) {
    this.#target = target;
    this.#owner = owner;
    this.#options = options;
  }

  start(): void {
    const target = this.#target;
    if (target.kind === "double-hbone") {
      const where = target.authority ?? formatAddress(target.address);
      // The owner counts on hearing of the outcome later.
      setImmediate(() =>
        this.#fail(`unsupported feature: network gateway (a tunnel inside a tunnel) to ${where}`, false)
      );
      return;
    }
    this.#timer = setTimeout(() => this.#expired(), target.connectTimeoutMs);
    this.#starting = true;
    if (target.kind === "hbone") this.#startTunnel();
    else this.#startTcp();
    this.#starting = false;
  }

  abandon(): void {
    if (this.#owner === undefined) return;
    this.#owner = undefined;
    this.#stop();
  }

  // --- tunnel ---

  #startTunnel(): void {
    const { address, tunnel, authority, connectHeaders, expectedIdentities } = this.#target;
    const headers: HeaderList = [[":method", "CONNECT"], [":authority", authority ?? formatAddress(address)]];
    if (connectHeaders !== undefined) headers.push(...connectHeaders);
    const { tunnels, sourceIdentity, sourceIp } = this.#options;
    this.#tunnel = tunnels.connect(
      { sourceIdentity, sourceIp, expectedIdentities, destination: tunnel ?? { ip: address.ip, port: HBONE_PORT } },
      headers,
      {
        // An existing connection may answer at once, but never before `connect` has returned: answers come by the network.
        connected: (endpoint) => this.#opened(endpoint),
        connectFailed: (failure) => this.#tunnelFailed(failure),
      },
    );
  }

  #tunnelFailed(failure: ConnectFailure): void {
    const timedOut = failure.text.includes("deadline has elapsed") || failure.text.includes("timed out");
    this.#fail(failure.text, timedOut, failure.text.startsWith("http status:"));
  }

  // --- TCP ---

  #startTcp(): void {
    const { address, additionalAddresses, keepAlive } = this.#target;
    const { dialOptions } = this.#options;
    const options = keepAlive === undefined ? dialOptions : {
      ...dialOptions,
      keepAlive: { timeMs: keepAlive.timeMs, intervalMs: keepAlive.intervalMs, retries: keepAlive.probes },
    };
    this.#dial = additionalAddresses === undefined || additionalAddresses.length === 0
      ? dialTcp(address, undefined, options, this)
      : new HappyEyeballs([address, ...additionalAddresses], options, this);
  }

  dialed(endpoint: TcpEndpoint): void {
    this.#dial = undefined;
    if (this.#owner === undefined) {
      endpoint.abort();
      return;
    }
    const local = localAddress(endpoint.fd);
    if (local !== undefined) this.#localAddress = formatAddress(local);
    this.#opened(endpoint);
  }

  dialFailed(error: DialError): void {
    // The kernel may refuse before `connect` has returned.
    const detail = `delayed connect error: ${withoutNumber(error.text)}`;
    setImmediate(() => this.#fail(detail, error.timedOut));
  }

  // --- both ---

  /** The stream carries bytes. */
  #opened(endpoint: StreamEndpoint | TcpEndpoint): void {
    this.#tunnel = undefined;
    if (this.#owner === undefined) {
      endpoint.abort();
      return;
    }
    const { proxyProtocol, tls } = this.#target;
    if (proxyProtocol !== undefined) {
      writeFirst(endpoint, proxyProtocolHeader(proxyProtocol.version, proxyProtocol.source, proxyProtocol.destination));
    }
    if (tls === undefined) {
      // On loopback a connect succeeds before `connect` has returned, and so it may be in a microtask.
      if (this.#starting) setImmediate(() => this.#done(endpoint, ""));
      else this.#done(endpoint, "");
      return;
    }
    this.#handshake = new TlsHandshake(tls, this);
    if (endpoint instanceof TcpEndpoint) {
      const socket = endpoint.detach();
      if (socket === undefined) this.#fail("TLS error: the server closed the connection", false);
      else this.#handshake.startOn(socket);
      return;
    }
    const error = startTlsInside(endpoint, this.#handshake);
    if (error === undefined) return;
    endpoint.abort();
    this.#fail(`TLS error: ${error.message}`, false);
  }

  secured(endpoint: TcpEndpoint, alpn: string): void {
    this.#handshake = undefined;
    this.#done(endpoint, alpn);
  }

  tlsFailed(detail: string): void {
    this.#fail(detail, false);
  }

  #done(endpoint: Endpoint, alpn: string): void {
    const owner = this.#owner;
    if (owner === undefined) {
      endpoint.abort();
      return;
    }
    const info: UpstreamConnectionInfo = { localAddress: this.#localAddress, alpn };
    this.#owner = undefined;
    clearTimeout(this.#timer);
    owner.connected(endpoint, info);
  }

  #expired(): void {
    this.#stop();
    this.#fail("connection timeout", true);
  }

  #fail(detail: string, timedOut: boolean, refused = false): void {
    const owner = this.#owner;
    this.#owner = undefined;
    clearTimeout(this.#timer);
    owner?.connectFailed(refused ? { detail, timedOut, refused } : { detail, timedOut });
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#dial?.cancel();
    this.#tunnel?.abandon();
    this.#handshake?.cancel();
    this.#dial = this.#tunnel = this.#handshake = undefined;
  }
}

/** `Connection refused (os error 111)` as other proxies print it. */
function withoutNumber(text: string): string {
  const at = text.indexOf(" (os error ");
  return at < 0 ? text : text.slice(0, at);
}
