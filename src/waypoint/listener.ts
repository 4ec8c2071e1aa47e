/** What comes in on 15008: CONNECT requests, each of which is a client's connection (spec/waypoint.md §1.5, §1.6). */
import { type AcceptedPeer, type HboneTransport, StreamEndpoint, type StreamUser } from "../hbone/mod.ts";
import { ErrorCode, type HeaderList, type Http2Stream } from "../http2/mod.ts";
import { ProtocolSniffer, type RequestHead, type SniffedProtocol } from "../http/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { parseAuthority } from "../net/authority.ts";
import type { ByteCounter, Endpoint } from "../net/endpoint.ts";
import { Relay, type RelayOwner } from "../net/relay.ts";
import type { ServerName } from "../tls/client_hello.ts";
import type { CompiledHttpChain, CompiledTcpChain, Configuration } from "./configuration.ts";
import { HttpConnection } from "./http_connection.ts";
import type { WaypointPlane } from "./plane.ts";
import type { ChainChoice } from "./snapshot/mod.ts";
import { type DownstreamInfo, StreamInfo } from "./stream_info.ts";
import { ServerNameReader } from "./server_name_reader.ts";
import { TcpConnection } from "./tcp_connection.ts";

/** How long the first line of a client may take on a port declared HTTP; then HTTP/1, with its own limits, has it. */
const FIRST_LINE_TIMEOUT_MS = 60_000;
/** Connections that a line of the log names. */
const MOST_TOLD = 3;
/** Bytes in tunnels are counted by each connection itself. */
const UNCOUNTED: ByteCounter = { value: 0 };

interface Refused {
  readonly status: 400 | 403 | 404 | 503;
  readonly reason: string;
  /** RESPONSE_CODE_DETAILS; undefined: no chain is there for it. */
  readonly details?: string;
}

interface Found {
  readonly choice: ChainChoice;
  /** undefined: the authority names a host. */
  readonly destination: SocketAddress | undefined;
  readonly port: number;
}

export class Listener {
  readonly #plane: WaypointPlane;
  readonly #connections = new Set<TunnelledConnection>();
  #draining = false;
  #emptied: (() => void) | undefined = undefined;

  constructor(plane: WaypointPlane) {
    this.#plane = plane;
  }

  /** Connections that are open. */
  get size(): number {
    return this.#connections.size;
  }

  accept(
    transport: HboneTransport,
    peer: AcceptedPeer,
    stream: Http2Stream<StreamUser>,
    headers: HeaderList,
    endStream: boolean,
  ): void {
    const endpoint = new StreamEndpoint(undefined);
    stream.data = endpoint;
    endpoint.bind(stream, undefined);
    if (endStream) endpoint.onData(NOTHING, true);
    const method = valueOf(headers, ":method") ?? "";
    const authority = valueOf(headers, ":authority") ?? "";
    const { configuration } = this.#plane;
    const found = configuration === undefined
      ? { status: 503, reason: "no configuration yet" } as const
      : this.#choose(configuration, method, authority);
    const downstream: DownstreamInfo = {
      remote: peer.address,
      local: "reason" in found ? peer.local : found.destination ?? { ip: peer.local.ip, port: found.port },
      originalDestination: "reason" in found ? undefined : found.destination,
      authority,
      peerPrincipal: peer.identityText,
      sourceNamespace: peer.identity.namespace,
      localPrincipal: this.#plane.identity,
      requestedServerName: undefined,
      serverNameUnknown: "it is not read on this port",
    };
    if ("reason" in found) {
      this.#refuse(stream, downstream, method, found);
      return;
    }
    const denied = this.#denied(configuration as Configuration, downstream, method);
    if (denied !== undefined) {
      this.#refuse(stream, downstream, method, denied);
      return;
    }
    if (transport.state === "closed") return;
    stream.respond([[":status", "200"]], false);
    const connection = new TunnelledConnection(this.#plane, endpoint, downstream, (closed) => this.#closed(closed));
    this.#connections.add(connection);
    connection.start(configuration as Configuration, found.choice);
    if (this.#draining) connection.drain();
  }

  /** A new configuration serves. Requests see it by themselves; TCP connections are judged again. */
  reconfigured(configuration: Configuration): void {
    for (const connection of this.#connections) connection.reconfigured(configuration);
  }

  /** Lets requests that run end; clients are told not to send more on these connections. */
  drain(): void {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
  }

  /** The connections that are there for longest, for the log: `10.0.0.1:4000 (spiffe://…) -> 10.0.0.2:80 since …`. */
  oldest(most = MOST_TOLD): string {
    const told: string[] = [];
    for (const connection of this.#connections) {
      if (told.length >= most) break;
      told.push(connection.describe());
    }
    return told.join("; ");
  }

  whenEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }

  #choose(
    configuration: Configuration,
    method: string,
    authority: string,
  ): Refused | Found {
    if (method !== "CONNECT") return { status: 400, reason: `expected method CONNECT, got ${method}` };
    const parsed = parseAuthority(authority);
    if (parsed.kind === "invalid") return { status: 400, reason: "the authority is no address with a port" };
    const destination = parsed.kind === "address" ? { ip: parsed.ip, port: parsed.port } : undefined;
    if (destination !== undefined && this.#plane.ownAddresses.has(destination.ip)) {
      return { status: 404, reason: "the destination is this waypoint itself" };
    }
    const choice = configuration.index.choose(authority, destination);
    return choice === undefined
      ? { status: 404, reason: "no service of this waypoint has this address and port" }
      : { choice, destination, port: parsed.port };
  }

  /** Policies for the waypoint itself, judged by the tunnel's peer. */
  #denied(configuration: Configuration, downstream: DownstreamInfo, method: string): Refused | undefined {
    const { rbac } = configuration.connect;
    if (rbac === undefined) return undefined;
    const info = new StreamInfo(downstream);
    info.request = connectHead(method, downstream.authority);
    const verdict = this.#plane.authorize(rbac, "CONNECT", info, undefined);
    if (verdict.allowed) return undefined;
    return { status: 403, reason: "denied by policy", details: verdict.responseCodeDetails };
  }

  #refuse(
    stream: Http2Stream<StreamUser>,
    downstream: DownstreamInfo,
    method: string,
    { status, reason, details }: Refused,
  ): void {
    const { authority } = downstream;
    this.#plane.logs.listener.warn("connection refused", [
      ["src.addr", { display: formatAddress(downstream.remote) }],
      ["src.identity", downstream.peerPrincipal ?? ""],
      ["dst.hbone_addr", { display: authority }],
      ["response_flags", details === undefined ? "NR" : "-"],
      ["error", reason],
    ]);
    stream.respond([[":status", String(status)]], true);
    stream.reset(ErrorCode.NO_ERROR);
    const info = new StreamInfo(downstream);
    info.request = connectHead(method, authority);
    info.responseCode = status;
    info.responseCodeDetails = details ?? "route_not_found";
    if (details === undefined) info.flag("NR");
    info.endedAt = performance.now();
    this.#plane.configuration?.connect.log(info);
  }

  #closed(connection: TunnelledConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#emptied?.();
  }
}

/** A client's connection and what serves it. */
class TunnelledConnection implements RelayOwner {
  readonly #plane: WaypointPlane;
  readonly #downstream: StreamEndpoint;
  readonly #info: DownstreamInfo;
  readonly #closed: (connection: TunnelledConnection) => void;
  #http: HttpConnection | undefined = undefined;
  #tcp: TcpConnection | undefined = undefined;
  readonly #since = Date.now();
  #relay: Relay | undefined = undefined;
  #draining = false;

  constructor(
    plane: WaypointPlane,
    downstream: StreamEndpoint,
    info: DownstreamInfo,
    closed: (connection: TunnelledConnection) => void,
  ) {
    this.#plane = plane;
    this.#downstream = downstream;
    this.#info = info;
    this.#closed = closed;
  }

  start(configuration: Configuration, choice: ChainChoice): void {
    if (choice.kind === "sniff") {
      this.#join(
        new ProtocolSniffer((protocol) => this.#sniffed(configuration, choice, protocol), {
          timeoutMs: this.#plane.detectionTimeoutMs,
        }),
      );
      return;
    }
    const chain = configuration.chain(choice.chain);
    if (chain === undefined) throw new Error(`the matcher names chain ${choice.chain}, which does not exist`);
    if (chain.kind === "tcp") {
      this.#join(
        chain.chain.inspectTls
          ? new ServerNameReader((name) => this.#named(chain, name), this.#plane.detectionTimeoutMs)
          : this.#serveTcp(chain, this.#info),
      );
    } else {
      // HTTP/1 or HTTP/2 by prior knowledge; what is neither, the HTTP/1 codec refuses.
      this.#join(
        new ProtocolSniffer((protocol) => this.#serveHttp(chain, protocol), { timeoutMs: FIRST_LINE_TIMEOUT_MS }),
      );
    }
  }

  drain(): void {
    this.#draining = true;
    this.#http?.drain();
  }

  describe(): string {
    const { remote, peerPrincipal = "", authority } = this.#info;
    return `${formatAddress(remote)} (${peerPrincipal}) -> ${authority} since ${new Date(this.#since).toISOString()}`;
  }

  reconfigured(configuration: Configuration): void {
    this.#tcp?.reconfigured(configuration);
  }

  relayFinished(relay: Relay): void {
    this.#tcp?.finished(relay);
    this.#closed(this);
  }

  #sniffed(
    configuration: Configuration,
    choice: ChainChoice & { readonly kind: "sniff" },
    protocol: SniffedProtocol,
  ): Endpoint {
    const http = protocol === "h2c" || protocol === "http/1.1" || protocol === "http/1.0" && choice.http10;
    const name = http ? choice.http : choice.tcp;
    const chain = configuration.chain(name);
    if (chain === undefined) throw new Error(`the matcher names chain ${name}, which does not exist`);
    return chain.kind === "tcp" ? this.#serveTcp(chain, this.#info) : this.#serveHttp(chain, protocol);
  }

  #serveHttp(chain: CompiledHttpChain, protocol: SniffedProtocol): Endpoint {
    const version = protocol === "h2c" ? "http2" : "http1";
    this.#http = new HttpConnection(this.#plane, chain, this.#info, version);
    if (this.#draining) this.#http.drain();
    return this.#http.endpoint;
  }

  #named(chain: CompiledTcpChain, serverName: ServerName): Endpoint {
    const { serverNameUnknown: _, ...rest } = this.#info;
    switch (serverName.kind) {
      case "name":
        return this.#serveTcp(chain, { ...rest, requestedServerName: serverName.name });
      case "none":
        return this.#serveTcp(chain, rest);
      case "unreadable":
        return this.#serveTcp(chain, { ...rest, serverNameUnknown: serverName.reason });
    }
  }

  #serveTcp(chain: CompiledTcpChain, info: DownstreamInfo): Endpoint {
    const tcp = new TcpConnection(this.#plane, chain, info);
    this.#tcp = tcp;
    // The relay must be there before the connection may end it.
    queueMicrotask(() => {
      tcp.start(this.#relay as Relay);
      // While the first bytes were waited for, another configuration may have come to serve.
      if (this.#plane.configuration !== undefined) tcp.reconfigured(this.#plane.configuration);
    });
    return tcp.endpoint;
  }

  #join(endpoint: Endpoint): void {
    this.#relay = new Relay(this.#downstream, endpoint, this, UNCOUNTED, UNCOUNTED);
  }
}

/** A CONNECT as logs and policies see it. */
function connectHead(method: string, authority: string): RequestHead {
  return {
    method,
    scheme: "",
    authority,
    path: "",
    protocol: "HTTP/2",
    fields: [],
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
  };
}

function valueOf(headers: HeaderList, name: string): string | undefined {
  for (const field of headers) if (field[0] === name) return field[1];
  return undefined;
}

const NOTHING = new Uint8Array(0);
