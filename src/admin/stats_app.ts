import { Hono } from "hono/tiny";
import { exposition } from "../telemetry/mod.ts";
import { compress, preferredEncoding } from "./compression.ts";
import type { AdminOptions } from "./options.ts";
import { READINESS_PATH, readinessPage, WAYPOINT_NOT_READY } from "./readiness_page.ts";
import { streamed } from "./streamed.ts";
import { textResponse } from "./text_response.ts";

const OPEN_METRICS = "application/openmetrics-text";

function contentType(accept: string): string {
  const wanted = accept.split(",").some((item) => (item.split(";")[0] as string).toLowerCase() === OPEN_METRICS);
  return wanted ? `${OPEN_METRICS};charset=utf-8;version=1.0.0` : "text/plain; charset=utf-8";
}

type Local = { Bindings: { local: boolean } };

/** What the stats port answers: metrics, to any method; in waypoint mode what pilot-agent's port does too. */
export function statsApp(
  { mode, readiness, registry, drain, quit }: Pick<AdminOptions, "mode" | "readiness" | "registry" | "drain" | "quit">,
): (request: Request, local: boolean) => Response | Promise<Response> {
  const app = new Hono<Local>();
  const answer = (request: Request) => {
    const headers = new Headers({
      "content-type": contentType(request.headers.get("accept") ?? ""),
      "vary": "accept-encoding",
    });
    const encoding = preferredEncoding(request.headers.get("accept-encoding") ?? "");
    if (encoding !== "identity") headers.set("content-encoding", encoding);
    return new Response(compress(encoding, streamed(exposition(registry))), { headers });
  };
  app.all("/metrics", (context) => answer(context.req.raw));
  app.all("/stats/prometheus", (context) => answer(context.req.raw));
  if (mode === "waypoint") {
    const page = readinessPage(readiness, WAYPOINT_NOT_READY);
    app.all(READINESS_PATH, (context) => page(context.req.raw));
  }
  /** Orders, which only the pod itself may give: the port is open to the cluster. */
  const order = (path: string, act: () => void) => {
    app.all(path, ({ req: { method }, env: { local } }) => {
      if (!local) return textResponse(403, "only from localhost\n");
      if (method !== "POST") return textResponse(405, "Invalid HTTP method\n");
      // The answer must be on its way before anything ends.
      setTimeout(act, 0);
      return textResponse(200, "OK\n");
    });
  };
  if (drain !== undefined) order("/drain", drain);
  if (quit !== undefined) order("/quitquitquit", quit);
  app.notFound(() => new Response(null, { status: 404 }));
  return (request, local) => app.fetch(request, { local });
}
