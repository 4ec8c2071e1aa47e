/** What all modes of `ambient` have in common in a lab: a process in a namespace, asked, listened to, ended. */
import { type HttpAnswer, httpRequest } from "../traffic/mod.ts";
import { eventually, LAB_DEADLINE_MS, LabProcess, type NetworkNamespace } from "../topology/mod.ts";
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
  async untilReady(deadlineMs = 30_000): Promise<void> {
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

  /**
   * Waits for a line of ztunnel's access log, among those from index `since` on. A line comes a while after what it tells
   * of: lines of earlier connections may come behind `since`, so `matches` must be of one connection only.
   * @throws DeadlineError with what was seen instead
   */
  async accessLine(
    matches: (line: LogLine) => boolean,
    since = 0,
    deadlineMs = LAB_DEADLINE_MS,
    what = "access log line",
  ): Promise<LogLine> {
    try {
      return await eventually(
        `${what} of ${this.#label}`,
        () => this.access.slice(since).find(matches),
        deadlineMs,
      );
    } catch (error) {
      const seen = this.access.slice(since).map((line) => `${line.message} ${JSON.stringify(line.fields)}`);
      throw new Error(`${(error as Error).message}; seen:\n${seen.join("\n")}`);
    }
  }

  /**
   * Waits for the last line about the connection that came from `address`, whether it was served or turned away: what a
   * pod dialled (`Conversation.address`), or what came to a pod without a tunnel. @throws DeadlineError
   */
  endOf(address: string, deadlineMs = LAB_DEADLINE_MS): Promise<LogLine> {
    const ended = ({ message, fields }: LogLine) =>
      fields["src.addr"] === address && (message === "connection complete" || message === "connection failed");
    return this.accessLine(ended, 0, deadlineMs, `end of the connection from ${address} in the access log`);
  }

  stop(): Promise<number> {
    return this.process.stop("SIGTERM");
  }
}
