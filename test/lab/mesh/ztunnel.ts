/** One `ambient --mode=ztunnel` process on a node of the lab. */
import type { LabNode, NetworkNamespace } from "../topology/mod.ts";
import type { LogLine } from "./access_log.ts";
import { Proxy } from "./proxy.ts";

export interface ZtunnelOptions {
  readonly binary: string;
  readonly node: LabNode;
  /** Path of the local file or folder; undefined: what it knows and who it is comes from a control plane. */
  readonly configuration: string | undefined;
  /** Of the embedded CA; undefined with a control plane. */
  readonly caDirectory: string | undefined;
  /** Path of the CNI's socket; undefined for dedicated mode. */
  readonly socket: string | undefined;
  /** Where it runs: the node's namespace, or the pod's for dedicated mode. */
  readonly namespace?: NetworkNamespace;
  readonly environment?: Record<string, string>;
  /** True: NODE_NAME is not set. */
  readonly unnamed?: boolean;
  /** File that it sees as /etc/resolv.conf. */
  readonly resolvConf?: string;
  readonly onAccess?: (line: LogLine) => void;
  /** Called for each log line that is not of the access log. */
  readonly onLine?: (line: LogLine) => void;
  /** False where millions of connections would fill memory with lines that nobody reads. */
  readonly keepAccessLog?: boolean;
}

export class Ztunnel extends Proxy {
  readonly node: LabNode;

  constructor(options: ZtunnelOptions) {
    const { configuration, caDirectory } = options;
    const command = [
      "--mode=ztunnel",
      ...(configuration === undefined ? [] : ["--config", configuration]),
      ...(caDirectory === undefined ? [] : ["--ca-dir", caDirectory]),
    ];
    super({
      label: `ztunnel on node ${options.node.name}`,
      namespace: options.namespace ?? options.node.namespace,
      command: [...seeing(options.resolvConf), options.binary, ...command],
      environment: {
        CA_ADDRESS: "embedded",
        XDS_ADDRESS: "",
        ...(options.unnamed === true ? {} : { NODE_NAME: options.node.name }),
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

/** Starts a program in a mount namespace of its own, where this file is /etc/resolv.conf. */
function seeing(resolvConf: string | undefined): string[] {
  if (resolvConf === undefined) return [];
  const script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"';
  return ["unshare", "-m", "sh", "-c", script, "sh", resolvConf];
}
