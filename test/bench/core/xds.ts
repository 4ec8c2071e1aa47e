/**
 * How long the event loop is held while a control plane tells of a large mesh, and how long an echo takes meanwhile.
 *
 *     bun test/bench/core/xds.ts [workloads]
 *
 * The stream is none of the network's: what the responses cost before they reach the client of the control plane is not
 * in these figures. The echo is: another process asks this one, as a connection would.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { GrpcStream, GrpcStreamHandler } from "../../../src/grpc/mod.ts";
import { MeshState, type Service, type WorkloadUpdate } from "../../../src/mesh/mod.ts";
import { Logger, MetricRegistry, XdsMetrics } from "../../../src/telemetry/mod.ts";
import {
  ADDRESS_TYPE,
  AdsClient,
  type AdsPart,
  decodeAddress,
  type RefusedResource,
  type ResourceType,
} from "../../../src/xds/mod.ts";
import { encodeService, encodeWorkload } from "./mesh.ts";

/** What happens: all is new; the stream comes again; all is told again to one who has it. */
export const XDS_PHASES = ["first", "reconnect", "again"] as const;
export type XdsPhase = typeof XDS_PHASES[number];

export interface XdsFigures {
  readonly phase: XdsPhase;
  /** From the response's arrival (the opening of the stream, for a reconnect) until all is in force, ms. */
  readonly wall: number;
  /** The longest time between two turns of the event loop, ms; on a busy machine the others' time is in it. */
  readonly held: number;
  /** The longest that one turn has computed, ms: the limit is for this. */
  readonly heldCpu: number;
  /** Of an echo before and meanwhile, 99th percentile, ms. */
  readonly echoBefore: number;
  readonly echoMeanwhile: number;
  /** Of the response, or of the request that a reconnect begins with. */
  readonly bytes: number;
}

/** Measures the turns of the event loop, by the clock and by what the thread has computed. */
class TurnProbe {
  #running = true;
  held = 0;
  heldCpu = 0;

  constructor() {
    let [last, lastCpu] = [performance.now(), threadCpu()];
    const turn = () => {
      const [now, cpu] = [performance.now(), threadCpu()];
      this.held = Math.max(this.held, now - last);
      this.heldCpu = Math.max(this.heldCpu, cpu - lastCpu);
      [last, lastCpu] = [now, cpu];
      if (this.#running) setImmediate(turn);
    };
    setImmediate(turn);
  }

  stop(): void {
    this.#running = false;
  }
}

/** CPU time of this thread, ms. */
function threadCpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

const CLIENT = "--echo-client";
/** Echoes are asked for one after the other; so many before, ms. */
const BEFORE_MS = 1_000;

/** A response of so many workloads and services; `revision` makes other records of the same names. */
function response(workloads: number, services: number, revision: string): Uint8Array {
  const writer = new BinaryWriter();
  const resource = (name: string, version: string, value: Uint8Array) => {
    writer.uint32(2 << 3 | 2).fork();
    writer.uint32(1 << 3 | 2).string(version);
    writer.uint32(2 << 3 | 2).fork().uint32(1 << 3 | 2).string(ADDRESS_TYPE).uint32(2 << 3 | 2).bytes(value).join();
    writer.uint32(3 << 3 | 2).string(name);
    writer.join();
  };
  const version = (i: number) => `${revision}${(i * 2_654_435_761).toString(16).padStart(14, "0")}`;
  for (let i = 0; i < services; i++) {
    resource(`team-${i % 100}/application-${i}.team-${i % 100}.svc.cluster.local`, version(i), encodeService(i));
  }
  for (let i = 0; i < workloads; i++) {
    const application = i % services;
    const name = `application-${application}-6d5f8c7b9d-${i.toString(36).padStart(5, "x")}`;
    resource(`Kubernetes//Pod/team-${application % 100}/${name}`, version(i), encodeWorkload(i, services, revision));
  }
  return writer.uint32(4 << 3 | 2).string(ADDRESS_TYPE).uint32(5 << 3 | 2).string("nonce").finish();
}

/** A stream on which the measurement says what comes, and hears when the client has sent something. */
class Stream implements GrpcStream {
  readonly handler: GrpcStreamHandler;
  sent = 0;
  #heard = Promise.withResolvers<number>();

  constructor(handler: GrpcStreamHandler) {
    this.handler = handler;
  }
  send(message: Uint8Array): void {
    this.sent++;
    this.#heard.resolve(message.length);
    this.#heard = Promise.withResolvers();
  }
  /** The size of the next request, once it is sent. */
  get next(): Promise<number> {
    return this.#heard.promise;
  }
  pause(): void {}
  resume(): void {}
  get holds(): boolean {
    return false;
  }
  cancel(): void {}
}

function addressType(mesh: MeshState): ResourceType {
  return {
    typeUrl: ADDRESS_TYPE,
    subscription: "wildcard",
    expected: true,
    apply({ resources, removed }: AdsPart): readonly RefusedResource[] {
      const [workloads, services]: [WorkloadUpdate[], Service[]] = [[], []];
      for (const { value } of resources) {
        const result = decodeAddress(value);
        if (!result.ok) throw new Error(result.error);
        if (result.address.kind === "workload") workloads.push(result.address.update);
        else services.push(result.address.service);
      }
      mesh.apply({ workloads, services, removed });
      return [];
    },
  };
}

/** The process that asks for echoes: `start` and `stop` on its input; for each of the latter the 99th percentile. */
async function askForEchoes(port: number): Promise<void> {
  const times: number[] = [];
  let running = false;
  let asked = 0;
  const ask = () => {
    asked = performance.now();
    socket.write("x");
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data() {
        times.push(performance.now() - asked);
        if (running) setTimeout(ask, 0);
      },
    },
  });
  for await (const line of console) {
    if (line === "start") {
      times.length = 0;
      running = true;
      ask();
    } else {
      running = false;
      times.sort((a, b) => a - b);
      console.log(times[Math.floor(times.length * 0.99)] ?? 0);
    }
  }
  socket.end();
}

class Echoes {
  readonly #server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket, data) => void socket.write(data) },
  });
  readonly #child = Bun.spawn(
    [process.execPath, fileURLToPath(import.meta.url), CLIENT, String(this.#server.port)],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  readonly #answers = this.#child.stdout.getReader();

  start(): void {
    this.#child.stdin.write("start\n");
    this.#child.stdin.flush();
  }
  /** 99th percentile since `start`, ms. */
  async stop(): Promise<number> {
    this.#child.stdin.write("stop\n");
    this.#child.stdin.flush();
    const { value } = await this.#answers.read();
    return Number(new TextDecoder().decode(value));
  }
  async close(): Promise<void> {
    this.#child.stdin.end();
    await this.#child.exited;
    this.#server.stop(true);
  }
}

/** @throws Error where something is missing in the mesh at the end */
export async function measureXds(workloads: number, services: number): Promise<XdsFigures[]> {
  const mesh = new MeshState("ip-10-40-7.eu-west-1.compute.internal");
  const streams: Stream[] = [];
  const client = new AdsClient({
    channel: {
      stream: (_path, handler) => {
        const stream = new Stream(handler);
        streams.push(stream);
        return stream;
      },
      renew() {},
    },
    node: { id: "ztunnel~10.0.0.1~z.istio-system~istio-system.svc.cluster.local", metadata: {} },
    types: [addressType(mesh)],
    log: new Logger({ write: () => {}, flush: () => {} }).scope("xds"),
    metrics: new XdsMetrics(new MetricRegistry()),
  });
  const echoes = new Echoes();
  const figures: XdsFigures[] = [];

  const measure = async (phase: XdsPhase, bytes: number, run: () => Promise<number | void>) => {
    await Bun.sleep(200);
    echoes.start();
    await Bun.sleep(BEFORE_MS);
    const echoBefore = await echoes.stop();
    Bun.gc(true);
    echoes.start();
    const probe = new TurnProbe();
    const began = performance.now();
    const size = await run();
    const wall = performance.now() - began;
    probe.stop();
    const { held, heldCpu } = probe;
    const echoMeanwhile = await echoes.stop();
    figures.push({ phase, wall, held, heldCpu, echoBefore, echoMeanwhile, bytes: size ?? bytes });
  };
  const last = () => streams.at(-1) as Stream;
  const opened = async () => {
    const request = last().next;
    last().handler.onOpen?.();
    return await request;
  };
  const taken = async (push: Uint8Array) => {
    const answer = last().next;
    last().handler.onMessage(push);
    await answer;
  };

  try {
    client.start();
    await opened();
    const first = response(workloads, services, "1");
    await measure("first", first.length, () => taken(first));
    last().handler.onEnd(undefined);
    while (streams.length === 1) await Bun.sleep(1);
    await measure("reconnect", 0, opened);
    const again = response(workloads, services, "2");
    await measure("again", again.length, () => taken(again));
    if ([...mesh.workloads()].length !== workloads) throw new Error("bench: not all workloads are there");
  } finally {
    client.close();
    await echoes.close();
  }
  return figures;
}

if (import.meta.main) {
  const [flag, port] = process.argv.slice(2);
  if (flag === CLIENT) {
    await askForEchoes(Number(port));
  } else {
    const workloads = Number(flag ?? 70_000);
    for (const figures of await measureXds(workloads, workloads / 10)) {
      const { phase, wall, held, heldCpu, echoBefore, echoMeanwhile, bytes } = figures;
      console.log(
        `${phase.padEnd(10)} ${(bytes / 1e6).toFixed(1).padStart(5)} MB ${wall.toFixed(0).padStart(5)} ms, loop held ` +
          `${held.toFixed(1)} ms (computing ${heldCpu.toFixed(1)}), ` +
          `echo p99 ${echoBefore.toFixed(2)} → ${echoMeanwhile.toFixed(2)} ms`,
      );
    }
    process.exit(0);
  }
}
