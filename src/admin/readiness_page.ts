import type { Readiness } from "../telemetry/mod.ts";
import { textResponse } from "./text_response.ts";

/** Answers `/healthz/ready`, with `pendingStatus` while something is missing. Plain code: a kubelet asks every few seconds, and an idle node should not load a router for that. */
export function readinessPage(readiness: Readiness, pendingStatus: 500 | 503): (request: Request) => Response {
  return (request) => {
    if (new URL(request.url).pathname !== "/healthz/ready") return new Response(null, { status: 404 });
    if (request.method !== "GET") return textResponse(405, "Invalid HTTP method\n");
    if (readiness.ready) return textResponse(200, "ready\n");
    return textResponse(pendingStatus, `not ready, pending: ${readiness.pending.join(", ")}\n`);
  };
}
