import { Buffer } from "node:buffer";
import { Hono } from "hono/tiny";
import { exposition, type MetricRegistry } from "../telemetry/mod.ts";
import { compress, preferredEncoding } from "./compression.ts";

const OPEN_METRICS = "application/openmetrics-text";
/** Milliseconds of work before other work is let in. */
const SLICE_MS = 4;

function contentType(accept: string): string {
  const wanted = accept.split(",").some((item) => (item.split(";")[0] as string).toLowerCase() === OPEN_METRICS);
  return wanted ? `${OPEN_METRICS};charset=utf-8;version=1.0.0` : "text/plain; charset=utf-8";
}

/** The whole exposition as bytes. The event loop gets its turn every few milliseconds, however many series there are. */
async function render(registry: MetricRegistry): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let started = performance.now();
  for (const piece of exposition(registry)) {
    pieces.push(Buffer.from(piece));
    if (performance.now() - started < SLICE_MS) continue;
    await new Promise((resume) => setImmediate(resume));
    started = performance.now();
  }
  return Buffer.concat(pieces);
}

/** What the stats port answers: metrics, to any method. */
export function statsApp(registry: MetricRegistry): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
  const answer = async (request: Request) => {
    const headers = new Headers({
      "content-type": contentType(request.headers.get("accept") ?? ""),
      "vary": "accept-encoding",
    });
    const body = await render(registry);
    const encoding = preferredEncoding(request.headers.get("accept-encoding") ?? "");
    if (encoding === "identity") return new Response(body, { headers });
    headers.set("content-encoding", encoding);
    return new Response(await compress(encoding, body), { headers });
  };
  app.all("/metrics", (context) => answer(context.req.raw));
  app.all("/stats/prometheus", (context) => answer(context.req.raw));
  app.notFound(() => new Response(null, { status: 404 }));
  return (request) => app.fetch(request);
}
