/** The client of the control plane: one stream of delta ADS, kept up for ever (spec/ztunnel.md §3.2). */
import type { GrpcError, GrpcStream } from "../grpc/mod.ts";
import { Backoff, STABLE_MS, terminationOf } from "./backoff.ts";
import { type AdsClock, SYSTEM_CLOCK } from "./clock.ts";
import { type DeltaRequest, DeltaRequestWriter, encodeDeltaRequest } from "./delta_request.ts";
import { Pace } from "./pace.ts";
import { Push, type PushContext, type PushOutcome, type TakenOutcome } from "./push.ts";
import type { AdsOptions } from "./options.ts";
import type { ResourceType } from "./resource_type.ts";
import { duration, lastPart, shortName, shortText } from "./shortened.ts";
import { Slices } from "./slices.ts";
import { type AdsStatus, typeStatus } from "./status.ts";
import { Subscription } from "./subscription.ts";

const METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/** Largest response (spec/ztunnel.md §3.2), bytes. */
const MAX_RESPONSE = 200 << 20;
/**
 * istiod takes no request of more than 4 MiB (its ISTIO_GPRC_MAXRECVMSGSIZE), which the versions of 40 000 workloads are.
 * Those beyond are not told, so their resources come once more, and what is not among them is gone. Bytes; the rest of
 * 4 MiB is for the node.
 */
const VERSIONS_ROOM = 3_840 << 10;
/** Versions that are written in a step: a fraction of a millisecond. */
const VERSIONS_STEP = 256;
/**
 * How long a push may hold the event loop at a time, ms: what a connection waits meanwhile, mostly. A large push takes no
 * longer with it than with slices of 1 ms.
 */
const SLICE_MS = 0.3;
/** Types that nobody registered and that are told of each stream. */
const MAX_UNKNOWN_TOLD = 16;
/** Stands in the metrics for types that nobody registered. */
const UNKNOWN_TYPE = "unknown";

/** A stream while it lives. */
interface Stream {
  readonly grpc: GrpcStream;
  /** When the control plane took it, by response headers or a message, ms since the epoch; undefined: not yet. */
  accepted: number | undefined;
  /** The first requests have been sent; what else there is to say waits in `waiting` until then. */
  introduced: boolean;
  readonly waiting: DeltaRequest[];
  answered: boolean;
  /** Types that nobody registered, as far as they were told. */
  readonly unknown: Set<string>;
  /** Why we ended it ourselves. */
  ours: string | undefined;
}

/**
 * Keeps types of resources up to date. A push is taken in slices, with turns of the event loop between them; one push is
 * finished before the next is read. Whatever happens to the stream, what is in force stays: a response that was received
 * whole is still taken when its stream has ended; one that cannot be read ends the stream, and another begins after the
 * back-off.
 */
export class AdsClient {
  readonly #options: AdsOptions;
  readonly #clock: AdsClock;
  readonly #slices: Slices;
  readonly #subscriptions: ReadonlyMap<string, Subscription>;
  readonly #context: PushContext;
  readonly #backoff = new Backoff();
  #state: "new" | "running" | "closed" = "new";
  #stream: Stream | undefined;
  #retry: { readonly timer: unknown; readonly at: number } | undefined;
  #began = 0;
  #since: number | undefined;
  #lastError: string | undefined;
  #isSynced = false;
  readonly #synced = Promise.withResolvers<void>();

  constructor(options: AdsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    const sliceMs = options.sliceMs ?? SLICE_MS;
    this.#slices = new Slices(this.#clock, sliceMs);
    this.#subscriptions = new Map(
      options.types.map((type) => [type.typeUrl, new Subscription(type, options.node)]),
    );
    this.#context = {
      subscription: (typeUrl) => this.#subscriptions.get(typeUrl),
      pace: new Pace(sliceMs),
      elapsed: () => this.#clock.elapsed(),
      bug: (error) => this.#bug(error),
    };
  }

  /** Connects, and keeps connected until `close`. */
  start(): void {
    if (this.#state !== "new") return;
    this.#state = "running";
    this.#began = this.#clock.now();
    this.#options.metrics.connected = false;
    this.#checkSynced();
    this.#connect();
  }

  /**
   * Settles when one push of each expected type has been accepted, or taken whole by a type that stands in for what it
   * refuses. Never rejects.
   */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /**
   * Asks for one name of an on-demand type. Resolves when the answer to it is in force, be it that there is none; there is no
   * deadline. Whoever asked for the same name before is let go unanswered.
   * @throws Error where the type is none that is asked for on demand
   */
  demand(typeUrl: string, name: string): Promise<void> {
    const subscription = this.#named(typeUrl, ["on-demand"]);
    if (this.#state === "closed") return Promise.resolve();
    const { requests, answered } = subscription.demand(name);
    for (const request of requests) this.#say(request);
    return answered;
  }

  /**
   * Adds names to what is asked for of a type by names; no answer is waited for.
   * @throws Error where the type is none of those
   */
  subscribe(typeUrl: string, names: Iterable<string>): void {
    this.#say(this.#named(typeUrl, ["names"]).subscribe(names));
  }

  /**
   * Takes names back. What of them is in force stays so, and is no longer kept up to date.
   * @throws Error where the type is not asked for by names nor on demand
   */
  unsubscribe(typeUrl: string, names: Iterable<string>): void {
    this.#say(this.#named(typeUrl, ["names", "on-demand"]).unsubscribe(names));
  }

  #named(typeUrl: string, kinds: readonly ResourceType["subscription"][]): Subscription {
    const subscription = this.#subscriptions.get(typeUrl);
    if (subscription === undefined) throw new Error(`no type ${typeUrl} is registered`);
    if (!kinds.includes(subscription.type.subscription)) {
      throw new Error(`${typeUrl} is asked for as ${subscription.type.subscription}, not ${kinds.join(" or ")}`);
    }
    return subscription;
  }

  status(): AdsStatus {
    return {
      connected: this.#stream?.accepted !== undefined,
      since: this.#since,
      nextTry: this.#retry?.at,
      lastError: this.#lastError,
      synced: this.#isSynced,
      types: [...this.#subscriptions.values()].map(typeStatus),
    };
  }

  /**
   * Makes the try that is due later at once, because what the last one failed by may be mended: the roots are others now. The
   * back-off goes on as it was.
   */
  retryNow(): void {
    if (this.#retry === undefined) return;
    this.#clock.clearTimer(this.#retry.timer);
    this.#connect();
  }

  /** Ends the stream and lets go of all who wait for a name; what is in force stays. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    if (this.#retry !== undefined) this.#clock.clearTimer(this.#retry.timer);
    this.#retry = undefined;
    this.#slices.clear();
    for (const subscription of this.#subscriptions.values()) subscription.release();
    const stream = this.#stream;
    this.#stream = undefined;
    this.#options.metrics.connected = false;
    stream?.grpc.cancel();
  }

  #connect(): void {
    this.#retry = undefined;
    const grpc = this.#options.channel.stream(METHOD, {
      onOpen: () => this.#introduce(stream),
      onAccepted: () => this.#accepted(stream),
      onMessage: (message) => this.#received(stream, message),
      onEnd: (error) => this.#ended(stream, error),
    }, { maxMessage: MAX_RESPONSE });
    const stream: Stream = {
      grpc,
      accepted: undefined,
      introduced: false,
      waiting: [],
      answered: false,
      unknown: new Set(),
      ours: undefined,
    };
    this.#stream = stream;
  }

  /** A server that refuses us, for our token perhaps, was never connected with. */
  #accepted(stream: Stream): void {
    if (stream !== this.#stream || stream.accepted !== undefined) return;
    stream.accepted = this.#since = this.#clock.now();
    this.#options.metrics.connected = true;
    const known = [...this.#subscriptions.values()].reduce((sum, { size }) => sum + size, 0);
    this.#options.log.info("connected to the control plane", [["known_resources", known]]);
    this.#options.onConnected?.();
  }

  /** The first requests, in the order of the types. What an earlier stream has brought is taken before they are written. */
  #introduce(stream: Stream): void {
    if (stream !== this.#stream) return;
    let requests: { readonly subscription: Subscription; readonly request: DeltaRequest }[] | undefined;
    let writer: DeltaRequestWriter | undefined;
    this.#slices.run({
      step: () => {
        if (stream !== this.#stream) return true;
        requests ??= [...this.#subscriptions.values()].flatMap((subscription) => {
          const request = subscription.opened();
          return request === undefined ? [] : [{ subscription, request }];
        });
        const [first] = requests;
        if (first === undefined) {
          this.#introduced(stream);
          return true;
        }
        writer ??= new DeltaRequestWriter(first.request, roomFor(first.subscription.type));
        if (!writer.write(VERSIONS_STEP)) return false;
        const { bytes, unlisted } = writer.finish();
        first.subscription.written(unlisted);
        stream.grpc.send(bytes);
        writer = undefined;
        requests.shift();
        return false;
      },
      broken: (error) => this.#broken(stream, error),
    });
  }

  #introduced(stream: Stream): void {
    stream.introduced = true;
    for (const request of stream.waiting.splice(0)) stream.grpc.send(encodeDeltaRequest(request));
  }

  #say(request: DeltaRequest | undefined): void {
    const stream = this.#stream;
    if (request === undefined || stream === undefined) return;
    if (stream.introduced) stream.grpc.send(encodeDeltaRequest(request));
    else stream.waiting.push(request);
  }

  #received(stream: Stream, message: Uint8Array): void {
    if (stream !== this.#stream || stream.ours !== undefined) return;
    this.#accepted(stream);
    stream.grpc.pause();
    const push = new Push(message, this.#context);
    const began = this.#clock.elapsed();
    this.#slices.run({
      step: () => {
        const outcome = push.step();
        if (outcome !== undefined) this.#finished(stream, outcome, this.#clock.elapsed() - began);
        return outcome !== undefined;
      },
      // The next push does not come before this one is answered.
      awaited: () => stream.grpc.holds,
      broken: (error) => this.#broken(stream, error),
    });
  }

  #finished(stream: Stream, outcome: PushOutcome, ms: number): void {
    const { log, metrics } = this.#options;
    stream.answered = true;
    if (outcome.kind === "undecodable") {
      log.error("response of the control plane cannot be read", [["error", shortText(outcome.error)]]);
      this.#end(stream, outcome.error);
      return;
    }
    if (outcome.kind === "unknown") {
      const { typeUrl, nonce, resources } = outcome;
      metrics.type(UNKNOWN_TYPE).messages.value++;
      this.#tellUnknown(stream, shortName(typeUrl), resources);
      this.#answer(stream, { typeUrl, nonce });
      return;
    }
    this.#taken(outcome, ms);
    const { subscription, nonce, error } = outcome;
    this.#answer(stream, { typeUrl: subscription.type.typeUrl, nonce, error });
    if (stream === this.#stream) this.#say(subscription.takeBack());
    this.#checkSynced();
  }

  /** Once for each of them and stream. */
  #tellUnknown({ unknown }: Stream, type: string, resources: number): void {
    if (unknown.has(type) || unknown.size >= MAX_UNKNOWN_TOLD) return;
    unknown.add(type);
    this.#options.log.error("response of a type that nobody asked for", [["type", type], ["resources", resources]]);
  }

  #taken(outcome: TakenOutcome, ms: number): void {
    const { subscription, resources, removed, bytes, refused, closed, error } = outcome;
    const { log, metrics } = this.#options;
    const { typeUrl } = subscription.type;
    subscription.finished({ at: this.#clock.now(), error, closed });
    const series = metrics.type(typeUrl);
    series.messages.value++;
    series.bytes.value += bytes;
    if (error !== undefined) {
      series.refused.value += refused;
      log.warn("refused a part of a push, all else of it is in force", [
        ["type", lastPart(typeUrl)],
        ["refused", refused],
        ["resources", resources],
        ["error", error],
      ]);
      if (!this.#isSynced && subscription.type.expected && !subscription.accepted) {
        log.warn("not ready before a push of this type is taken whole", [["type", lastPart(typeUrl)]]);
      }
    }
    if (!log.enabled("debug")) return;
    log.debug("took a push", [
      ["type", lastPart(typeUrl)],
      ["resources", resources],
      ["removed", removed],
      ["bytes", bytes],
      ["took", { display: duration(ms) }],
    ]);
  }

  /** To a stream that has ended in the meantime nobody answers. */
  #answer(stream: Stream, request: DeltaRequest): void {
    if (stream !== this.#stream) return;
    stream.grpc.send(encodeDeltaRequest(request));
    stream.grpc.resume();
  }

  #checkSynced(): void {
    if (this.#isSynced) return;
    const subscriptions = [...this.#subscriptions.values()];
    if (!subscriptions.every(({ type, accepted }) => accepted || !type.expected)) return;
    this.#isSynced = true;
    this.#options.log.info("synced with the control plane", [
      ...subscriptions.map(({ type, size }) => [lastPart(type.typeUrl), size] as const),
      ["took", { display: duration(this.#clock.now() - this.#began) }],
    ]);
    this.#synced.resolve();
  }

  /** Ends a stream ourselves. */
  #end(stream: Stream, reason: string): void {
    if (stream !== this.#stream) return;
    stream.ours = reason;
    stream.grpc.cancel();
  }

  #ended(stream: Stream, error: GrpcError | undefined): void {
    if (stream !== this.#stream) return;
    const { channel, log, metrics } = this.#options;
    this.#stream = undefined;
    // Another connection each time: with the roots of then, and perhaps to another replica, which has more to say.
    channel.renew();
    for (const subscription of this.#subscriptions.values()) subscription.closed();
    const now = this.#clock.now();
    const { accepted, answered, ours } = stream;
    const stable = answered && accepted !== undefined && now - accepted >= STABLE_MS && ours === undefined;
    const wait = this.#backoff.after({ error, stable }, this.#clock.random());
    // A stream that was refused was not opened (spec/ztunnel.md §3.2).
    const failure = accepted === undefined ? "ConnectionError" : terminationOf(error);
    const reason = ours === undefined ? failure : "Error";
    const text = shortText(ours ?? error?.message ?? "the control plane ended the stream");
    metrics.terminated(reason);
    metrics.connected = false;
    if (accepted !== undefined) this.#since = now;
    this.#lastError = text;
    this.#retry = { timer: this.#clock.setTimer(wait, () => this.#connect()), at: now + wait };
    const fields = [
      ["reason", { display: reason }],
      ["error", text],
      ["next_try", `in ${duration(wait)}`],
    ] as const;
    if (accepted === undefined) log.warn("cannot connect to the control plane", fields);
    // istiod ends streams when they are old: nothing is wrong.
    else if (stable && reason !== "Error") log.info("disconnected from the control plane", fields);
    else log.warn("disconnected from the control plane", fields);
  }

  /** A bug in our own work on a stream: it begins anew. */
  #broken(stream: Stream, error: unknown): void {
    this.#bug(error);
    this.#end(stream, `internal error: ${error instanceof Error ? error.message : String(error)}`);
  }

  #bug(error: unknown): void {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    this.#options.log.error("internal error", [["error", message], ["stack", stack ?? ""]]);
  }
}

/** What is not listed comes again in whole, with wildcard; of the others nobody asks for so many. */
function roomFor(type: ResourceType): number {
  return type.subscription === "wildcard" ? VERSIONS_ROOM : Infinity;
}
