/** Both proxies with the same chains before the same kind of application, and what each makes of a request. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Chain, Cluster, HttpChain, WaypointSnapshot } from "../../../src/waypoint/snapshot/mod.ts";
import { type EnvoyConfiguration, http2Upstream, socketAddress, staticCluster } from "../envoy/configuration.ts";
import { type Answer, Backend, DEFAULT_ANSWER } from "./backend.ts";
import { Http2Backend, type StreamAnswer } from "./http2_backend.ts";
import {
  type Conversation,
  http1Conversation,
  http2Conversation,
  type RawRequest,
  type StreamRequest,
} from "./client.ts";
import { originalHttpChain } from "./translation.ts";
import { LoopbackWaypoint } from "./waypoint.ts";

export const PRINCIPAL = "spiffe://cluster.local/ns/shop/sa/client";
const START_MS = 60_000;

const LOG_FORMAT =
  '%REQ(X-CASE)% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ' +
  '%BYTES_RECEIVED% %BYTES_SENT% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(:AUTHORITY)%" ' +
  "%UPSTREAM_CLUSTER_RAW% %REQUESTED_SERVER_NAME% %ROUTE_NAME% %GRPC_STATUS%\n";

export interface Case {
  readonly name: string;
  readonly chain?: string;
  readonly request: RawRequest | StreamRequest;
  readonly answers?: readonly Answer[];
  readonly streamAnswers?: readonly StreamAnswer[];
  readonly patienceMs?: number;
}

export interface Observation extends Conversation {
  readonly upstream: readonly string[];
  readonly log: string;
}

interface Side {
  readonly ports: ReadonlyMap<string, number>;
  readonly h1: Backend;
  readonly h2: Http2Backend;
  log(): string;
}

export class Rig {
  readonly #cases: ReadonlyMap<string, Case>;
  readonly #directory = mkdtempSync(join(tmpdir(), "differential-"));
  readonly #backends: { stop(): void }[] = [];
  readonly #ours: Side;
  readonly #waypoint: LoopbackWaypoint;
  readonly #original: Side;
  readonly #process: Bun.Subprocess;

  private constructor(cases: readonly Case[], binary: string, chains: readonly Chain[], clusters: readonly Cluster[]) {
    this.#cases = new Map(cases.map((item) => [item.name.replaceAll(" ", "_"), item]));
    const backends = () => {
      const h1 = new Backend((id, nth) =>
        this.#cases.get(id)?.answers?.[nth] ?? this.#cases.get(id)?.answers?.at(-1) ?? DEFAULT_ANSWER
      );
      const h2 = new Http2Backend((id, nth) =>
        this.#cases.get(id)?.streamAnswers?.[nth] ?? this.#cases.get(id)?.streamAnswers?.at(-1) ?? {}
      );
      this.#backends.push(h1, h2);
      return { h1, h2 };
    };
    const ours = backends();
    const ports = { h1: ours.h1.port, h2: ours.h2.port };
    const snapshot: WaypointSnapshot = {
      gateway: { namespace: "shop", name: "waypoint" },
      matcher: { authorities: {}, destinations: [] },
      chains: Object.fromEntries(chains.map((chain) => [chain.name, withLog(chain as HttpChain)])),
      clusters: Object.fromEntries(clusters.map((cluster) => [cluster.name, placed(cluster, ports)])),
    };
    const waypoint = this.#waypoint = new LoopbackWaypoint(snapshot, PRINCIPAL);
    this.#ours = { ...ours, ports: waypoint.ports, log: () => waypoint.logged };

    const theirs = backends();
    const logPath = join(this.#directory, "access.log");
    writeFileSync(logPath, "");
    const free = freePorts(chains.length);
    const originalPorts = new Map(chains.map((chain, index) => [chain.name, free[index] as number]));
    const configuration: EnvoyConfiguration = {
      // As pilot-agent's bootstrap sets them, and as the original was seen to match (spec/waypoint.md §7).
      layered_runtime: {
        layers: [{
          name: "istio",
          static_layer: {
            "envoy.reloadable_features.http_reject_path_with_fragment": false,
            "envoy.reloadable_features.match_headers_individually": false,
          },
        }],
      },
      static_resources: {
        listeners: chains.map((chain) => ({
          name: chain.name,
          address: socketAddress("127.0.0.1", originalPorts.get(chain.name)!),
          filter_chains: [{
            filters: [originalHttpChain({
              ...(chain as HttpChain),
              principal: PRINCIPAL,
              log: { path: logPath, format: LOG_FORMAT },
            })],
          }],
        })),
        clusters: clusters.map((cluster) => originalCluster(cluster, { h1: theirs.h1.port, h2: theirs.h2.port })),
      },
    };
    this.#original = { ...theirs, ports: originalPorts, log: () => readFileSync(logPath, "latin1") };
    const path = join(this.#directory, "envoy.json");
    writeFileSync(path, JSON.stringify(configuration));
    const options = [
      "--concurrency",
      "1",
      "--disable-hot-restart",
      "--log-level",
      "info",
      "--component-log-level",
      "misc:error",
      "--file-flush-interval-msec",
      "20",
    ];
    this.#process = Bun.spawn([binary, "-c", path, ...options], { stderr: "pipe", stdout: "ignore" });
  }

  static async start(
    cases: readonly Case[],
    binary: string,
    chains: readonly Chain[],
    clusters: readonly Cluster[],
  ): Promise<Rig> {
    const rig = new Rig(cases, binary, chains, clusters);
    let said = "";
    const decoder = new TextDecoder();
    const deadline = setTimeout(() => rig.#process.kill(), START_MS);
    const reader = (rig.#process.stderr as ReadableStream<Uint8Array>).getReader();
    while (!said.includes("starting main dispatch loop")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`Envoy did not start:\n${said.slice(-4000)}`);
      said += decoder.decode(value);
    }
    clearTimeout(deadline);
    void (async () => {
      while (!(await reader.read()).done);
    })();
    return rig;
  }

  /**
   * Waits until all that was seen before is in both logs: a request behind the others is, and what ends with its client's
   * connection has had the time.
   */
  async logged(patienceMs: number): Promise<void> {
    const octets = "GET / HTTP/1.1\r\nhost: web\r\nx-case: LAST\r\nconnection: close\r\n\r\n";
    const deadline = performance.now() + patienceMs;
    for (const side of [this.#ours, this.#original]) {
      await http1Conversation(side.ports.get("main")!, { octets }, patienceMs);
      while (!side.log().includes("\nLAST ")) {
        if (performance.now() > deadline) throw new Error("the access log does not come");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** What both make of a case. */
  async observe(item: Case): Promise<{ ours: Observation; original: Observation }> {
    const [ours, original] = await Promise.all([this.#observe(this.#ours, item), this.#observe(this.#original, item)]);
    return { ours, original };
  }

  async #observe(side: Side, item: Case): Promise<Observation> {
    const id = item.name.replaceAll(" ", "_");
    const port = side.ports.get(item.chain ?? "main");
    if (port === undefined) throw new Error(`no chain ${item.chain}`);
    const { request } = item;
    const patience = item.patienceMs ?? 2500;
    const conversation = "octets" in request
      ? await http1Conversation(
        port,
        { ...request, octets: request.octets.replace("\r\n", `\r\nx-case: ${id}\r\n`) },
        patience,
      )
      : await http2Conversation(port, { ...request, headers: [...request.headers, ["x-case", id]] }, patience);
    return {
      ...conversation,
      get upstream() {
        return [...side.h1.seen.get(id) ?? [], ...side.h2.seen.get(id) ?? []];
      },
      get log() {
        return side.log().split("\n").filter((line) => line.startsWith(`${id} `)).join("\n");
      },
    };
  }

  stop(): void {
    this.#waypoint.stop();
    for (const backend of this.#backends) backend.stop();
    this.#process.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true });
  }
}

function withLog(chain: HttpChain): HttpChain {
  const log = { path: "log", format: { kind: "text", text: LOG_FORMAT }, filter: undefined } as const;
  return { ...chain, telemetry: { accessLogs: [log], metrics: undefined } };
}

/** Endpoints are named by what serves them: h1, h2, or a port that nobody listens at. */
function portOf(address: string, ports: { h1: number; h2: number }): number {
  return address === "h1" || address === "h2" ? ports[address] : Number(address.split(":")[1]);
}

function placed(cluster: Cluster, ports: { h1: number; h2: number }): Cluster {
  return {
    ...cluster,
    localities: cluster.localities.map((locality) => ({
      ...locality,
      endpoints: locality.endpoints.map((endpoint) => ({
        ...endpoint,
        kind: "tcp" as const,
        address: `127.0.0.1:${portOf(endpoint.address, ports)}`,
      })),
    })),
  };
}

function originalCluster(cluster: Cluster, ports: { h1: number; h2: number }): EnvoyConfiguration {
  const endpoints = cluster.localities.flatMap((locality) => locality.endpoints);
  const [first] = endpoints;
  const common = first === undefined
    ? { name: cluster.name, type: "STATIC", connect_timeout: "1s" }
    : staticCluster(cluster.name, "127.0.0.1", portOf(first.address, ports));
  return {
    ...common,
    common_lb_config: { healthy_panic_threshold: {} },
    circuit_breakers: { thresholds: [UNLIMITED] },
    ...(cluster.protocol === "http2" ? { typed_extension_protocol_options: http2Upstream() } : {}),
  } as EnvoyConfiguration;
}

const MAX_UINT32 = 4_294_967_295;
const UNLIMITED = {
  max_connections: MAX_UINT32,
  max_pending_requests: MAX_UINT32,
  max_requests: MAX_UINT32,
  max_retries: MAX_UINT32,
};

/** Below the ports that kernels give out (from 32768 on): what is free stays so until its listener comes. */
const FIRST_PORT = 21_000;

function freePorts(count: number): number[] {
  const ports: number[] = [];
  for (let port = FIRST_PORT; ports.length < count; port++) if (isFree(port)) ports.push(port);
  return ports;
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
