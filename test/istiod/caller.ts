/** Clients of the istiod for tests that are none of ours: caller.mjs, spoken to with the messages of proto/gen. */
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from "../../proto/gen/ca_pb.ts";
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from "../../proto/gen/discovery_pb.ts";
import { findProgram, LabProcess } from "../lab/topology/mod.ts";

const DISCOVERY = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
const DEADLINE_MS = 20_000;

export interface Ended {
  readonly code: number;
  readonly details: string;
}

/** A call failed with a gRPC status. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly code: number;

  constructor({ code, details }: Ended) {
    super(`${code} ${details}`);
    this.code = code;
  }
}

interface Line {
  readonly call?: number;
  readonly stream?: number;
  readonly message?: string;
  readonly code?: number;
  readonly details?: string;
}

export interface ChannelOptions {
  readonly port: number;
  readonly roots: string;
  readonly serverName?: string;
  /** Largest message, bytes. */
  readonly limit?: number;
}

type RequestFields = Exclude<MessageInitShape<typeof DeltaDiscoveryRequestSchema>, { $typeName: string }>;
type Metadata = Readonly<Record<string, string>>;
const METADATA: Metadata = { authorization: "Bearer good", clusterid: "Kubernetes" };

export class Caller {
  readonly #process: LabProcess;
  readonly #takers = new Map<string, (line: Line) => void>();
  #made = 0;

  constructor() {
    const node = findProgram("node");
    if (node === undefined) throw new Error("there is no node");
    this.#process = new LabProcess([node, join(import.meta.dirname, "caller.mjs")], {
      talk: true,
      keepLines: false,
      environment: { AMBIENT_PEERS: join(import.meta.dirname, "..", "..", ".tools", "peers") },
      onLine: (text) => {
        if (!text.startsWith("{")) return;
        const line = JSON.parse(text) as Line;
        this.#takers.get(line.call === undefined ? `stream ${line.stream}` : `call ${line.call}`)?.(line);
      },
    });
  }

  channel({ port, roots, serverName = "istiod.istio-system.svc", limit }: ChannelOptions): Channel {
    const open = ++this.#made;
    this.say({ open, target: `127.0.0.1:${port}`, roots, serverName, ...(limit === undefined ? {} : { limit }) });
    return new Channel(this, open);
  }

  next(): number {
    return ++this.#made;
  }

  take(key: string, taker: (line: Line) => void): void {
    this.#takers.set(key, taker);
  }

  say(order: object): void {
    this.#process.say(JSON.stringify(order));
  }

  async stop(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }
}

export class Channel {
  readonly #caller: Caller;
  readonly #channel: number;

  constructor(caller: Caller, channel: number) {
    this.#caller = caller;
    this.#channel = channel;
  }

  close(): void {
    this.#caller.say({ close: this.#channel });
  }

  discover(metadata: Metadata = METADATA): Conversation {
    const stream = this.#caller.next();
    const conversation = new Conversation(this.#caller, stream);
    this.#caller.say({ stream, channel: this.#channel, path: DISCOVERY, metadata });
    return conversation;
  }

  /** The chain. @throws CallError */
  async certify(
    request: MessageInitShape<typeof IstioCertificateRequestSchema>,
    metadata: Metadata = METADATA,
  ): Promise<readonly string[]> {
    const call = this.#caller.next();
    const message = base64(toBinary(IstioCertificateRequestSchema, create(IstioCertificateRequestSchema, request)));
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#caller.take(`call ${call}`, ({ message, code, details }) => {
      if (message !== undefined) resolve(Buffer.from(message, "base64"));
      else reject(new CallError({ code: code ?? -1, details: details ?? "" }));
    });
    this.#caller.say({ call, channel: this.#channel, path: CERTIFICATE, metadata, message });
    return fromBinary(IstioCertificateResponseSchema, await promise).certChain;
  }
}

export interface Received {
  readonly response: DeltaDiscoveryResponse;
  readonly bytes: Uint8Array;
}

/** One stream of discovery, message by message. */
export class Conversation {
  readonly #caller: Caller;
  readonly #stream: number;
  readonly #received: Received[] = [];
  #wanted: (() => void) | undefined;
  readonly ended: Promise<Ended>;
  #isEnded = false;

  constructor(caller: Caller, stream: number) {
    this.#caller = caller;
    this.#stream = stream;
    const { promise, resolve } = Promise.withResolvers<Ended>();
    this.ended = promise;
    caller.take(`stream ${stream}`, ({ message, code, details }) => {
      if (message === undefined) {
        this.#isEnded = true;
        resolve({ code: code ?? -1, details: details ?? "" });
      } else {
        const bytes = new Uint8Array(Buffer.from(message, "base64"));
        this.#received.push({ response: fromBinary(DeltaDiscoveryResponseSchema, bytes), bytes });
      }
      this.#wanted?.();
    });
  }

  send(request: RequestFields): void {
    const message = toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request));
    this.#caller.say({ send: this.#stream, message: base64(message) });
  }

  /** A type's first request, with the node of a ztunnel. */
  begin(typeUrl: string, request: RequestFields = {}, nodeName = "node-x"): void {
    this.send({ node: ztunnelNode(nodeName), typeUrl, ...request });
  }

  ack({ response: { typeUrl, nonce } }: Received, error?: string): void {
    const detail = error === undefined ? {} : { errorDetail: { message: error } };
    this.send({ typeUrl, responseNonce: nonce, ...detail });
  }

  /** How many messages have come that nobody has taken. */
  get waiting(): number {
    return this.#received.length;
  }

  /** The next message. @throws Error if the stream ends, or none comes */
  async next(): Promise<Received> {
    const end = performance.now() + DEADLINE_MS;
    while (true) {
      const first = this.#received.shift();
      if (first !== undefined) return first;
      if (this.#isEnded) throw new Error(`the stream has ended: ${JSON.stringify(await this.ended)}`);
      const rest = end - performance.now();
      if (rest <= 0) throw new Error("no message came");
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, rest);
      this.#wanted = resolve;
      await promise;
      clearTimeout(timer);
    }
  }

  /** The next message, acknowledged. */
  async take(): Promise<Received> {
    const received = await this.next();
    this.ack(received);
    return received;
  }

  end(): void {
    this.#caller.say({ end: this.#stream });
  }

  cancel(): void {
    this.#caller.say({ cancel: this.#stream });
  }
}

export function ztunnelNode(nodeName = "node-x", ip = "10.1.2.3") {
  return {
    id: `ztunnel~${ip}~ztunnel-x.istio-system~istio-system.svc.cluster.local`,
    metadata: { NAME: "ztunnel-x", NAMESPACE: "istio-system", INSTANCE_IPS: ip, NODE_NAME: nodeName },
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
