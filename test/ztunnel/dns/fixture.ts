/** A DNS proxy on loopback, a name server behind it, and clients. */
import {
  clusterSearchDomains,
  decodeMessage,
  encodeMessage,
  frame,
  FrameReader,
  type Message,
  type NameSettings,
  TYPE,
} from "../../../src/dns/mod.ts";
import type { MeshState, Workload } from "../../../src/mesh/mod.ts";
import type { SocketAddress } from "../../../src/net/address.ts";
import { DnsLog, DnsMetrics, Logger, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { DnsProxy, DnsReports, type DnsSettings } from "../../../src/ztunnel/dns/mod.ts";
import { MeshSource } from "../../../src/ztunnel/mesh_source.ts";
import { infoOf } from "../../mesh/fixtures.ts";
import { query } from "../../dns/records.ts";

/** Longest that a test waits for what should come. */
export const DEADLINE_MS = 20_000;

export function within<T>(what: string, promise: Promise<T>, ms: number = DEADLINE_MS): Promise<T> {
  const late = Promise.withResolvers<T>();
  const timer = setTimeout(() => late.reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** What a name server answers: nothing, one or many messages, or its own bytes. */
export type Answering = (
  asked: Message,
  protocol: "udp" | "tcp",
) => Message | readonly (Message | Uint8Array)[] | undefined;

/** How often ports that the system chose for one protocol may not be free for the other. */
const PORTS_TRIED = 10;

function isTaken(error: unknown): boolean {
  return (error as { code?: string }).code === "EADDRINUSE";
}

export class NameServer {
  readonly port: number;
  answering: Answering;
  /** `udp a name.` for each question. */
  readonly asked: string[] = [];
  readonly messages: Message[] = [];
  readonly #udp: Bun.udp.Socket<"buffer">;
  readonly #tcp: Bun.TCPSocketListener<FrameReader>;

  private constructor(
    udp: Bun.udp.Socket<"buffer">,
    tcp: Bun.TCPSocketListener<FrameReader>,
    answering: Answering,
  ) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.port = udp.port;
    this.answering = answering;
  }

  static async start(answering: Answering): Promise<NameServer> {
    for (let left = PORTS_TRIED;; left--) {
      try {
        return await NameServer.#open(answering);
      } catch (error) {
        if (left === 0 || !isTaken(error)) throw error;
      }
    }
  }

  static async #open(answering: Answering): Promise<NameServer> {
    let server: NameServer | undefined = undefined;
    const answers = (bytes: Uint8Array, protocol: "udp" | "tcp") => server?.answers(bytes, protocol) ?? [];
    const udp = await Bun.udpSocket({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, bytes, port, ip) {
          for (const answer of answers(bytes, "udp")) socket.send(answer, port, ip);
        },
      },
    });
    const listen = () =>
      Bun.listen<FrameReader>({
        hostname: "127.0.0.1",
        port: udp.port,
        socket: {
          open: (socket) => void (socket.data = new FrameReader(65_535)),
          data(socket, chunk) {
            socket.data.push(chunk);
            for (let bytes = socket.data.next(); bytes instanceof Uint8Array; bytes = socket.data.next()) {
              for (const answer of answers(bytes, "tcp")) socket.write(frame(answer));
            }
          },
        },
      });
    try {
      server = new NameServer(udp, listen(), answering);
      return server;
    } catch (error) {
      udp.close();
      throw error;
    }
  }

  answers(bytes: Uint8Array, protocol: "udp" | "tcp"): Uint8Array[] {
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) throw new Error(`the proxy sent ${decoded.error}`);
    const { message } = decoded;
    const [question] = message.questions;
    const type = Object.entries(TYPE).find(([, number]) => number === question?.type)?.[0] ?? `${question?.type}`;
    this.asked.push(`${protocol} ${type.toLowerCase()} ${question?.name}`);
    this.messages.push(message);
    const answer = this.answering(message, protocol);
    const list = answer === undefined
      ? []
      : Array.isArray(answer)
      ? answer as (Message | Uint8Array)[]
      : [answer as Message];
    return list.map((one) => one instanceof Uint8Array ? one : encodeMessage(one));
  }

  stop(): void {
    this.#udp.close();
    this.#tcp.stop(true);
  }
}

/** The answer to what was asked. */
export function answerTo(asked: Message, given: Partial<Message>): Message {
  const { id, questions, recursionDesired } = asked;
  return { ...query("."), id, questions, recursionDesired, response: true, recursionAvailable: true, ...given };
}

export const NAMES: NameSettings = {
  clusterDomain: "cluster.local",
  searchDomains: clusterSearchDomains("cluster.local"),
  preferredNamespace: undefined,
  ipv6: true,
};

export interface Proxy {
  readonly proxy: DnsProxy;
  readonly address: SocketAddress;
  readonly mesh: MeshSource;
  readonly lines: string[];
  readonly registry: MetricRegistry;
  /** `name{labels}` → value, of the families istio_dns_*. */
  counts(): Record<string, number>;
}

export interface ProxyOptions {
  readonly client: Workload;
  readonly mesh: MeshState;
  readonly upstream: Partial<DnsSettings["upstream"]>;
  readonly names?: Partial<NameSettings>;
  readonly namespace?: number;
  readonly mark?: number;
  readonly listen?: { readonly kind: "localhost"; readonly ipv6: boolean; readonly port: number };
}

function openProxy(context: ConstructorParameters<typeof DnsProxy>[0], settings: DnsSettings): DnsProxy {
  for (let left = PORTS_TRIED;; left--) {
    try {
      return new DnsProxy(context, settings);
    } catch (error) {
      if (left === 0 || !isTaken(error)) throw error;
    }
  }
}

export function startProxy({ client, mesh, upstream, names, namespace, mark, listen }: ProxyOptions): Proxy {
  const lines: string[] = [];
  const logger = new Logger({ write: (text: string) => void lines.push(text.trimEnd()), flush() {} });
  logger.configure({ directives: "info,dns=debug" });
  const registry = new MetricRegistry();
  const source = new MeshSource(mesh);
  const config = {
    dnsProxyAddress: listen ?? { kind: "address", ip: "127.0.0.1", port: 0 },
    inpodPortReuse: true,
  };
  const context = {
    info: infoOf(client),
    namespace,
    mark,
    dialOptions: {},
    plane: { mesh: source, config },
  } as unknown as ConstructorParameters<typeof DnsProxy>[0];
  const log = logger.scope("ztunnel::dns");
  const reports = new DnsReports(log);
  const settings: DnsSettings = {
    names: { ...NAMES, ...names },
    upstream: { nameservers: ["127.0.0.1"], timeoutMs: 2000, attempts: 1, observer: reports, ...upstream },
    metrics: new DnsMetrics(registry),
    accessLog: new DnsLog(logger),
    log,
    reports,
    random: () => 0,
  };
  const proxy = openProxy(context, settings);
  return {
    proxy,
    address: proxy.addresses[0] as SocketAddress,
    mesh: source,
    lines,
    registry,
    counts() {
      const counts: Record<string, number> = {};
      for (const family of registry.families) {
        for (const [labels, sample] of family.samples) {
          if ("value" in sample) counts[`${family.options.name}${labels.text}`] = sample.value;
          else counts[`${family.options.name}_count${labels.text}`] = sample.counts.reduce((sum, n) => sum + n, 0);
        }
      }
      return counts;
    },
  };
}

/** One datagram and what comes back, whatever it is. */
export async function exchangeUdp(to: SocketAddress, bytes: Uint8Array, ms: number = DEADLINE_MS): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const socket = await Bun.udpSocket({
    hostname: "127.0.0.1",
    connect: { hostname: to.ip, port: to.port },
    socket: { data: (_, answer) => resolve(answer) },
  });
  socket.send(bytes);
  try {
    return await within("an answer", promise, ms);
  } finally {
    socket.close();
  }
}

/** A TCP connection: messages and the end. */
export class Stream {
  readonly #reader = new FrameReader(65_535);
  readonly #messages: Uint8Array[] = [];
  #waiting: (() => void) | undefined;
  #socket: Bun.Socket<undefined> | undefined;
  readonly closed: Promise<void>;
  #close!: () => void;

  private constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#close = resolve;
  }

  static async open(to: SocketAddress): Promise<Stream> {
    const stream = new Stream();
    stream.#socket = await Bun.connect<undefined>({
      hostname: to.ip,
      port: to.port,
      allowHalfOpen: true,
      socket: {
        data(_, chunk) {
          stream.#reader.push(chunk);
          for (let one = stream.#reader.next(); one instanceof Uint8Array; one = stream.#reader.next()) {
            stream.#messages.push(one);
          }
          stream.#waiting?.();
        },
        end: () => stream.#close(),
        close: () => stream.#close(),
        error: () => stream.#close(),
      },
    });
    return stream;
  }

  send(bytes: Uint8Array): void {
    this.#socket?.write(bytes);
    this.#socket?.flush();
  }

  finish(): void {
    this.#socket?.shutdown();
  }

  async next(ms: number = DEADLINE_MS): Promise<Uint8Array> {
    while (this.#messages.length === 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = resolve;
      await within("an answer", promise, ms);
    }
    return this.#messages.shift() as Uint8Array;
  }

  close(): void {
    this.#socket?.terminate();
  }
}

export function parsed(bytes: Uint8Array): Message {
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) throw new Error(decoded.error);
  return decoded.message;
}

export async function ask(
  to: SocketAddress,
  message: Message,
  protocol: "udp" | "tcp" = "udp",
  ms: number = DEADLINE_MS,
): Promise<Message> {
  if (protocol === "udp") return parsed(await exchangeUdp(to, encodeMessage(message), ms));
  const stream = await Stream.open(to);
  stream.send(frame(encodeMessage(message)));
  try {
    return parsed(await stream.next(ms));
  } finally {
    stream.close();
  }
}

/** Addresses and names in answers, as texts. */
export function data(message: Message): string[] {
  return message.answers.map(({ type, data: [first] }) =>
    typeof first === "string"
      ? first
      : type === TYPE.A
      ? [...(first ?? [])].join(".")
      : (first ?? new Uint8Array()).toHex()
  );
}
