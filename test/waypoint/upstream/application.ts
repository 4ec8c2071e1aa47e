// An application on loopback TCP, and the callbacks of a test turned into promises.
import { type HttpServerEndpoint, serveHttp1, serveHttp2 } from "../../../src/http/mod.ts";
import { closeFd, connectTcp, listenTcp } from "../../../src/linux/mod.ts";
import type { SocketAddress } from "../../../src/net/address.ts";
import type { Endpoint } from "../../../src/net/endpoint.ts";
import { Relay } from "../../../src/net/relay.ts";
import { acceptHandlers, adoptListener } from "../../../src/net/tcp.ts";
import type { TcpEndpoint } from "../../../src/net/tcp_endpoint.ts";
import type { StreamTarget, UpstreamConnectionInfo, UpstreamConnector } from "../../../src/waypoint/upstream/mod.ts";
import { RecordingHandler, SeenResponse } from "../../http/exchanges.ts";

const uncounted = { value: 0 };
/** How long a test waits for what must happen, ms. */
const DEADLINE_MS = 20_000;

export async function until(what: string, when: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!when()) {
    if (performance.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Serves HTTP on a loopback port, or hands raw endpoints to `accept`. */
export class Application {
  readonly handler: RecordingHandler;
  readonly connections: HttpServerEndpoint[] = [];
  readonly endpoints: TcpEndpoint[] = [];
  readonly address: SocketAddress;
  readonly #listener: Bun.TCPSocketListener<TcpEndpoint>;

  constructor(
    protocol: "http1" | "http2" | "raw",
    react?: ConstructorParameters<typeof RecordingHandler>[0],
    options: { maxConcurrentStreams?: number; ip?: string; port?: number } = {},
  ) {
    this.handler = new RecordingHandler(react);
    const listener = listenTcp({
      address: { ip: options.ip ?? "127.0.0.1", port: options.port ?? 0 },
      backlog: 64,
      reusePort: false,
      reuseAddress: true,
    });
    this.address = listener.address;
    this.#listener = adoptListener(
      listener.fd,
      acceptHandlers((endpoint) => {
        this.endpoints.push(endpoint);
        if (protocol === "raw") return;
        const server = protocol === "http1" ? serveHttp1({}, this.handler) : serveHttp2(options, this.handler);
        this.connections.push(server);
        new Relay(endpoint, server, { relayFinished() {} }, uncounted, uncounted);
      }, () => {}),
    );
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

export function targetOf(address: SocketAddress, more: Partial<StreamTarget> = {}): StreamTarget {
  return {
    key: `${address.ip}:${address.port}`,
    kind: "tcp",
    address,
    expectedIdentities: [],
    connectTimeoutMs: 20_000,
    ...more,
  };
}

export type Outcome =
  | { readonly endpoint: Endpoint; readonly info: UpstreamConnectionInfo }
  | { readonly detail: string; readonly timedOut: boolean };

/** Connects; fails the test when the owner is called before `connect` has returned, or twice. */
export function connect(connector: UpstreamConnector, target: StreamTarget): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let returned = false;
    let told = false;
    const tell = (outcome: Outcome) => {
      if (!returned) reject(new Error("called before connect() returned"));
      if (told) reject(new Error("called twice"));
      told = true;
      resolve(outcome);
    };
    connector.connect(target, {
      connected: (endpoint, info) => tell({ endpoint, info }),
      connectFailed: (failure) => tell(failure),
    });
    returned = true;
  });
}

/** A response that a pool's listener saw. */
export class PooledResponse extends SeenResponse {
  info: UpstreamConnectionInfo | undefined = undefined;
  onConnected(info: UpstreamConnectionInfo): void {
    this.info = info;
  }
  get over(): boolean {
    return this.ended || this.reset !== undefined;
  }
}

/** A loopback address whose accept queue is full: connects to it hang. `close` frees it. */
export function silentAddress(): { address: SocketAddress; close(): void } {
  const listener = listenTcp({
    address: { ip: "127.0.0.1", port: 0 },
    backlog: 0,
    reusePort: false,
    reuseAddress: true,
  });
  const fds = [listener.fd];
  for (let i = 0; i < 3; i++) {
    const fd = connectTcp({ destination: listener.address });
    if (typeof fd === "number") fds.push(fd);
  }
  return {
    address: listener.address,
    close() {
      for (const fd of fds) closeFd(fd);
    },
  };
}
