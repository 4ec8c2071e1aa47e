/** TLS that the waypoint originates towards servers outside the mesh, and what it asks of their certificates. */
import { existsSync, readFileSync } from "node:fs";
import { DerError, parseCertificate } from "../../identity/mod.ts";
import { closeFd, SystemError } from "../../linux/mod.ts";
import { canonicalIp } from "../../net/address.ts";
import { Conduit } from "../../net/conduit.ts";
import type { Endpoint } from "../../net/endpoint.ts";
import { errorCode, osErrorText } from "../../net/os_error.ts";
import { surfaceBug } from "../../net/surface.ts";
import { TcpEndpoint, type TcpSocket } from "../../net/tcp_endpoint.ts";
import { SYSTEM_ROOT_FILES } from "../../tls/system_roots.ts";
import type { StreamTarget } from "./target.ts";

type TargetTls = NonNullable<StreamTarget["tls"]>;

/** Who asked for TLS: hears one of the two, later. */
export interface TlsOwner {
  secured(endpoint: TcpEndpoint, alpn: string): void;
  tlsFailed(detail: string): void;
}

/** Bun's code for a good chain whose certificate lacks the name that was dialled; names are judged here. */
const NAME_MISMATCH = "ERR_TLS_CERT_ALTNAME_INVALID";
const TLS_1_2 = 0x0303;
const TLS_1_3 = 0x0304;
/** SSL_OP_NO_TICKET: a resumed session would not show its certificate again. */
const NO_SESSION_TICKETS = 0x4000;

let systemRoots: string | undefined;

/** The roots of the operating system; without any, those that the runtime brings. */
function rootsOfSystem(): string {
  if (systemRoots === undefined) {
    const file = SYSTEM_ROOT_FILES.find((path) => existsSync(path));
    systemRoots = file === undefined ? "" : readFileSync(file, "latin1");
  }
  return systemRoots;
}

const contexts = new WeakMap<TargetTls, Bun.TLSOptions>();

function contextOf(tls: TargetTls): Bun.TLSOptions {
  let context = contexts.get(tls);
  if (context === undefined) {
    const roots = tls.roots === "system" ? rootsOfSystem() : tls.roots;
    context = {
      ...(roots === undefined || roots === "" ? {} : { ca: roots }),
      ...(tls.certificate === undefined ? {} : { cert: tls.certificate.chainPem, key: tls.certificate.keyPem }),
      ...(tls.alpn.length === 0 ? {} : { ALPNProtocols: tls.alpn.map(wireName).join("") }),
      // An address is no server name (RFC 6066 §3).
      serverName: tls.sni === undefined || canonicalIp(tls.sni) !== undefined ? "" : tls.sni,
      rejectUnauthorized: false,
      minVersion: TLS_1_2,
      maxVersion: TLS_1_3,
      secureOptions: NO_SESSION_TICKETS,
    } as Bun.TLSOptions;
    contexts.set(tls, context);
  }
  return context;
}

function wireName(name: string): string {
  return String.fromCharCode(name.length) + name;
}

type TlsData = TlsHandshake | TcpEndpoint;

/** A handshake on a socket; becomes its endpoint. */
export class TlsHandshake {
  readonly #tls: TargetTls;
  #owner: TlsOwner | undefined;
  #socket: Bun.Socket<TlsData> | undefined = undefined;
  /** What it runs in, if that is another stream. */
  #conduit: Conduit | undefined = undefined;

  constructor(tls: TargetTls, owner: TlsOwner) {
    this.#tls = tls;
    this.#owner = owner;
  }

  /** On a socket that is connected. */
  startOn(socket: TcpSocket): void {
    try {
      const [, secure] = socket.upgradeTLS<TlsData>({
        data: this,
        tls: contextOf(this.#tls),
        socket: handlers,
      } as unknown as Bun.TLSUpgradeOptions<TlsData>);
      this.#socket = secure;
    } catch (error) {
      socket.terminate();
      this.fail(`TLS error: ${(error as Error).message}`); // the runtime did not like key or certificate
    }
  }

  /** On the descriptor of a conduit; both are its own from here on. */
  startInside(conduit: Conduit, fd: number): void {
    this.#conduit = conduit;
    try {
      Bun.connect<TlsData>({
        fd,
        data: this,
        allowHalfOpen: true,
        tls: contextOf(this.#tls),
        socket: handlers,
      } as unknown as Bun.TCPSocketConnectOptions<TlsData>).catch((error: Error) =>
        this.fail(`TLS error: ${error.message}`)
      );
    } catch (error) {
      closeFd(fd);
      this.fail(`TLS error: ${(error as Error).message}`);
    }
  }

  opened(socket: Bun.Socket<TlsData>): void {
    if (this.#owner === undefined) socket.terminate();
    else this.#socket = socket;
  }

  shaken(socket: Bun.Socket<TlsData>, ok: boolean, error: Error | null | undefined): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    const refusal = this.#refusal(socket, ok, error);
    if (refusal !== "") {
      this.fail(`TLS error: ${refusal}`);
      return;
    }
    this.#owner = undefined;
    const { alpnProtocol } = socket;
    owner.secured(
      new TcpEndpoint(socket as unknown as TcpSocket),
      typeof alpnProtocol === "string" ? alpnProtocol : "",
    );
  }

  fail(detail: string): void {
    const owner = this.#owner;
    this.cancel();
    owner?.tlsFailed(detail);
  }

  /** Nobody waits any more. */
  cancel(): void {
    this.#owner = undefined;
    this.#socket?.terminate();
    this.#conduit?.cut();
  }

  /** Why this server is not the one that is wanted; "" when it is. */
  #refusal(socket: Bun.Socket<TlsData>, ok: boolean, error: Error | null | undefined): string {
    const { roots, subjectAltNames, sni } = this.#tls;
    if (roots === undefined) return ok || error ? "" : "the handshake was not completed";
    const code = error ? errorCode(error) : "";
    if (error && code !== NAME_MISMATCH) return `${code}: ${error.message}`;
    if (!error && !ok) return "the handshake was not completed";
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return "the server presented no certificate";
    const wanted = subjectAltNames.length > 0 ? subjectAltNames : sni === undefined ? [] : [sni];
    if (wanted.length === 0) return ""; // nothing but the chain was asked for
    let uris: readonly string[];
    try {
      uris = parseCertificate(certificate.raw).uris;
    } catch (problem) {
      if (!(problem instanceof DerError)) throw problem;
      return `unreadable certificate: ${problem.message}`;
    }
    for (const name of wanted) {
      const good = name.includes("://")
        ? uris.includes(name)
        : canonicalIp(name) !== undefined
        ? certificate.checkIP(name) !== undefined
        : certificate.checkHost(name, { subject: "never" }) !== undefined;
      if (good) return "";
    }
    return `the certificate is for ${certificate.subjectAltName ?? "nobody"}, not for ${wanted.join(", ")}`;
  }
}

/** Handlers of all TLS sockets to servers outside. Nothing is read before the certificate was judged. */
const handlers: Bun.SocketHandler<TlsData> = {
  open(socket) {
    if (socket.data instanceof TlsHandshake) socket.data.opened(socket);
  },
  handshake(socket, ok, error) {
    if (socket.data instanceof TlsHandshake) socket.data.shaken(socket, ok, error);
  },
  data({ data }, chunk) {
    if (data instanceof TcpEndpoint) data.received(chunk);
  },
  drain({ data }) {
    if (data instanceof TcpEndpoint) data.writable();
  },
  end({ data }) {
    if (data instanceof TcpEndpoint) data.ended();
    else data.fail("TLS error: the server closed the connection in the handshake");
  },
  close({ data }, error) {
    if (data instanceof TcpEndpoint) data.gone(error);
    else {
      const code = errorCode(error);
      data.fail(`TLS error: ${code === "" ? "the server closed the connection in the handshake" : osErrorText(code)}`);
    }
  },
  error({ data }, error) {
    if (data instanceof TcpEndpoint) data.broken(error);
    else {
      surfaceBug(error);
      data.fail(`TLS error: ${error.message}`);
    }
  },
};

/**
 * TLS inside another byte stream, which belongs to it from here on: it ends with a handshake that fails. A failure to
 * begin is returned.
 */
export function startTlsInside(stream: Endpoint, handshake: TlsHandshake): SystemError | undefined {
  const opened = Conduit.open(stream, () => {});
  if (opened instanceof SystemError) return opened;
  handshake.startInside(opened.conduit, opened.fd);
  return undefined;
}
