/** One `ambient --mode=ztunnel` process on a node of the lab. */
import type { LabNode, NetworkNamespace } from "../topology/mod.ts";
import type { LogLine } from "./access_log.ts";
import { Proxy } from "./proxy.ts";

export interface ZtunnelOptions {
  readonly binary: string;
  readonly node: LabNode;
  /** Path of the local file or folder. */
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

export class Ztunnel extends Proxy {
  readonly node: LabNode;

  constructor(options: ZtunnelOptions) {
    super({
      label: `ztunnel on node ${options.node.name}`,
      namespace: options.namespace ?? options.node.namespace,
      command: [options.binary, "--mode=ztunnel", "--config", options.configuration, "--ca-dir", options.caDirectory],
      environment: {
        CA_ADDRESS: "embedded",
        XDS_ADDRESS: "",
        NODE_NAME: options.node.name,
        RUST_LOG: "info,access=debug",
        ...(options.socket === undefined ? {} : { INPOD_UDS: options.socket }),
        ...options.environment,
      },
      onAccess: options.onAccess,
      onLine: options.onLine,
      keepAccessLog: options.keepAccessLog,
    });
    this.node = options.node;
  }
}
