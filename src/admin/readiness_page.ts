import type { Readiness } from "../telemetry/mod.ts";
import { textResponse } from "./text_response.ts";

export const READINESS_PATH = "/healthz/ready";
/** Status while something is missing: as ztunnel has it, and as pilot-agent has it. */
export const ZTUNNEL_NOT_READY = 500;
export const WAYPOINT_NOT_READY = 503;

/** Answers `/healthz/ready`, with `pendingStatus` while something is missing. Plain code: a kubelet asks every few seconds, and an idle node should not load a router for that. */
export function readinessPage(readiness: Readiness, pendingStatus: 500 | 503): (request: Request) => Response {
  return (request) => {
    if (new URL(request.url).pathname !== READINESS_PATH) return new Response(null, { status: 404 });
    if (request.method !== "GET") return textResponse(405, "Invalid HTTP method\n");
    if (readiness.ready) return textResponse(200, "ready\n");
    return textResponse(pendingStatus, `not ready, pending: ${readiness.pending.join(", ")}\n`);
  };
}
