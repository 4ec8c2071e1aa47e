/** Gateway and ReferenceGrant of the Gateway API. Loads zod. */
import { z } from "zod/v3";
import { issue, labels, object, objectName, port } from "./common.ts";

const allowedRoutes = z.object({
  namespaces: z.object({
    from: z.enum(["All", "Same", "Selector", "None"]).optional(),
    selector: z.unknown(),
  }).strict().optional(),
  kinds: z.array(z.object({ group: z.string().optional(), kind: z.string() }).strict()).optional(),
}).strict().describe("No effect here: which services use a waypoint is what the mesh document says");

/** Class of the Gateways that are waypoints. */
export const WAYPOINT_CLASS = "istio-waypoint";
/** Where a waypoint takes tunnels: Istio's own listener of a waypoint says the same. */
export const WAYPOINT_PORT = 15008;

const listener = z.object({
  name: z.string(),
  port,
  protocol: z.string(),
  hostname: z.string().optional(),
  tls: z.unknown(),
  allowedRoutes: allowedRoutes.optional(),
}).strict();

/** A waypoint; Gateways of other classes may be there and have no effect. */
export const gateway = object(
  ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
  "Gateway",
  z.object({
    gatewayClassName: z.string().describe("istio-waypoint"),
    listeners: z.array(listener).optional(),
    addresses: z.array(z.object({ type: z.string().optional(), value: z.string().optional() }).strict()).optional(),
    infrastructure: z.object({
      labels: labels.optional(),
      annotations: labels.optional(),
      parametersRef: z.unknown(),
    }).strict().optional(),
  }).strict().superRefine(({ gatewayClassName, listeners = [] }, context) => {
    if (gatewayClassName !== WAYPOINT_CLASS) return;
    const wanted = `a waypoint has one listener: {name: mesh, port: ${WAYPOINT_PORT}, protocol: HBONE}`;
    if (listeners.length === 0) issue(context, ["listeners"], wanted);
    for (const [i, { port, protocol }] of listeners.entries()) {
      if (i > 0) issue(context, ["listeners", i], wanted);
      else if (port !== WAYPOINT_PORT) issue(context, ["listeners", i, "port"], `${wanted}, not port ${port}`);
      else if (protocol !== "HBONE") issue(context, ["listeners", i, "protocol"], `${wanted}, not ${protocol}`);
    }
  }),
);

export const referenceGrant = object(
  [
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1beta1",
    "gateway.networking.k8s.io/v1alpha2",
  ],
  "ReferenceGrant",
  z.object({
    from: z.array(z.object({ group: z.string(), kind: z.string(), namespace: objectName }).strict()),
    to: z.array(z.object({ group: z.string(), kind: z.string(), name: z.string().optional() }).strict()),
  }).strict(),
);

export type Gateway = z.infer<typeof gateway>;
export type ReferenceGrant = z.infer<typeof referenceGrant>;
