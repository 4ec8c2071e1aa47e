import type { Flags } from "../config/config.ts";

/** What to run and from where. */
export interface RunFlags extends Flags {
  readonly mode: "ztunnel" | "waypoint";
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
