/** An exchange with nothing around it: a client and upstreams that do what a test tells them. */
import type {
  ClientStream,
  RequestHead,
  RequestListener,
  Reset,
  ResponseHead,
  ServerStream,
} from "../../src/http/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { ClusterSet } from "../../src/waypoint/cluster/mod.ts";
import { type CompileOptions, Configuration } from "../../src/waypoint/configuration.ts";
import { Exchange } from "../../src/waypoint/exchange.ts";
import { WaypointPlane } from "../../src/waypoint/plane.ts";
import type {
  Chain,
  Cluster,
  ForwardAction,
  HttpChain,
  HttpOptions,
  RetryPolicy,
  Route,
  WaypointSnapshot,
} from "../../src/waypoint/snapshot/mod.ts";
import type { StreamInfo } from "../../src/waypoint/stream_info.ts";
import { Targets } from "../../src/waypoint/targets.ts";
import { registerDryRunMetrics, RequestMetrics } from "../../src/waypoint/telemetry/mod.ts";
import type { PoolStats, UpstreamListener, UpstreamPool, UpstreamPoolSet } from "../../src/waypoint/upstream/mod.ts";
import { log, type LogSink, MetricRegistry } from "../../src/telemetry/mod.ts";

const NO_CHANGE = { add: [], remove: [] } as const;
export const WEB = "inbound-vip|80|http|web.shop.svc.cluster.local";

export const OPTIONS: HttpOptions = {
  serverName: "istio-envoy",
  serverHeader: "overwrite",
  acceptHttp10: false,
  preserveHeaderCase: false,
  normalizePath: true,
  mergeSlashes: false,
  escapedSlashes: "keep",
  generateRequestId: true,
  suppressEnvoyHeaders: false,
  proxy100Continue: false,
  forwardClientIdentity: false,
  upgrades: ["websocket"],
  idleTimeoutMs: 0,
  streamIdleTimeoutMs: 0,
  requestTimeoutMs: 0,
  requestHeadersTimeoutMs: 0,
  maxStreamDurationMs: 0,
  maxRequestHeaderBytes: 61_440,
  maxHeaderCount: 100,
};

export function retryPolicy(on: readonly string[], more: Partial<RetryPolicy> = {}): RetryPolicy {
  return {
    on,
    count: 2,
    perTryTimeoutMs: undefined,
    statusCodes: [],
    requestHeaders: [],
    otherHostAttempts: 5,
    otherPriorities: false,
    backOffBaseMs: 1,
    backOffMaxMs: 1,
    ...more,
  };
}

export function forward(more: Partial<ForwardAction> = {}): ForwardAction {
  return {
    kind: "forward",
    clusters: [{ cluster: WEB, weight: 1, requestHeaders: NO_CHANGE, responseHeaders: NO_CHANGE }],
    clusterNotFoundStatus: 503,
    timeoutMs: 0,
    maxGrpcTimeoutMs: 0,
    retry: undefined,
    rewrite: {},
    hostRewrite: undefined,
    appendForwardedHost: false,
    mirrors: [],
    hashPolicies: [],
    idleTimeoutMs: 0,
    maxStreamDurationMs: 0,
    ...more,
  };
}

export function route(more: Partial<Route> = {}): Route {
  return {
    name: "default",
    match: { path: { kind: "prefix", value: "/", caseSensitive: true }, headers: [], query: [], metadata: [] },
    action: forward(),
    requestHeaders: NO_CHANGE,
    responseHeaders: NO_CHANGE,
    fault: undefined,
    cors: undefined,
    decorator: "",
    source: "",
    ...more,
  };
}

export function cluster(addresses: readonly string[], more: Partial<Cluster> = {}): Cluster {
  return {
    name: WEB,
    discovery: { kind: "static" },
    localities: [{
      locality: { region: "", zone: "", subzone: "" },
      priority: 0,
      weight: undefined,
      endpoints: addresses.map((address) => ({
        kind: "hbone",
        address,
        additionalAddresses: [],
        tunnel: undefined,
        innerAuthority: undefined,
        expectedIdentities: [],
        weight: 1,
        health: "healthy",
        workload: undefined,
      })),
    }],
    protocol: "http1",
    loadBalancing: { kind: "round-robin" },
    slowStart: undefined,
    panicPercent: 0,
    localityWeighted: false,
    overprovisioningPercent: 140,
    connectTimeoutMs: 10_000,
    breakers: {
      maxConnections: 2 ** 32 - 1,
      maxPendingRequests: 2 ** 32 - 1,
      maxRequests: 2 ** 32 - 1,
      maxRetries: 2 ** 32 - 1,
      retryBudget: undefined,
    },
    outlier: undefined,
    keepalive: undefined,
    maxRequestsPerConnection: 0,
    idleTimeoutMs: 0,
    maxConnectionDurationMs: 0,
    tls: undefined,
    proxyProtocol: undefined,
    preserveHeaderCase: false,
    service: { host: "web.shop.svc.cluster.local", name: "web", namespace: "shop" },
    subset: undefined,
    source: "",
    ...more,
  };
}

/** A request as it came to an upstream. */
export class UpstreamCall implements ClientStream {
  readonly target: string;
  readonly head: RequestHead;
  readonly listener: UpstreamListener;
  body = "";
  ended: boolean;
  trailers: HeaderList | undefined = undefined;
  wasReset = false;
  consumed = 0;
  /** What sendData answers. */
  room = true;

  constructor(target: string, head: RequestHead, ended: boolean, listener: UpstreamListener) {
    this.target = target;
    this.head = { ...head, fields: head.fields.map((field) => [...field] as [string, string]) };
    this.ended = ended;
    this.listener = listener;
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    this.body += new TextDecoder().decode(chunk);
    if (endStream) this.ended = true;
    return this.room;
  }

  sendTrailers(fields: HeaderList): void {
    this.trailers = fields;
    this.ended = true;
  }

  reset(): void {
    this.wasReset = true;
  }

  consume(bytes: number): void {
    this.consumed += bytes;
  }

  // --- what the test makes it do ---

  answer(status: number, body = "", fields: HeaderList = []): void {
    this.listener.onHeaders({ status, fields, protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 0 }, body === "");
    if (body !== "") this.listener.onData(new TextEncoder().encode(body), true);
  }

  fail(reason: Reset["reason"], unsent = false, detail = ""): void {
    this.listener.onReset({ reason, unsent, detail });
  }
}

class FakePools implements UpstreamPoolSet {
  readonly calls: UpstreamCall[] = [];
  #waiting: (() => void) | undefined = undefined;

  pool(_cluster: string, target: { readonly address: { readonly ip: string } }): UpstreamPool {
    return {
      closed: false,
      stats: NOTHING,
      drain() {},
      request: (head, endStream, listener) => {
        const call = new UpstreamCall(target.address.ip, head, endStream, listener);
        this.calls.push(call);
        this.#waiting?.();
        return call;
      },
    };
  }

  /** The nth request to any upstream, which may have to come yet. */
  async call(n: number): Promise<UpstreamCall> {
    while (this.calls.length <= n) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    return this.calls[n] as UpstreamCall;
  }

  stats(): PoolStats {
    return NOTHING;
  }
  review(): void {}
  drain(): void {}
  close(): void {}
}

const NOTHING: PoolStats = { connections: 0, pending: 0, active: 0 };

/** The client's side of an exchange. */
export class Client implements ServerStream {
  readonly informational: ResponseHead[] = [];
  head: ResponseHead | undefined = undefined;
  body = "";
  ended = false;
  trailers: HeaderList | undefined = undefined;
  resetCode: number | undefined = undefined;
  consumed = 0;
  room = true;
  listener!: RequestListener;
  #ended: (() => void) | undefined = undefined;

  respond(head: ResponseHead, endStream: boolean): void {
    if (head.status < 200 && head.status !== 101) this.informational.push(head);
    else this.head = head;
    if (endStream) this.#end();
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    this.body += new TextDecoder().decode(chunk);
    if (endStream) this.#end();
    return this.room;
  }

  sendTrailers(fields: HeaderList): void {
    this.trailers = fields;
    this.#end();
  }

  reset(code: number): void {
    this.resetCode = code;
    this.#end();
  }

  consume(bytes: number): void {
    this.consumed += bytes;
  }

  closeAfter(): void {}

  field(name: string): string | undefined {
    return this.head?.fields.find((field) => field[0] === name)?.[1];
  }

  /** Resolves when the response, or the stream, is over. */
  async done(): Promise<void> {
    if (this.ended) return;
    await new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
  }

  #end(): void {
    this.ended = true;
    this.#ended?.();
  }
}

export interface Scene {
  readonly routes?: readonly Route[];
  readonly clusters?: readonly Cluster[];
  readonly chain?: Partial<HttpChain>;
  readonly options?: Partial<HttpOptions>;
  readonly peerPrincipal?: string;
}

/** @param output where every access log goes */
export function compileOptions(output: LogSink, registry = new MetricRegistry()): CompileOptions {
  return {
    outputs: () => output,
    metrics: new RequestMetrics(registry, () => undefined),
    unsupportedFilter: "fail",
  };
}

/** A waypoint with one chain. */
export class Stage {
  readonly upstreams = new FakePools();
  readonly ended: StreamInfo[] = [];
  readonly plane: WaypointPlane;
  readonly #configuration: Configuration;
  readonly #scene: Scene;

  constructor(scene: Scene = {}) {
    this.#scene = scene;
    const registry = new MetricRegistry();
    const clusters = new ClusterSet();
    const listed = scene.clusters ?? [cluster(["10.244.0.1:8080"])];
    const byName = Object.fromEntries(listed.map((item) => [item.name, item]));
    clusters.update(byName);
    this.plane = new WaypointPlane({
      identity: "spiffe://cluster.local/ns/shop/sa/waypoint",
      ownIp: "10.244.0.99",
      ownAddresses: new Set(["10.244.0.99"]),
      detectionTimeoutMs: 1000,
      clusters,
      targets: new Targets({
        trustDomainPrefix: "spiffe://cluster.local/",
        ownAddresses: new Set(["10.244.0.99"]),
      }),
      connector: { connect: () => ({ abandon() {} }) },
      pools: this.upstreams,
      dryRun: registerDryRunMetrics(registry),
      logs: { listener: log.scope("test::listener"), policy: log.scope("test::policy") },
    });
    const chain: Chain = {
      kind: "http",
      name: WEB,
      service: { host: "web.shop.svc.cluster.local", name: "web", namespace: "shop" },
      authorization: [],
      unsupported: [],
      telemetry: { accessLogs: [], metrics: { overrides: [] } },
      options: { ...OPTIONS, ...scene.options },
      routes: {
        name: WEB,
        virtualHosts: [{
          name: "inbound|http|80",
          domains: ["*"],
          routes: scene.routes ?? [route()],
          requestHeaders: NO_CHANGE,
          responseHeaders: NO_CHANGE,
        }],
        requestHeaders: NO_CHANGE,
        responseHeaders: NO_CHANGE,
      },
      ...scene.chain,
    };
    const snapshot: WaypointSnapshot = {
      gateway: { namespace: "shop", name: "waypoint" },
      matcher: { authorities: {}, destinations: [] },
      chains: { [WEB]: chain },
      clusters: byName,
    };
    const result = Configuration.compile(snapshot, undefined, compileOptions({ write() {}, flush() {} }, registry));
    if (!result.ok) throw new Error(result.errors.join("\n"));
    this.#configuration = result.configuration;
    this.plane.configuration = result.configuration;
  }

  /** Begins a request; it has a body to come unless `ended`. */
  request(head: Partial<RequestHead> = {}, ended = true): Client {
    const client = new Client();
    const compiled = this.#configuration.chain(WEB);
    if (compiled?.kind !== "http") throw new Error("the chain is not there");
    const exchange = new Exchange(
      this.plane,
      { ...compiled, record: (info) => void this.ended.push(info) },
      client,
      {
        remote: { ip: "10.244.0.7", port: 4000 },
        local: { ip: "10.96.0.1", port: 80 },
        originalDestination: { ip: "10.96.0.1", port: 80 },
        authority: "10.96.0.1:80",
        peerPrincipal: this.#scene.peerPrincipal ?? "spiffe://cluster.local/ns/shop/sa/client",
        sourceNamespace: "shop",
        localPrincipal: this.plane.identity,
        requestedServerName: undefined,
      },
    );
    client.listener = exchange;
    exchange.start({
      method: "GET",
      scheme: "http",
      authority: "web",
      path: "/",
      protocol: "HTTP/1.1",
      fields: [],
      upgrade: undefined,
      expectContinue: false,
      wireBytes: 0,
      ...head,
    }, ended);
    return client;
  }
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
