import type { BuildInfo } from "../cli/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { Logger, MetricRegistry, Readiness } from "../telemetry/mod.ts";

/** What the servers show, and where they listen. A server without an address is not started; port 0 lets the system choose. */
export interface AdminOptions {
  /** Whose pages these are. */
  readonly mode: "ztunnel" | "waypoint";
  /** 15021 */
  readonly readinessAddresses: readonly SocketAddress[];
  /** 15000, on loopback */
  readonly adminAddresses: readonly SocketAddress[];
  /** 15020 */
  readonly statsAddresses: readonly SocketAddress[];
  readonly readiness: Readiness;
  readonly registry: MetricRegistry;
  readonly logger: Logger;
  readonly build: BuildInfo;
  /**
   * The whole state, as plain data; key order does not matter. A Map counts as an object and a generator as an array, so
   * that a large mesh need not be copied. `version` is added here.
   */
  readonly configDump: () => Record<string, unknown> | Promise<Record<string, unknown>>;
  /** `/debug/dryrun`: flows that policies in dry run would have denied, as plain data; undefined: the page is not there. */
  readonly dryRun?: () => unknown;
  /** `/debug/controlplane`: how it stands with the control plane, as plain data; undefined: the page is not there. */
  readonly controlPlane?: () => unknown;
  /**
   * `/debug/explain?src=…&dst=…`: what would become of a connection, as plain data; undefined: the page is not there.
   * Gets the two parameters as they came, not empty; an error is answered with 400.
   */
  readonly explain?: (source: string, destination: string) => ExplainAnswer | Promise<ExplainAnswer>;
  /** Called after /quitquitquit of the admin port has been answered. */
  readonly shutdown: () => void;
  /** `POST /drain` of the stats port, from loopback only: drains and goes on; undefined: the page is not there. */
  readonly drain?: () => void;
  /** `POST /quitquitquit` of the stats port, from loopback only: ends without a drain, when that has been answered. */
  readonly quit?: () => void;
}

/** An explanation as plain data, or what is wrong with the question. */
export type ExplainAnswer = { readonly explanation: unknown } | { readonly error: string };

/** Servers that are listening. */
export interface AdminServers {
  readonly readinessAddresses: readonly SocketAddress[];
  readonly adminAddresses: readonly SocketAddress[];
  readonly statsAddresses: readonly SocketAddress[];
  /** Stops listening at once; answers under way are finished. */
  close(): void;
}
