/** One `ambient --mode=ztunnel` process on a node of the lab: started, asked, listened to, ended. */
import { type HttpAnswer, httpRequest } from "../traffic/mod.ts";
import { eventually, type LabNode, LabProcess, type NetworkNamespace } from "../topology/mod.ts";
import { isAccessLine, type LogLine, parseLogLine } from "./access_log.ts";
import { parseMetrics, type Sample } from "./metrics.ts";

export const ADMIN_PORT = 15000;
export const STATS_PORT = 15020;
export const READINESS_PORT = 15021;

export interface ZtunnelOptions {
  readonly binary: string;
  readonly node: LabNode;
  /** Path of the local file. */
  readonly configuration: string;
  readonly caDirectory: string;
  /** Path of the CNI's socket; undefined for dedicated mode. */
  readonly socket: string | undefined;
  /** Where it runs: the node's namespace, or the pod's for dedicated mode. */
  readonly namespace?: NetworkNamespace;
  readonly environment?: Record<string, string>;
  readonly onAccess?: (line: LogLine) => void;
  /** Called for each log line that is not of the access log. */
  readonly onLine?: (line: LogLine) => void;
  /** False where millions of connections would fill memory with lines that nobody reads. */
  readonly keepAccessLog?: boolean;
}

export class Ztunnel {
  readonly process: LabProcess;
  readonly node: LabNode;
  readonly namespace: NetworkNamespace;
  readonly access: LogLine[] = [];

  constructor(options: ZtunnelOptions) {
    this.node = options.node;
    this.namespace = options.namespace ?? options.node.namespace;
    this.process = this.namespace.spawn(
      [options.binary, "--mode=ztunnel", "--config", options.configuration, "--ca-dir", options.caDirectory],
      {
        environment: {
          CA_ADDRESS: "embedded",
          XDS_ADDRESS: "",
          NODE_NAME: options.node.name,
          RUST_LOG: "info,access=debug",
          ...(options.socket === undefined ? {} : { INPOD_UDS: options.socket }),
          ...options.environment,
        },
        keepLines: options.keepAccessLog ?? true,
        onLine: (text) => {
          if (options.keepAccessLog === false) return;
          const line = parseLogLine(text);
          if (!isAccessLine(line)) {
            if (line !== undefined) options.onLine?.(line);
            return;
          }
          this.access.push(line);
          options.onAccess?.(line);
        },
      },
    );
  }

  /** Waits until /healthz/ready says so. @throws DeadlineError with the process's last lines */
  async untilReady(deadlineMs = 15_000): Promise<void> {
    try {
      await eventually(`readiness of ztunnel on node ${this.node.name}`, async () => {
        if (this.process.exitCode !== undefined) return true;
        return (await this.ask(READINESS_PORT, "/healthz/ready")).status === 200;
      }, deadlineMs);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.process.lines.slice(-15).join("\n")}`);
    }
    if (this.process.exitCode !== undefined) {
      throw new Error(`ztunnel ended with ${this.process.exitCode}:\n${this.process.lines.slice(-15).join("\n")}`);
    }
  }

  ask(port: number, path: string, method = "GET"): Promise<HttpAnswer> {
    return httpRequest(this.namespace, { ip: "127.0.0.1", port }, path, method);
  }

  async metrics(): Promise<Sample[]> {
    return parseMetrics((await this.ask(STATS_PORT, "/metrics")).body);
  }

  async configDump(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.ask(ADMIN_PORT, "/config_dump")).body) as Record<string, unknown>;
  }

  /** Waits for an access log line, among those from index `since` on. @throws DeadlineError */
  accessLine(matches: (line: LogLine) => boolean, since = 0, deadlineMs = 5000): Promise<LogLine> {
    return eventually(
      `access log line on node ${this.node.name}; seen:\n${
        this.access.slice(since).map((line) => `${line.message} ${JSON.stringify(line.fields)}`).join("\n")
      }`,
      () => this.access.slice(since).find(matches),
      deadlineMs,
    );
  }

  stop(): Promise<number> {
    return this.process.stop("SIGTERM");
  }
}
