/** A channel without a network: what the client sends is read by generated code, and what comes is up to the test. */
import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from "../../../proto/gen/discovery_pb.ts";
import { GrpcError, GrpcStatus, type GrpcStream, type GrpcStreamHandler } from "../../../src/grpc/mod.ts";

/** A request in JSON, as far as tests look at it. */
export interface SentRequest {
  readonly node?: { readonly id: string };
  readonly typeUrl: string;
  readonly resourceNamesSubscribe?: readonly string[];
  readonly resourceNamesUnsubscribe?: readonly string[];
  readonly initialResourceVersions?: Readonly<Record<string, string>>;
  readonly responseNonce?: string;
  readonly errorDetail?: { readonly code?: number; readonly message?: string };
}

/** One stream. Messages wait while the client has paused it, as in a real one. */
export class FakeStream implements GrpcStream {
  /** Requests that were not looked at yet. */
  readonly raw: Uint8Array[] = [];
  readonly #handler: GrpcStreamHandler;
  readonly #messages: Uint8Array[] = [];
  #paused = false;
  #over = false;
  cancelled = false;

  constructor(handler: GrpcStreamHandler) {
    this.#handler = handler;
  }

  send(message: Uint8Array): void {
    if (!this.#over) this.raw.push(message);
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    this.#deliver();
  }
  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    queueMicrotask(() => this.end(new GrpcError("protocol", GrpcStatus.cancelled, "the call was cancelled")));
  }

  get holds(): boolean {
    return this.#messages.length > 0;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Requests are written; the server takes the stream. */
  open(): void {
    this.reach();
    this.#handler.onAccepted?.();
  }

  /** Requests are written; the server has not said anything yet. */
  reach(): void {
    this.#handler.onOpen?.();
  }

  /** A response arrives. */
  push(message: Uint8Array): void {
    this.#messages.push(message);
    this.#deliver();
  }

  end(error?: GrpcError): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onEnd(error);
  }

  /** What was sent since the last look. */
  sent(): SentRequest[] {
    return this.raw.splice(0).map((bytes) =>
      toJson(DeltaDiscoveryRequestSchema, fromBinary(DeltaDiscoveryRequestSchema, bytes)) as unknown as SentRequest
    );
  }

  #deliver(): void {
    while (!this.#paused && !this.#over && !this.cancelled) {
      const message = this.#messages.shift();
      if (message === undefined) return;
      this.#handler.onMessage(message);
    }
  }
}

export class FakeChannel {
  readonly streams: FakeStream[] = [];
  readonly paths: string[] = [];
  /** How often a new connection was asked for. */
  renewals = 0;

  renew(): void {
    this.renewals++;
  }

  stream(path: string, handler: GrpcStreamHandler): FakeStream {
    const stream = new FakeStream(handler);
    this.paths.push(path);
    this.streams.push(stream);
    return stream;
  }

  /** The present stream. */
  get last(): FakeStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error("no stream has been asked for");
    return stream;
  }
}

export interface FakeResource {
  readonly name: string;
  readonly version?: string;
  readonly value?: Uint8Array;
  /** Of the Any; that of the response when left out. */
  readonly typeUrl?: string;
  readonly aliases?: string[];
}

/** A response on the wire. */
export function responseBytes(
  typeUrl: string,
  nonce: string,
  resources: readonly FakeResource[] = [],
  removed: readonly string[] = [],
): Uint8Array {
  return toBinary(
    DeltaDiscoveryResponseSchema,
    create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce,
      removedResources: [...removed],
      resources: resources.map(({ name, version = `v-${name}`, value, typeUrl: own = typeUrl, aliases = [] }) => ({
        name,
        version,
        aliases,
        resource: { typeUrl: own, value: value ?? new TextEncoder().encode(name) },
      })),
    }),
  );
}
