/** Telemetry (telemetry.istio.io): access logs and changes of metrics. Loads zod. */
import { z } from "zod/v3";
import { issue, labels, later, object, targetRef } from "./common.ts";

const mode = z.enum(["CLIENT_AND_SERVER", "CLIENT", "SERVER"]).optional()
  .describe("A waypoint reports as the server: what is for CLIENT only has no effect here");

/** There is no mesh file that could define others. */
function providers(only: string) {
  return z.array(
    z.object({
      name: z.literal(only, { errorMap: () => ({ message: `the only provider in this version is ${only}` }) }),
    }).strict(),
  ).optional();
}

const METRICS = [
  "ALL_METRICS",
  "REQUEST_COUNT",
  "REQUEST_DURATION",
  "REQUEST_SIZE",
  "RESPONSE_SIZE",
  "TCP_OPENED_CONNECTIONS",
  "TCP_CLOSED_CONNECTIONS",
  "TCP_SENT_BYTES",
  "TCP_RECEIVED_BYTES",
  "GRPC_REQUEST_MESSAGES",
  "GRPC_RESPONSE_MESSAGES",
] as const;

const override = z.object({
  match: z.object({
    metric: z.enum(METRICS).optional(),
    customMetric: later("a custom metric"),
    mode,
  }).strict().optional(),
  disabled: z.boolean().optional(),
  tagOverrides: z.record(
    z.object({
      operation: z.enum(["UPSERT", "REMOVE"]).optional(),
      value: z.string().optional().describe("CEL over Envoy's attributes; what has no value is the label `unknown`"),
    }).strict()
      .superRefine(({ operation, value }, context) => {
        if ((operation ?? "UPSERT") === "UPSERT" && !value) issue(context, ["value"], "required to set a tag");
      }),
  ).optional(),
}).strict();

export const telemetry = object(
  ["telemetry.istio.io/v1", "telemetry.istio.io/v1alpha1"],
  "Telemetry",
  z.object({
    selector: z.object({ matchLabels: labels.optional() }).strict().optional()
      .describe("No effect on a waypoint, which is attached by targetRefs"),
    targetRef: targetRef.optional(),
    targetRefs: z.array(targetRef).optional(),
    tracing: later("tracing"),
    metrics: z.array(
      z.object({
        providers: providers("prometheus"),
        overrides: z.array(override).optional(),
        reportingInterval: later("a reporting interval"),
      }).strict(),
    ).optional(),
    accessLogging: z.array(
      z.object({
        match: z.object({ mode }).strict().optional(),
        providers: providers("envoy"),
        disabled: z.boolean().optional(),
        filter: z.object({
          expression: z.string().optional().describe(
            "CEL over Envoy's attributes: what is logged, e.g. response.code >= 400. A result that is not true, and an " +
              "error, logs nothing",
          ),
        }).strict().optional(),
      }).strict(),
    ).optional(),
  }).strict(),
);

export type TelemetryYaml = z.infer<typeof telemetry>;
export type MetricOverrideYaml = z.infer<typeof override>;
