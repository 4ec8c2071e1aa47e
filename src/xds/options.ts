import type { GrpcChannel } from "../grpc/mod.ts";
import type { LogScope, XdsMetrics } from "../telemetry/mod.ts";
import type { AdsClock } from "./clock.ts";
import type { XdsNode } from "./delta_request.ts";
import type { ResourceType } from "./resource_type.ts";

/** What the client of the control plane is made of. */
export interface AdsOptions {
  readonly channel: Pick<GrpcChannel, "stream" | "renew">;
  readonly node: XdsNode;
  /** In the order in which they are asked for. */
  readonly types: readonly ResourceType[];
  readonly log: LogScope;
  readonly metrics: XdsMetrics;
  /** The control plane has answered on a new stream: it can be reached, perhaps again. */
  readonly onConnected?: () => void;
  readonly clock?: AdsClock;
  /** How long a push may hold the event loop at a time; ms, default 0.3. */
  readonly sliceMs?: number;
}
