/** The client of the control plane: one stream of delta ADS, kept up for ever (spec/ztunnel.md §3.2). */
import type { GrpcChannel } from "../grpc/mod.ts";
import type { LogScope, XdsMetrics } from "../telemetry/mod.ts";
import type { AdsClock } from "./clock.ts";
import type { XdsNode } from "./delta.ts";
import type { ResourceType } from "./resource_type.ts";

export interface AdsOptions {
  readonly channel: Pick<GrpcChannel, "stream">;
  readonly node: XdsNode;
  /** In the order in which they are asked for. */
  readonly types: readonly ResourceType[];
  readonly log: LogScope;
  readonly metrics: XdsMetrics;
  readonly clock?: AdsClock;
  /** How long a push may hold the event loop at a time; ms, default 1. */
  readonly sliceMs?: number;
}

/** For the admin pages. Times are ms since the epoch. */
export interface AdsStatus {
  readonly connected: boolean;
  /** When the present stream was opened, or the last one ended; undefined: there has been none. */
  readonly since: number | undefined;
  /** When the next try is due, while not connected. */
  readonly nextTry: number | undefined;
  /** Why the last stream ended or could not be opened; undefined: none has. */
  readonly lastError: string | undefined;
  readonly synced: boolean;
  readonly types: readonly AdsTypeStatus[];
}

export interface AdsTypeStatus {
  readonly typeUrl: string;
  /** Resources that are in force. */
  readonly resources: number;
  /** When a push of this type was last taken in whole. */
  readonly lastPush: number | undefined;
  /** What was last refused, as the control plane was told; gone with the next push that is accepted. */
  readonly refused: { readonly at: number; readonly error: string } | undefined;
}

export class AdsClient {
  constructor(_options: AdsOptions) {}

  /** Connects, and keeps connected until `close`. */
  start(): void {
    throw new Error("not there yet");
  }

  /** Settles when one push of each expected type has been accepted. Never rejects. */
  get synced(): Promise<void> {
    throw new Error("not there yet");
  }

  /**
   * Asks for one name of an on-demand type. Resolves when the answer to it is in force, be it that there is none; there is no
   * deadline. Whoever asked for the same name before is let go unanswered.
   */
  demand(_typeUrl: string, _name: string): Promise<void> {
    throw new Error("not there yet");
  }

  /** Adds names to what is asked for of a type by names; no answer is waited for. */
  subscribe(_typeUrl: string, _names: Iterable<string>): void {
    throw new Error("not there yet");
  }

  /** Takes names back. What of them is in force stays so, and is no longer kept up to date. */
  unsubscribe(_typeUrl: string, _names: Iterable<string>): void {
    throw new Error("not there yet");
  }

  status(): AdsStatus {
    throw new Error("not there yet");
  }

  /** Ends the stream and all that waits; what is in force stays. */
  close(): void {}
}
