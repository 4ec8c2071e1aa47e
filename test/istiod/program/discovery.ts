/**
 * Delta ADS as istiod does it (pilot's rules for requests and answers; spec/waypoint.md §1.3): what a request is taken
 * for, what it is answered with, and what a change of the mesh sends to whom.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { isIP } from "node:net";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from "../../../proto/gen/discovery_pb.ts";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  type Break,
  type DiscoveryRequest,
  type DiscoverySettings,
  type PushSent,
  WORKLOAD_TYPE,
} from "../protocol.ts";
import { type Call, Status } from "./call.ts";
import { now, saw } from "./output.ts";
import { type Content, content, newNonce, responseBytes } from "./response.ts";
import type { Store, Stored } from "./store.ts";
import { fieldHead } from "./wire.ts";

const ENVOY = "type.googleapis.com/envoy.";
const CLUSTER_TYPE = `${ENVOY}config.cluster.v3.Cluster`;
const ENDPOINT_TYPE = `${ENVOY}config.endpoint.v3.ClusterLoadAssignment`;
const LISTENER_TYPE = `${ENVOY}config.listener.v3.Listener`;
/** The order in which istiod pushes the types of one change; all others after them. */
const PUSH_ORDER = [
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  LISTENER_TYPE,
  `${ENVOY}config.route.v3.RouteConfiguration`,
  `${ENVOY}extensions.transport_sockets.tls.v3.Secret`,
  ADDRESS_TYPE,
  WORKLOAD_TYPE,
  AUTHORIZATION_TYPE,
];
/** Asked for by name only. */
const NAMED_TYPES = new Set([
  ENDPOINT_TYPE,
  `${ENVOY}config.route.v3.RouteConfiguration`,
  `${ENVOY}config.core.v3.TypedExtensionConfig`,
  `${ENVOY}extensions.transport_sockets.tls.v3.Secret`,
]);
const NODE_TYPES = new Set(["sidecar", "router", "waypoint", "ztunnel", "agentgateway"]);
/** Names that are told of a request or response. */
const TOLD_VERSIONS = 1000;
const TOLD_NAMES = 10;

const isAddressType = (typeUrl: string) => typeUrl === ADDRESS_TYPE || typeUrl === WORKLOAD_TYPE;

/** Names that changed, by type; removed ones were there before. */
export type Change = ReadonlyMap<string, { readonly put: ReadonlySet<string>; readonly removed: ReadonlySet<string> }>;

interface Watched {
  readonly typeUrl: string;
  names: Set<string>;
  readonly wildcard: boolean;
  nonceSent: string;
}

/** All streams of discovery, and the mesh they are told of. */
export class Discovery {
  readonly #store: Store;
  readonly #settings: () => DiscoverySettings;
  readonly #streams = new Map<number, DiscoveryStream>();
  /** Of system_version_info; istiod counts pushes. */
  #pushes: number;

  constructor(store: Store, settings: () => DiscoverySettings, pushes: number) {
    this.#store = store;
    this.#settings = settings;
    this.#pushes = pushes;
  }

  get pushes(): number {
    return this.#pushes;
  }

  get streams(): readonly DiscoveryStream[] {
    return [...this.#streams.values()];
  }

  get version(): string {
    return `${new Date().toISOString().slice(0, 19)}Z/${this.#pushes}`;
  }

  serve(call: Call): void {
    const { refuse, httpStatus } = this.#settings();
    if (httpStatus !== undefined) return call.endHttp(httpStatus);
    if (refuse !== undefined) return call.end(refuse.code, refuse.message);
    const stream = new DiscoveryStream(call, this.#store, this.#settings, () => this.version);
    this.#streams.set(call.id, stream);
    call.onClose(() => this.#streams.delete(call.id));
  }

  /** Tells everybody concerned. `undefined`: all of everything. */
  push(change: Change | undefined): PushSent {
    this.#pushes++;
    const version = this.version;
    const sent: PushSent["sent"][number][] = [];
    for (const stream of this.#streams.values()) {
      for (const typeUrl of stream.typeUrls) {
        const nonce = stream.push(typeUrl, change, version);
        if (nonce !== undefined) sent.push({ stream: stream.call.id, typeUrl, nonce });
      }
    }
    return { version, sent };
  }

  /** A message of that size for every stream of the type. */
  pushLarge(typeUrl: string, bytes: number): PushSent {
    this.#pushes++;
    const version = this.version;
    const sent = this.streams.filter((stream) => stream.typeUrls.includes(typeUrl)).map((stream) => ({
      stream: stream.call.id,
      typeUrl,
      nonce: stream.pushLarge(typeUrl, bytes),
    }));
    return { version, sent };
  }
}

export class DiscoveryStream {
  readonly call: Call;
  readonly #store: Store;
  readonly #settings: () => DiscoverySettings;
  readonly #version: () => string;
  readonly #watched = new Map<string, Watched>();
  /** By nonce, milliseconds of the epoch. */
  readonly #sentAt = new Map<string, number>();
  #node = "";
  #nodeName = "";
  #sending = Promise.resolve();

  constructor(call: Call, store: Store, settings: () => DiscoverySettings, version: () => string) {
    this.call = call;
    this.#store = store;
    this.#settings = settings;
    this.#version = version;
    const limit = () => settings().maxRequestBytes;
    call.receive(limit, (message) => this.#take(message), () => call.end(Status.ok, ""));
  }

  get node(): string {
    return this.#node;
  }

  /** In the order of pushes. */
  get typeUrls(): readonly string[] {
    const place = (typeUrl: string) => (PUSH_ORDER.indexOf(typeUrl) + PUSH_ORDER.length + 1) % (PUSH_ORDER.length + 1);
    return [...this.#watched.keys()].sort((a, b) => place(a) - place(b));
  }

  #take(message: Buffer): void {
    let request: DeltaDiscoveryRequest;
    try {
      request = fromBinary(DeltaDiscoveryRequestSchema, message);
    } catch (error) {
      return this.call.end(Status.internal, `grpc: error unmarshalling request: ${String(error)}`);
    }
    const invalid = this.#node === "" ? this.#meet(request) : undefined;
    const watched = this.#watched.get(request.typeUrl);
    const meaning = invalid === undefined ? meaningOf(request, watched) : "invalid";
    this.#tell(request, message.length, meaning);
    if (invalid !== undefined) return this.call.end(Status.invalidArgument, invalid);
    if (meaning === "nack" || meaning === "stale") return;
    if (watched === undefined) {
      const { names, wildcard } = subscriptionOf(request);
      // Names of wildcard clients are not kept for addresses, for their number.
      const kept = wildcard && isAddressType(request.typeUrl) ? new Set<string>() : names;
      this.#watched.set(request.typeUrl, { typeUrl: request.typeUrl, names: kept, wildcard, nonceSent: "" });
    } else if (!changeSubscription(watched.names, request)) {
      return;
    }
    if (this.#settings().silent) return;
    this.#answer(request);
    // Envoy waits for endpoints after clusters, asked for or not.
    if (request.typeUrl === CLUSTER_TYPE && this.#watched.has(ENDPOINT_TYPE)) {
      this.push(ENDPOINT_TYPE, undefined, this.#version());
    }
  }

  /** The first request says who it is. @returns why that will not do */
  #meet({ node }: DeltaDiscoveryRequest): string | undefined {
    if (node === undefined || node.id === "") return "missing node information";
    const [type = "", ip = "", id, domain, ...more] = node.id.split("~");
    if (id === undefined || domain === undefined || more.length > 0) {
      return `missing parts in the service node "${node.id}"`;
    }
    if (!NODE_TYPES.has(type)) {
      return `invalid node type (valid types: ${[...NODE_TYPES]}) in the service node "${node.id}"`;
    }
    const metadata = node.metadata ?? {};
    const ips = typeof metadata["INSTANCE_IPS"] === "string" ? metadata["INSTANCE_IPS"].split(",") : [ip];
    if (!ips.some((text) => isIP(text) !== 0)) return `no valid IP address in the service node "${node.id}"`;
    this.#node = node.id;
    this.#nodeName = typeof metadata["NODE_NAME"] === "string" ? metadata["NODE_NAME"] : "";
    return undefined;
  }

  #answer(request: DeltaDiscoveryRequest): void {
    const watched = this.#watched.get(request.typeUrl);
    if (watched === undefined) return;
    const { names: subscribed } = subscriptionOf(request);
    const known = request.initialResourceVersions;
    this.#send(watched, this.#contentFor(watched, subscribed, known), this.#version());
  }

  #contentFor(watched: Watched, subscribed: Set<string>, known: Readonly<Record<string, string>>): Content {
    const { typeUrl, wildcard } = watched;
    const all = this.#store.all(typeUrl);
    if (isAddressType(typeUrl)) {
      if (!wildcard) return this.#onDemand(watched, subscribed, subscribed, known);
      const removed = [...subscribed].filter((name) => !all.has(name));
      const unknown = [...all.values()].filter(({ name, version }) => version === "" || known[name] !== version);
      return content(typeUrl, unknown, removed);
    }
    const chosen = NAMED_TYPES.has(typeUrl)
      ? [...subscribed].map((name) => all.get(name)).filter((found) => found !== undefined)
      : [...all.values()];
    const have = new Set(chosen.map(({ name }) => name));
    if (!NAMED_TYPES.has(typeUrl)) watched.names = have;
    return content(typeUrl, chosen, [...subscribed].filter((name) => !have.has(name)));
  }

  /**
   * The answer for some keys of a client that asks for addresses one by one; workloads of its own node come along
   * unasked.
   * @param touched keys whose workloads are looked at for services that are subscribed to
   */
  #onDemand(
    watched: Watched,
    keys: ReadonlySet<string>,
    touched: ReadonlySet<string>,
    known: Readonly<Record<string, string>>,
  ): Content {
    const { index } = this.#store;
    const asked = new Set(keys);
    for (const key of touched) {
      for (const { name } of this.#store.lookup(key)) {
        if (index.servicesOf(name).some((service) => watched.names.has(service))) asked.add(name);
      }
    }
    if (this.#nodeName !== "") {
      for (const name of index.workloadsOn(this.#nodeName)) if (!watched.names.has(name)) asked.add(name);
    }
    const found = new Map<string, Stored>();
    const removed = new Set<string>();
    for (const key of asked) {
      const answers = this.#store.lookup(key);
      if (answers.length === 0) removed.add(key);
      for (const stored of answers) found.set(stored.name, stored);
    }
    for (const name of found.keys()) {
      watched.names.add(name);
      for (const alias of index.aliases(name)) removed.delete(alias);
    }
    const unknown = [...found.values()].filter(({ name, version }) => version === "" || known[name] !== version);
    return content(watched.typeUrl, unknown, [...removed], (name) => index.aliases(name));
  }

  /** Sends what a change means for one type. @returns the nonce, undefined where there is nothing to say */
  push(typeUrl: string, change: Change | undefined, version: string): string | undefined {
    const watched = this.#watched.get(typeUrl);
    if (watched === undefined) return undefined;
    if (change === undefined) return this.#send(watched, this.#contentFor(watched, watched.names, {}), version);
    const mine = change.get(typeUrl === WORKLOAD_TYPE ? ADDRESS_TYPE : typeUrl);
    if (mine === undefined || mine.put.size + mine.removed.size === 0) return undefined;
    if (isAddressType(typeUrl) && !watched.wildcard) {
      const touched = new Set([...mine.put, ...mine.removed]);
      const keys = new Set([...touched].filter((name) => watched.names.has(name)));
      const found = this.#onDemand(watched, keys, touched, {});
      return found.names.length + found.removed.length === 0 ? undefined : this.#send(watched, found, version);
    }
    const all = this.#store.all(typeUrl);
    const isMine = (name: string) => !NAMED_TYPES.has(typeUrl) || watched.names.has(name);
    const put = [...mine.put].filter(isMine).map((name) => all.get(name)).filter((found) => found !== undefined);
    const removed = [...mine.removed].filter(isMine);
    if (put.length + removed.length === 0) return undefined;
    if (!isAddressType(typeUrl)) {
      for (const { name } of put) watched.names.add(name);
      for (const name of removed) watched.names.delete(name);
    }
    return this.#send(watched, content(typeUrl, put, removed), version);
  }

  pushLarge(typeUrl: string, bytes: number): string {
    const version = this.#version();
    const nonce = newNonce(version);
    const head = toBinary(DeltaDiscoveryResponseSchema, create(DeltaDiscoveryResponseSchema, { typeUrl, nonce }));
    // The rest of the message is the text of system_version_info, one long field.
    const text = bytes - head.length - fieldHead(1, bytes).length;
    const start = Buffer.concat([head, fieldHead(1, text)]);
    const size = start.length + text;
    this.#note(typeUrl, nonce, { entries: [], names: [], removed: [] }, size);
    this.call.sendLarge(size, (at, length) => {
      const piece = Buffer.alloc(length, "v");
      if (at < start.length) start.copy(piece, 0, at, Math.min(start.length, at + length));
      return piece;
    });
    return nonce;
  }

  /** A first response of which half is sent. */
  sendHalf(): void {
    const all = [...this.#store.all(ADDRESS_TYPE).values()];
    const version = this.#version();
    this.call.sendHalf(responseBytes(ADDRESS_TYPE, version, newNonce(version), content(ADDRESS_TYPE, all, [])));
  }

  #send(watched: Watched, what: Content, version: string): string {
    const { typeUrl } = watched;
    const nonce = newNonce(version);
    const message = responseBytes(typeUrl, version, nonce, what);
    const { delayMs, pieceBytes } = this.#settings();
    const deliver = () => {
      if (!this.call.isOpen) return;
      this.#note(typeUrl, nonce, what, message.length);
      this.call.send(message, pieceBytes);
    };
    if (delayMs === 0 && this.#queued === 0) {
      deliver();
      return nonce;
    }
    this.#queued++;
    this.#sending = this.#sending.then(() => waited(delayMs)).then(() => {
      this.#queued--;
      deliver();
    });
    return nonce;
  }

  #queued = 0;

  #note(typeUrl: string, nonce: string, { names, removed }: Content, bytes: number): void {
    const watched = this.#watched.get(typeUrl);
    if (watched !== undefined) watched.nonceSent = nonce;
    this.#sentAt.set(nonce, now());
    const told = names.slice(0, TOLD_NAMES);
    const stream = this.call.id;
    saw({ kind: "response", stream, typeUrl, nonce, resources: names.length, names: told, removed, bytes });
  }

  #tell(request: DeltaDiscoveryRequest, bytes: number, meaning: DiscoveryRequest["meaning"]): void {
    const { node, initialResourceVersions: versions, errorDetail, responseNonce: nonce } = request;
    const at = this.#sentAt.get(nonce);
    this.#sentAt.delete(nonce);
    const known = Object.entries(versions);
    saw({
      kind: "request",
      stream: this.call.id,
      typeUrl: request.typeUrl,
      node: node === undefined ? undefined : { id: node.id, cluster: node.cluster, metadata: node.metadata ?? {} },
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      initialVersions: Object.fromEntries(known.slice(0, TOLD_VERSIONS)),
      initialCount: known.length,
      bytes,
      nonce,
      error: errorDetail === undefined ? undefined : { code: errorDetail.code, message: errorDetail.message },
      meaning,
      afterMs: at === undefined ? undefined : now() - at,
    });
  }
}

/** How a running stream is broken, as far as that is the stream's own business. */
export function breakStream(stream: DiscoveryStream, how: Break): void {
  if (how.how === "status") stream.call.end(how.code, how.message);
  else if (how.how === "reset stream") stream.call.reset(how.code);
  else if (how.how === "half a message") stream.sendHalf();
}

function meaningOf(request: DeltaDiscoveryRequest, watched: Watched | undefined): DiscoveryRequest["meaning"] {
  if (request.errorDetail !== undefined) return "nack";
  if (watched === undefined) return "first";
  if (request.responseNonce === "") return "subscription";
  return request.responseNonce === watched.nonceSent ? "ack" : "stale";
}

/** What a request alone asks for: names it knows count as asked for; no name at all, or "*", is everything. */
function subscriptionOf(request: DeltaDiscoveryRequest): { names: Set<string>; wildcard: boolean } {
  const names = new Set<string>();
  changeSubscription(names, request);
  const star = names.delete("*");
  return { names, wildcard: star || request.resourceNamesSubscribe.length === 0 };
}

/** @returns whether it changed something */
function changeSubscription(names: Set<string>, request: DeltaDiscoveryRequest): boolean {
  let changed = false;
  for (const name of [...request.resourceNamesSubscribe, ...Object.keys(request.initialResourceVersions)]) {
    changed ||= !names.has(name);
    names.add(name);
  }
  for (const name of request.resourceNamesUnsubscribe) changed = names.delete(name) || changed;
  return changed;
}

function waited(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
