import { Hono } from "hono/tiny";
import { exposition, type MetricRegistry } from "../telemetry/mod.ts";
import { compress, preferredEncoding } from "./compression.ts";
import { streamed } from "./streamed.ts";

const OPEN_METRICS = "application/openmetrics-text";

function contentType(accept: string): string {
  const wanted = accept.split(",").some((item) => (item.split(";")[0] as string).toLowerCase() === OPEN_METRICS);
  return wanted ? `${OPEN_METRICS};charset=utf-8;version=1.0.0` : "text/plain; charset=utf-8";
}

/** What the stats port answers: metrics, to any method. */
export function statsApp(registry: MetricRegistry): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
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
  app.notFound(() => new Response(null, { status: 404 }));
  return (request) => app.fetch(request);
}
