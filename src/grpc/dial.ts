import process from "node:process";
import { canonicalIp, type SocketAddress } from "../net/address.ts";
import { type ConnectionOwner, GrpcConnection } from "./connection.ts";
import { Handshake, type TlsTrust } from "./handshake.ts";
import { requireRoots, systemRoots } from "./roots.ts";
import { GrpcError, GrpcStatus } from "./status.ts";
import type { GrpcChannelOptions, GrpcClock, GrpcTarget } from "./types.ts";

/** For all addresses of the server together, ms (spec/ztunnel.md §3.1). */
const CONNECT_TIMEOUT_MS = 5_000;
/** Part of it that each address gets at least, ms. */
const LEAST_SHARE_MS = 500;
const LOOKUP_TIMEOUT_MS = 5_000;
/** More addresses of one name are not tried. */
const MAX_ADDRESSES = 16;

/** By the runtime's resolver: /etc/hosts, then name servers and search list of resolv.conf, both families. */
async function systemLookup(host: string): Promise<readonly string[]> {
  const answers = await Bun.dns.lookup(host, { socketType: "tcp" });
  return answers.map(({ address }) => address);
}

/** `istiod.istio-system.svc:15012`, `[fd00::1]:15012`. */
export function authorityOf({ host, port }: GrpcTarget): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** One connection in the making: roots, name, TCP, TLS, HTTP/2. */
export class Dial {
  readonly #options: GrpcChannelOptions;
  readonly #clock: GrpcClock;
  readonly #owner: ConnectionOwner;
  readonly #peer: string;
  #handshake: Handshake<GrpcConnection> | undefined = undefined;
  #connection: GrpcConnection | undefined = undefined;
  #abandoned = false;

  constructor(options: GrpcChannelOptions, clock: GrpcClock, owner: ConnectionOwner) {
    this.#options = options;
    this.#clock = clock;
    this.#owner = owner;
    this.#peer = authorityOf(options.target);
  }

  /** A connection on which calls can be made. Rejects with GrpcError of kind `connect`. */
  async run(): Promise<GrpcConnection> {
    const trust = await this.#trust();
    const addresses = await this.#addresses();
    const connection = await this.#connect(addresses, trust);
    await connection.ready;
    return connection;
  }

  /** Nobody waits any more; run() rejects soon. */
  abandon(): void {
    this.#abandoned = true;
    this.#handshake?.abandon();
    this.#connection?.close("no longer wanted");
  }

  async #trust(): Promise<TlsTrust> {
    const { roots, serverNames, tlsPolicy } = this.#options;
    let pem: string;
    try {
      const given = await roots();
      pem = given === undefined ? await systemRoots(process.env) : requireRoots(given, "trusted roots");
    } catch (error) {
      throw this.#failure(`no trusted roots to verify ${this.#peer} with: ${(error as Error).message}`);
    }
    return { roots: pem, serverNames, policy: tlsPolicy };
  }

  async #addresses(): Promise<readonly SocketAddress[]> {
    const { target: { host, port }, lookup = systemLookup } = this.#options;
    const literal = canonicalIp(host);
    if (literal !== undefined) return [{ ip: literal, port }];
    let answers: readonly string[];
    try {
      answers = await this.#inTime(lookup(host));
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      throw this.#failure(`cannot look up ${host}: ${LOOKUP_TEXTS[code ?? ""] ?? message}`);
    }
    const ips = new Set(answers.map(canonicalIp).filter((ip) => ip !== undefined));
    if (ips.size === 0) throw this.#failure(`cannot look up ${host}: the name has no addresses`);
    return [...ips].slice(0, MAX_ADDRESSES).map((ip) => ({ ip, port }));
  }

  async #connect(addresses: readonly SocketAddress[], trust: TlsTrust): Promise<GrpcConnection> {
    const texts: string[] = [];
    const end = this.#clock.now() + CONNECT_TIMEOUT_MS;
    for (const [i, address] of addresses.entries()) {
      if (this.#abandoned) break;
      const share = Math.max(LEAST_SHARE_MS, (end - this.#clock.now()) / (addresses.length - i));
      const handshake = new Handshake(
        address,
        trust,
        this.#clock,
        Math.round(share),
        (socket) => this.#connection = new GrpcConnection(socket, this.#peer, this.#clock, this.#owner),
      );
      this.#handshake = handshake;
      handshake.start();
      const outcome = await handshake.outcome;
      if (outcome.kind === "verified") return outcome.connection;
      if (outcome.kind === "refused") throw this.#failure(`TLS with ${this.#peer} failed: ${outcome.text}`);
      if (outcome.kind === "unreachable") texts.push(outcome.text);
    }
    if (this.#abandoned) throw this.#failure(`connecting to ${this.#peer} was given up`);
    throw this.#failure(`cannot connect to ${this.#peer}: ${texts.join("; ")}`);
  }

  /** What is awaited, if it comes in time. */
  #inTime<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no answer within ${LOOKUP_TIMEOUT_MS} ms`));
      const timer = this.#clock.setTimer(LOOKUP_TIMEOUT_MS, late);
      promise.then(resolve, reject).finally(() => this.#clock.clearTimer(timer));
    });
  }

  #failure(text: string): GrpcError {
    return new GrpcError("connect", GrpcStatus.unavailable, text);
  }
}

/** What the resolver's codes mean. */
const LOOKUP_TEXTS: Readonly<Record<string, string>> = {
  DNS_ENOTFOUND: "there is no such name (ENOTFOUND)",
  ENOTFOUND: "there is no such name (ENOTFOUND)",
  DNS_ENODATA: "the name has no addresses (ENODATA)",
  DNS_ETIMEOUT: "no name server answered (ETIMEOUT)",
  DNS_ECONNREFUSED: "no name server answered (ECONNREFUSED)",
  DNS_ESERVFAIL: "the name server failed (ESERVFAIL)",
};
