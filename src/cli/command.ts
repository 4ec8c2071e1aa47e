/** What to run and from where. */
export interface RunFlags {
  readonly mode: "ztunnel" | "waypoint";
  /** Local state: a file or a folder (as LOCAL_XDS_PATH). */
  readonly config: string | undefined;
  /** Directory of the embedded CA. */
  readonly caDir: string | undefined;
  /** Waypoint: which Gateway of the local state we are, `namespace/name`. */
  readonly gateway: string | undefined;
  /** ztunnel: the upgrade socket (as AMBIENT_UPGRADE_SOCKET). */
  readonly upgradeFrom?: string | undefined;

  // What a container of Istio's waypoint template says by the flags of pilot-agent (spec/waypoint.md §5.1).

  /** `--domain`: DNS domain of the pod, `NAMESPACE.svc.CLUSTER_DOMAIN`. */
  readonly domain?: string | undefined;
  /** `--serviceCluster`: `SERVICE_ACCOUNT.NAMESPACE`, the cluster of the xDS node. */
  readonly serviceCluster?: string | undefined;
  /** `--meshConfig`: where the mesh file is. */
  readonly meshConfig?: string | undefined;
  /** Log levels in the form of RUST_LOG, which is asked first. */
  readonly logFilter?: string | undefined;
  /** `--log_as_json`; LOG_FORMAT is asked first. */
  readonly logFormat?: "json" | undefined;
  /** What of the command line is not known: to be told, and no reason to stop. */
  readonly warnings?: readonly string[] | undefined;
}

/** What to ask a running process. */
export interface ExplainFlags {
  /** Client: a pod's `namespace/name`, uid or IP. */
  readonly source: string;
  /** `IP[:PORT]`, `HOST[:PORT]` or `NAMESPACE/NAME[:PORT]`. */
  readonly destination: string;
  /** Admin port of the process, `HOST:PORT`. */
  readonly admin: string;
  /** Print the answer as JSON. */
  readonly json: boolean;
}

/** A request to the admin port of a running process. */
export interface RequestFlags {
  /** In capitals. */
  readonly method: string;
  /** With its query, begins with `/`. */
  readonly path: string;
  readonly body: string | undefined;
  /** Admin port of the process, `HOST:PORT`. */
  readonly admin: string;
}

/** How to wait until a process is ready. Milliseconds. */
export interface WaitFlags {
  readonly url: string;
  /** Of all of it. */
  readonly timeout: number;
  /** Of one question. */
  readonly requestTimeout: number;
  /** Between questions. */
  readonly period: number;
}

/** What the command line asks for. */
export type Command =
  | { readonly kind: "run"; readonly flags: RunFlags }
  | { readonly kind: "version"; readonly licenses: boolean }
  | { readonly kind: "help" }
  | { readonly kind: "schema" }
  | { readonly kind: "explain"; readonly flags: ExplainFlags }
  | { readonly kind: "request"; readonly flags: RequestFlags }
  | { readonly kind: "wait"; readonly flags: WaitFlags }
  /** Print the message and where help is on standard error, exit 1. */
  | { readonly kind: "error"; readonly message: string };
