/** What all modes of `ambient` have in common in a lab: a process in a namespace, asked, listened to, ended. */
import { type HttpAnswer, httpRequest } from "../traffic/mod.ts";
import { eventually, LabProcess, type NetworkNamespace } from "../topology/mod.ts";
import { isAccessLine, type LogLine, parseLogLine } from "./access_log.ts";
import { parseMetrics, type Sample } from "./metrics.ts";

export const ADMIN_PORT = 15000;
export const STATS_PORT = 15020;
export const READINESS_PORT = 15021;

export interface ProxyStart {
  /** How errors name it. */
  readonly label: string;
  readonly namespace: NetworkNamespace;
  readonly command: readonly string[];
  readonly environment: Record<string, string>;
  /** Called for each line of ztunnel's access log. */
  readonly onAccess?: ((line: LogLine) => void) | undefined;
  /** Called for each log line that is not of the access log. */
  readonly onLine?: ((line: LogLine) => void) | undefined;
  /** Called for each line as it is. */
  readonly onText?: ((line: string) => void) | undefined;
  /** False where millions of connections would fill memory with lines that nobody reads. */
  readonly keepAccessLog?: boolean | undefined;
}

export class Proxy {
  readonly process: LabProcess;
  readonly namespace: NetworkNamespace;
  readonly access: LogLine[] = [];
  readonly #label: string;

  constructor(start: ProxyStart) {
    this.#label = start.label;
    this.namespace = start.namespace;
    const keep = start.keepAccessLog ?? true;
    this.process = start.namespace.spawn(start.command, {
      environment: start.environment,
      keepLines: keep,
      onLine: (text) => {
        if (!keep) return;
        start.onText?.(text);
        const line = parseLogLine(text);
        if (!isAccessLine(line)) {
          if (line !== undefined) start.onLine?.(line);
          return;
        }
        this.access.push(line);
        start.onAccess?.(line);
      },
    });
  }

  /** Waits until /healthz/ready says so. @throws DeadlineError with the process's last lines */
  async untilReady(deadlineMs = 15_000): Promise<void> {
    try {
      await eventually(`readiness of ${this.#label}`, async () => {
        if (this.process.exitCode !== undefined) return true;
        return (await this.ask(READINESS_PORT, "/healthz/ready")).status === 200;
      }, deadlineMs);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.process.lines.slice(-15).join("\n")}`);
    }
    if (this.process.exitCode !== undefined) {
      throw new Error(
        `${this.#label} ended with ${this.process.exitCode}:\n${this.process.lines.slice(-15).join("\n")}`,
      );
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

  /** Waits for a line of ztunnel's access log, among those from index `since` on. @throws DeadlineError */
  accessLine(matches: (line: LogLine) => boolean, since = 0, deadlineMs = 5000): Promise<LogLine> {
    return eventually(
      `access log line of ${this.#label}; seen:\n${
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
