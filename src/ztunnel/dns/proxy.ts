/** The DNS proxy of one workload: its servers, its cache, its questions under way (spec/ztunnel.md §9). */
import {
  type AddressFamily,
  CLASS_IN,
  isDomainName,
  type Message,
  OPCODE_QUERY,
  type Query,
  RCODE,
  rcodeName,
  TYPE,
} from "../../dns/mod.ts";
import { closeFd, listenTcp, loopbackHasIpv6 } from "../../linux/mod.ts";
import { formatAddress, ipFromBytes, type SocketAddress } from "../../net/address.ts";
import type { DnsProtocol } from "../../telemetry/mod.ts";
import type { WorkloadContext } from "../workload_context.ts";
import { Forwarder } from "./forwarder.ts";
import { InTurn } from "./in_turn.ts";
import { Responder } from "./responder.ts";
import type { DnsSettings } from "./settings.ts";
import { TcpServer } from "./tcp_server.ts";
import { PodTransport } from "./transport.ts";
import { type Serve, UdpServer } from "./udp_server.ts";

/** Accept queue (spec/ztunnel.md §2.5). */
const BACKLOG = 128;
/** Questions of one pod that are being answered at a time; those beyond are not heard. */
const MAX_RUNNING = 1024;

/** What became of a name: its first address, or why there is none. */
export type ResolvedName = { readonly ip: string } | { readonly error: string };

/** The part of a workload's context that the proxy needs. */
export type DnsContext = Pick<WorkloadContext, "info" | "namespace" | "mark" | "dialOptions"> & {
  readonly plane: Pick<WorkloadContext["plane"], "mesh" | "config">;
};

/** Port and addresses are those of `config.dnsProxyAddress`, in the workload's namespace. */
export class DnsProxy {
  readonly #context: DnsContext;
  readonly #responder: Responder;
  readonly #forwarder: Forwarder;
  readonly #dropped: (queries: number) => void;
  /** Questions whose pod has become known. */
  readonly #told = new InTurn();
  readonly #servers: (UdpServer | TcpServer)[] = [];
  /** Where it listens: one pair of servers for each. */
  readonly addresses: readonly SocketAddress[];
  #running = 0;
  #state: "open" | "draining" | "closed" = "open";
  #emptied: (() => void) | undefined = undefined;

  /** Opens the servers. Throws SystemError naming the call; nothing stays open then. */
  constructor(context: DnsContext, settings: DnsSettings) {
    const { plane, info } = context;
    this.#context = context;
    this.#dropped = (queries) => void (settings.metrics.dropped.value += queries);
    this.#forwarder = new Forwarder(settings.upstream, new PodTransport(context));
    this.#responder = new Responder(settings, info, plane.mesh, (found) => {
      const known = plane.mesh.current.localWorkload(info);
      if (known !== undefined) {
        found(known);
        return;
      }
      plane.mesh.localWorkload(info, (record) => {
        if (this.#state !== "closed") this.#told.call(() => found(record));
      });
    }, this.#forwarder);
    try {
      this.addresses = this.#listen(settings);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /**
   * The first address of a name, as the workload would find it: for SOCKS5 (spec/ztunnel.md §5.3).
   * @param name with or without its final dot; `done` is called once, unless the pod goes meanwhile
   */
  resolve(name: string, family: AddressFamily, done: (result: ResolvedName) => void): void {
    const full = name.endsWith(".") ? name : `${name}.`;
    // Escapes are ours: in names of others a backslash is a mistake, as is what cannot be printed.
    if (!/^[!-[\]-~]+$/.test(full) || !isDomainName(full)) {
      done({ error: `dns: not a domain name: ${JSON.stringify(name)}` });
      return;
    }
    if (this.#state !== "open" || this.#running >= MAX_RUNNING) {
      done({ error: "dns: too many questions at a time" });
      return;
    }
    const type = family === "IPv4" ? TYPE.A : TYPE.AAAA;
    this.#running++;
    this.#responder.resolve(queryFor(full, type), "udp", (answer, failure) => {
      this.#finished();
      done(failure === undefined ? firstAddress(answer, type) : { error: failure });
    });
  }

  /** What a drain waits for: clients that have not ended, and questions without an answer. */
  get open(): number {
    return this.#servers.reduce((sum, server) => sum + server.open, this.#running);
  }

  /** Hears no new questions; resolves when those under way are answered. */
  async drain(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "draining";
      await Promise.all(this.#servers.map((server) => server.drain()));
    }
    if (this.#running > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
    this.stop();
  }

  /** Ends everything now; nobody is answered any more. */
  stop(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const server of this.#servers) server.close();
    this.#forwarder.close();
    this.#told.close();
    this.#emptied?.();
  }

  /** TCP, then UDP, on every address (spec/ztunnel.md §2.4). */
  #listen({ log }: DnsSettings): SocketAddress[] {
    const { namespace, mark, plane, info } = this.#context;
    const { dnsProxyAddress, inpodPortReuse } = plane.config;
    const inPod = namespace !== undefined;
    const reusePort = inPod && inpodPortReuse;
    const socket = { ...(inPod ? { namespace } : {}), ...(inPod && mark !== undefined ? { mark } : {}) };
    const listening: SocketAddress[] = [];
    for (const wanted of addressesOf(dnsProxyAddress, namespace)) {
      const { fd, address } = listenTcp({
        ...socket,
        address: wanted,
        backlog: BACKLOG,
        reusePort,
        reuseAddress: !reusePort,
        noDelay: true,
        v6Only: true,
      });
      try {
        this.#servers.push(new UdpServer({ ...socket, address, reusePort }, this.#serve("udp"), this.#dropped));
      } catch (error) {
        closeFd(fd);
        throw error;
      }
      this.#servers.push(new TcpServer(fd, this.#serve("tcp")));
      listening.push(address);
      log.info("starting local DNS server", [
        ["address", { display: formatAddress(address) }],
        ["component", "dns"],
      ], [{ name: "dns_proxy", fields: [["wl", `${info.namespace}/${info.name}`]] }]);
    }
    return listening;
  }

  #serve(protocol: DnsProtocol): Serve {
    return (message, reply) => {
      if (this.#running >= MAX_RUNNING) {
        this.#dropped(1);
        return false;
      }
      this.#running++;
      this.#responder.answer(message, protocol, (answer) => {
        reply(answer);
        this.#finished();
      });
      return true;
    };
  }

  #finished(): void {
    if (--this.#running === 0) this.#emptied?.();
  }
}

/** `localhost` is what the loopback of that namespace has (spec/ztunnel.md §1.5). */
function addressesOf(
  address: DnsContext["plane"]["config"]["dnsProxyAddress"],
  namespace: number | undefined,
): SocketAddress[] {
  const { port } = address;
  if (address.kind === "address") return [{ ip: address.ip, port }];
  const ipv4 = { ip: "127.0.0.1", port };
  return loopbackHasIpv6(namespace) ? [ipv4, { ip: "::1", port }] : [ipv4];
}

function queryFor(name: string, type: number): Query {
  return {
    id: 0,
    response: false,
    opcode: OPCODE_QUERY,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: RCODE.NOERROR,
    question: { name, type, class: CLASS_IN },
    edns: undefined,
  };
}

function firstAddress({ rcode, answers }: Message, type: number): ResolvedName {
  if (rcode !== RCODE.NOERROR) return { error: `dns lookup: ${rcodeName(rcode)}` };
  for (const record of answers) {
    const [bytes] = record.data;
    if (record.type === type && bytes instanceof Uint8Array && (bytes.length === 4 || bytes.length === 16)) {
      return { ip: ipFromBytes(bytes) };
    }
  }
  return { error: "dns response had no valid IP addresses" };
}
