/** The kinds of objects in Kubernetes' shape that local state may hold. Types are free; the schemas load zod. */
import type { DocumentError } from "../local_document.ts";
import type { DestinationRule } from "./destination_rule.ts";
import type { Gateway, ReferenceGrant } from "./gateway.ts";
import type { AuthorizationPolicyYaml, PeerAuthenticationYaml } from "./policy.ts";
import type { GrpcRoute, HttpRoute, TcpRoute } from "./route.ts";
import type { TelemetryYaml } from "./telemetry.ts";

export type * from "./destination_rule.ts";
export type * from "./gateway.ts";
export type * from "./policy.ts";
export type * from "./route.ts";
export type * from "./route_filter.ts";
export type * from "./telemetry.ts";
export type { TargetRef } from "./common.ts";

/** What a validated object of each kind is. */
export interface Kinds {
  readonly Gateway: Gateway;
  readonly ReferenceGrant: ReferenceGrant;
  readonly HTTPRoute: HttpRoute;
  readonly GRPCRoute: GrpcRoute;
  readonly TCPRoute: TcpRoute;
  readonly DestinationRule: DestinationRule;
  readonly AuthorizationPolicy: AuthorizationPolicyYaml;
  readonly PeerAuthentication: PeerAuthenticationYaml;
  readonly Telemetry: TelemetryYaml;
}

export type Kind = keyof Kinds;

/** Path of a value inside an object, e.g. `["spec", "rules", 3]`. */
export type ValuePath = readonly (string | number)[];

/** Where an object was written. */
export interface Origin {
  /** A message about the value at a path inside the object, or about the nearest part that is there. */
  error(path: ValuePath, message: string): DocumentError;
}

/** A validated object with its namespace filled in. */
export interface LocalObject<K extends Kind = Kind> {
  readonly kind: K;
  readonly namespace: string;
  /** The object names none. */
  readonly namespaceAssumed: boolean;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** ms since 1970; absent: youngest of all. */
  readonly created: number;
  readonly spec: Kinds[K]["spec"];
  readonly origin: Origin;
}

/** All objects, by kind, in the order of reading. */
export type LocalObjects = { readonly [K in Kind]: readonly LocalObject<K>[] };
