/** One `ambient --mode=waypoint` process in a pod of the lab that is not captured. */
import { eventually, LAB_DEADLINE_MS, type LabPod } from "../topology/mod.ts";
import type { LogLine } from "./access_log.ts";
import { ADMIN_PORT, Proxy } from "./proxy.ts";
import { parseRequestRecord, type RequestRecord } from "./request_log.ts";

/** Where tunnels to a waypoint end. */
export const HBONE_PORT = 15008;

export interface WaypointOptions {
  readonly binary: string;
  readonly pod: LabPod;
  /** Path of the folder that the ztunnels read too. */
  readonly configuration: string;
  readonly caDirectory: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly environment?: Record<string, string>;
  readonly onLine?: (line: LogLine) => void;
  /** Called for each line as it is. */
  readonly onText?: (line: string) => void;
}

export class Waypoint extends Proxy {
  readonly pod: LabPod;

  constructor(options: WaypointOptions) {
    super({
      label: `waypoint in pod ${options.pod.name}`,
      namespace: options.pod.namespace,
      command: [options.binary, "--mode=waypoint", "--config", options.configuration, "--ca-dir", options.caDirectory],
      environment: {
        CA_ADDRESS: "embedded",
        XDS_ADDRESS: "",
        TRUST_DOMAIN: "cluster.local",
        POD_NAMESPACE: options.namespace,
        POD_NAME: options.pod.name,
        SERVICE_ACCOUNT: options.serviceAccount,
        INSTANCE_IP: options.pod.ip,
        ...options.environment,
      },
      onLine: options.onLine,
      onText: options.onText,
    });
    this.pod = options.pod;
  }

  /** Lines of its access log, from the line `since` of its output on. */
  records(since = 0): RequestRecord[] {
    return this.process.lines.slice(since).map(parseRequestRecord).filter((record) => record !== undefined);
  }

  /** Waits for such a line of its access log. @throws DeadlineError with what was seen instead */
  async record(
    matches: (record: RequestRecord) => boolean,
    since = 0,
    deadlineMs = LAB_DEADLINE_MS,
  ): Promise<RequestRecord> {
    try {
      return await eventually(
        "a line of the waypoint's access log",
        () => this.records(since).find(matches),
        deadlineMs,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}; seen:\n${this.process.lines.slice(since).join("\n")}`);
    }
  }

  /** Its snapshot as text, for what is looked for in it. */
  async dumpText(): Promise<string> {
    return (await this.ask(ADMIN_PORT, "/config_dump")).body;
  }
}
