/** TLS, HTTP/2 and the two services on the connections that the front hands over. */
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { Token } from "../protocol.ts";
import type { Authority } from "./authority.ts";
import { Call, Status } from "./call.ts";
import type { CertificateService } from "./certificate_service.ts";
import type { Discovery } from "./discovery.ts";
import { saw } from "./output.ts";
import type { Settings } from "./settings.ts";

const DISCOVERY_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CERTIFICATE_PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/** What grpc-go grants; istiod: ISTIO_GPRC_MAXSTREAMS. */
const HTTP2_SETTINGS = { maxConcurrentStreams: 100_000, initialWindowSize: 1 << 20, enablePush: false };
/** A GOAWAY's last stream when it is only a warning (RFC 9113 section 6.8). */
const ALL_STREAMS = 2 ** 31 - 1;
/** How long the answer to the PING between is waited for; grpc-go: a minute. Milliseconds. */
const PING_MS = 1_000;
/** Megabytes that Node may hold for one session: a push of the largest mesh, many times. */
const SESSION_MEGABYTES = 4000;

export class Server {
  readonly #settings: Settings;
  readonly #authority: Authority;
  readonly #discovery: Discovery;
  readonly #certificates: CertificateService;
  readonly #http2: Http2SecureServer;
  readonly #sessions = new Map<number, ServerHttp2Session>();
  #tls: { readonly key: string; readonly cert: string } | undefined;
  #streams: number;
  /** Whose session is being made, in this very moment. */
  #current = 0;

  constructor(
    settings: Settings,
    authority: Authority,
    discovery: Discovery,
    certificates: CertificateService,
    lastStream: number,
  ) {
    this.#streams = lastStream;
    this.#settings = settings;
    this.#authority = authority;
    this.#discovery = discovery;
    this.#certificates = certificates;
    // It never listens: connections come with their TLS done, so that each is known by its number.
    this.#http2 = createSecureServer({ settings: HTTP2_SETTINGS, maxSessionMemory: SESSION_MEGABYTES });
    this.#http2.on("session", (session) => this.#begin(this.#current, session));
    this.#http2.on("error", () => undefined);
  }

  /** A certificate as the settings say, for connections from now on. */
  async renewCertificate(): Promise<void> {
    this.#tls = await this.#authority.serverCertificate(this.#settings.port);
  }

  accept(connection: number, socket: Socket): void {
    // One for each connection: Node tells the server of a failed handshake, not the socket.
    const tls = createTlsServer({
      ...this.#tls,
      minVersion: "TLSv1.2",
      ALPNProtocols: ["h2"],
      requestCert: true,
      rejectUnauthorized: false,
    });
    tls.on("secureConnection", (secured) => {
      const { servername } = secured as { servername?: string | false };
      saw({
        kind: "tls",
        connection,
        serverName: typeof servername === "string" ? servername : undefined,
        protocol: secured.getProtocol() ?? "",
        cipher: secured.getCipher().name,
        alpn: secured.alpnProtocol || undefined,
        clientCertificate: Object.keys(secured.getPeerCertificate() ?? {}).length > 0,
        error: undefined,
      });
      secured.on("error", () => secured.destroy());
      if (secured.alpnProtocol !== "h2") return secured.destroy();
      this.#current = connection;
      this.#http2.emit("secureConnection", secured);
    });
    tls.on("tlsClientError", (error) => {
      const empty = { serverName: undefined, protocol: "", cipher: "", alpn: undefined, clientCertificate: false };
      saw({ kind: "tls", connection, ...empty, error: error.message });
      // After the alert.
      socket.destroySoon();
    });
    tls.emit("connection", socket);
  }

  /**
   * GOAWAY, as grpc-go does it at the maximal age of a connection: one that allows all streams, a PING that tells it has
   * come, and then the last word. With `end` only that, and the connection is closed.
   */
  async goaway(connection: number, code: number, end: boolean): Promise<boolean> {
    const session = this.#sessions.get(connection);
    if (session === undefined || session.destroyed) return false;
    if (end) {
      session.goaway(code);
      setImmediate(() => session.destroy());
      return true;
    }
    session.goaway(code, ALL_STREAMS);
    // Who had nothing under way leaves without an answer.
    await new Promise<void>((resolve) => {
      setTimeout(resolve, PING_MS);
      session.once("close", () => resolve());
      if (!session.ping(() => resolve())) resolve();
    });
    if (!session.destroyed) session.goaway(code);
    return true;
  }

  get connections(): readonly number[] {
    return [...this.#sessions.keys()];
  }

  #begin(connection: number, session: ServerHttp2Session): void {
    this.#sessions.set(connection, session);
    session.setLocalWindowSize(HTTP2_SETTINGS.initialWindowSize);
    session.on("error", () => undefined);
    session.on("close", () => this.#sessions.delete(connection));
    session.on("ping", () => saw({ kind: "ping", connection }));
    session.on("stream", (stream, headers) => {
      const call = new Call(++this.#streams, connection, stream, headers);
      this.#serve(call);
    });
  }

  #serve(call: Call): void {
    if (
      call.headers[":method"] !== "POST" || !/^application\/grpc(?:[+;]|$)/.test(call.headers["content-type"] ?? "")
    ) {
      return call.endHttp(415);
    }
    if (call.path !== DISCOVERY_PATH && call.path !== CERTIFICATE_PATH) {
      return call.end(Status.unimplemented, `unknown method ${call.path}`);
    }
    const token = this.#authenticate(call);
    if (call.path === DISCOVERY_PATH) {
      if (token === undefined) return call.end(Status.unauthenticated, "authentication failure");
      return this.#discovery.serve(call);
    }
    if (token === undefined) return call.end(Status.unauthenticated, "request authenticate failure");
    this.#certificates.serve(call, token);
  }

  #authenticate({ headers }: Call): Token | undefined {
    const { tokens, refuseTokens, clusterId } = this.#settings.port;
    if (refuseTokens) return undefined;
    if (clusterId !== undefined && headers["clusterid"] !== clusterId) return undefined;
    const [, text] = /^Bearer (\S+)$/.exec(headers.authorization ?? "") ?? [];
    if (text === undefined) return undefined;
    return tokens === undefined ? { token: text } : tokens.find(({ token }) => token === text);
  }
}
