/** The echo application in a pod: `echo.mjs` under Node, its settings, and the shape of its answers. */
import { join } from "node:path";
import { PROJECT } from "../mesh/mod.ts";
import { eventually, type LabPod, LabProcess } from "../topology/mod.ts";
import type { Field } from "../traffic/mod.ts";

/** Where compile/setup.mjs puts the peers' packages. */
const PEER_PACKAGES = join(PROJECT, ".tools", "peers");

export interface EchoPlan {
  /** Ports of HTTP/1.1 and HTTP/2 without TLS, and WebSocket. */
  readonly http?: readonly number[];
  readonly grpc?: readonly number[];
  readonly namespace?: string;
}

/** What the application saw of an HTTP request. */
export interface EchoedRequest {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  /** `HTTP/1.1` or `HTTP/2.0` */
  readonly protocol: string;
  readonly headers: readonly Field[];
  readonly trailers: readonly Field[];
  readonly remote: string;
  readonly port: number;
  readonly pod: string;
  readonly namespace: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly expectation: "none" | "100-continue";
}

/** Starts a program of the peers' in a pod. */
export function peerProcess(pod: LabPod, program: string, args: readonly string[], talk = false, onLine = noLine) {
  return pod.namespace.spawn(["node", join(import.meta.dir, program), ...args], {
    environment: { AMBIENT_PEERS: PEER_PACKAGES },
    talk,
    onLine,
  });
}

function noLine(_line: string): void {}

export class EchoApplication {
  readonly pod: LabPod;
  readonly process: LabProcess;

  private constructor(pod: LabPod, process: LabProcess) {
    this.pod = pod;
    this.process = process;
  }

  /** @throws DeadlineError when it does not come up */
  static async start(pod: LabPod, plan: EchoPlan): Promise<EchoApplication> {
    const settings = { pod: pod.name, namespace: plan.namespace ?? "demo", http: plan.http, grpc: plan.grpc };
    const process = peerProcess(pod, "echo.mjs", [JSON.stringify(settings)]);
    await process.line((line) => line === "ready", 20_000);
    return new EchoApplication(pod, process);
  }

  /** Requests it has answered, as `METHOD path status`. */
  get requests(): readonly string[] {
    return this.process.lines.filter((line) => /^[A-Z]+ \//.test(line));
  }

  /** Waits until it has told of so many requests that have this in their path. @returns all such @throws DeadlineError */
  told(part: string, count: number): Promise<readonly string[]> {
    return eventually(`${count} requests with ${part}`, () => {
      const lines = this.requests.filter((line) => line.includes(part));
      return lines.length >= count && lines;
    });
  }

  /** Waits until a request with `delay` in this path has come. @throws DeadlineError */
  async delaying(path: string): Promise<void> {
    await this.process.line((line) => line === `delaying ${path}`);
  }

  stop(): Promise<number> {
    return this.process.stop("SIGKILL");
  }
}
