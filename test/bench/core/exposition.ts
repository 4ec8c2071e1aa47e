/**
 * What a scrape of many series costs: its time as a client of another process sees it, and how long it holds the event
 * loop of the process that answers.
 *
 *     bun test/bench/core/exposition.ts
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { startAdmin } from "../../../src/admin/mod.ts";
import { buildInfo } from "../../../src/cli/mod.ts";
import { newWorkload } from "../../../src/mesh/mod.ts";
import { Logger, MetricRegistry, Readiness, TrafficMetrics } from "../../../src/telemetry/mod.ts";

export const ENCODINGS = ["identity", "gzip", "deflate", "br", "zstd"] as const;

export interface ScrapeFigures {
  readonly encoding: (typeof ENCODINGS)[number];
  /** Of the body as it came over the wire. */
  readonly bytes: number;
  /** From the request to the last byte, ms: the median of the rounds. */
  readonly wall: number;
  /** The longest time that the event loop was held, ms: in the best round, the median one and the worst. */
  readonly bestTurn: number;
  readonly longestTurn: number;
  readonly worstTurn: number;
}

/** Argument that makes this file the client. */
const CLIENT = "--client";
/** Series of one flow: opened, closed, received, sent. */
const SERIES_OF_A_FLOW = 4;

/** A registry with so many series of traffic, with labels as a cluster has them. */
export function registryOf(series: number): MetricRegistry {
  const registry = new MetricRegistry();
  const traffic = new TrafficMetrics(registry);
  const workload = (name: string, number: number) =>
    newWorkload({
      name: `${name}-${number}-7d9c6bdf9f-abcde`,
      namespace: `team-${number % 100}`,
      trustDomain: "cluster.local",
      serviceAccount: `${name}-${number}`,
      workloadName: `${name}-${number}`,
      canonicalName: `${name}-${number}`,
      canonicalRevision: "v1",
      clusterId: "Kubernetes",
      locality: { region: "europe-west1", zone: "europe-west1-b", subzone: "" },
    });
  const source = workload("client", 0);
  for (let flow = 0; flow < series / SERIES_OF_A_FLOW; flow++) {
    const name = `application-${flow}`;
    const namespace = `team-${flow % 100}`;
    const known = traffic.lookup({
      reporter: "source",
      security: "mutual_tls",
      source,
      sourceIdentity: "spiffe://cluster.local/ns/team-0/sa/client-0",
      destination: workload("application", flow),
      service: { hostname: `${name}.${namespace}.svc.cluster.local`, name, namespace },
    });
    known.series.opened.value++;
    known.series.received.value += 1000 * flow;
    known.series.sent.value += 7 * flow;
    known.series.close("-");
  }
  return registry;
}

/** Watches how long the event loop is held until it is told to stop. */
export class LoopProbe {
  #longest = 0;
  #last = performance.now();
  #running = true;

  constructor() {
    const turn = () => {
      const now = performance.now();
      this.#longest = Math.max(this.#longest, now - this.#last);
      this.#last = now;
      if (this.#running) setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** The longest time between two turns, ms. */
  stop(): number {
    this.#running = false;
    return this.#longest;
  }
}

/** Another process that asks when it is told to. */
class Client {
  readonly #child = Bun.spawn([process.execPath, fileURLToPath(import.meta.url), CLIENT], {
    stdin: "pipe",
    stdout: "pipe",
  });
  readonly #answers = lines(this.#child.stdout);

  /** One request; the body is read to its end. */
  async scrape(url: string, encoding: string): Promise<{ wall: number; bytes: number }> {
    this.#child.stdin.write(`${url} ${encoding}\n`);
    const { done, value } = await this.#answers.next();
    if (done) throw new Error("bench: the client has ended");
    return JSON.parse(value) as { wall: number; bytes: number };
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#child.exited;
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

/** Scrapes a registry of so many series, a few times in each encoding. */
export async function measureExposition(series: number, rounds: number): Promise<ScrapeFigures[]> {
  const admin = startAdmin({
    mode: "ztunnel",
    readinessAddresses: [],
    adminAddresses: [],
    statsAddresses: [{ ip: "127.0.0.1", port: 0 }],
    readiness: new Readiness(),
    registry: registryOf(series),
    logger: new Logger({ write: () => {}, flush: () => {} }),
    build: buildInfo({}),
    configDump: () => ({}),
    shutdown: () => {},
  });
  const url = `http://127.0.0.1:${admin.statsAddresses[0]?.port}/metrics`;
  const client = new Client();
  const figures: ScrapeFigures[] = [];
  try {
    await client.scrape(url, "identity"); // loads what answers
    for (const encoding of ENCODINGS) {
      const [walls, turns]: [number[], number[]] = [[], []];
      let bytes = 0;
      for (let round = 0; round < rounds; round++) {
        Bun.gc(true);
        const probe = new LoopProbe();
        const result = await client.scrape(url, encoding);
        turns.push(probe.stop());
        walls.push(result.wall);
        bytes = result.bytes;
      }
      const [bestTurn, worstTurn] = [Math.min(...turns), Math.max(...turns)];
      figures.push({ encoding, bytes, wall: median(walls), bestTurn, longestTurn: median(turns), worstTurn });
    }
  } finally {
    await client.close();
    admin.close();
  }
  return figures;
}

/** The client: for each line with an address and an encoding one request, and a line with its figures. */
async function answerScrapes(): Promise<void> {
  for await (const line of lines(Bun.stdin.stream())) {
    const [url = "", encoding = ""] = line.split(" ");
    const began = performance.now();
    const answer = await fetch(url, { headers: { "accept-encoding": encoding }, decompress: false });
    let bytes = 0;
    for await (const chunk of answer.body as ReadableStream<Uint8Array>) bytes += chunk.length;
    console.log(JSON.stringify({ wall: performance.now() - began, bytes }));
  }
}

if (import.meta.main) {
  if (process.argv[2] === CLIENT) {
    await answerScrapes();
  } else {
    console.log("50 000 series");
    for (const { encoding, bytes, wall, longestTurn, worstTurn } of await measureExposition(50_000, 7)) {
      const size = `${(bytes / 1e6).toFixed(1)} MB`.padStart(9);
      const held = `loop held ${longestTurn.toFixed(1)} ms, in the worst round ${worstTurn.toFixed(1)} ms`;
      console.log(`  ${encoding.padEnd(9)}${size} ${wall.toFixed(0).padStart(5)} ms   ${held}`);
    }
  }
}
