/** What to run and from where. */
export interface RunFlags {
  readonly mode: "ztunnel" | "waypoint";
  /** Local state: a file or a folder (as LOCAL_XDS_PATH). */
  readonly config: string | undefined;
  /** Directory of the embedded CA. */
  readonly caDir: string | undefined;
  /** Waypoint: which Gateway of the local state we are, `namespace/name`. */
  readonly gateway: string | undefined;
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

/** What the command line asks for. */
export type Command =
  | { readonly kind: "run"; readonly flags: RunFlags }
  | { readonly kind: "version"; readonly licenses: boolean }
  | { readonly kind: "help" }
  | { readonly kind: "schema" }
  | { readonly kind: "explain"; readonly flags: ExplainFlags }
  /** Print the message and where help is on standard error, exit 1. */
  | { readonly kind: "error"; readonly message: string };
