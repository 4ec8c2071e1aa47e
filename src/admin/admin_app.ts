import { Hono } from "hono/tiny";
import { dashboardPage, endpointsOf } from "./dashboard.ts";
import { eventLoopAnswer, explainAnswer, heapAnswer, profileAnswer } from "./debug_pages.ts";
import { answerLogging } from "./logging.ts";
import type { AdminOptions } from "./options.ts";
import { sortedJson } from "./sorted_json.ts";
import { streamed } from "./streamed.ts";
import { textResponse } from "./text_response.ts";

const JSON_HEADERS = { "content-type": "application/json" };

function queryOf(url: string): URLSearchParams {
  return new URL(url).searchParams;
}

/** What the admin port answers. */
export function adminApp(options: AdminOptions): (request: Request, wait: () => void) => Response | Promise<Response> {
  const app = new Hono<{ Bindings: { wait: () => void } }>();
  app.all("/", (context) => context.html(dashboardPage(options.mode, options.build, endpointsOf(options))));
  app.all("/config_dump", async (context) => {
    const dump = { ...await options.configDump(), version: options.build };
    return context.body(streamed(sortedJson(dump)), 200, JSON_HEADERS);
  });
  app.all("/logging", (context) => {
    const { status, text } = answerLogging(options.logger, context.req.method, queryOf(context.req.url));
    return textResponse(status, text);
  });
  app.all("/version", (context) => context.body(streamed(sortedJson(options.build)), 200, JSON_HEADERS));
  app.all("/debug/pprof/profile", (context) => profileAnswer(queryOf(context.req.url), context.env.wait));
  app.all("/debug/eventloop", (context) => eventLoopAnswer(queryOf(context.req.url), context.env.wait));
  app.all("/debug/pprof/heap", heapAnswer);
  app.all("/debug/pprof/heap/profiling", heapAnswer);
  const { controlPlane, dryRun, explain } = options;
  if (controlPlane !== undefined) {
    app.all("/debug/controlplane", (context) => context.body(streamed(sortedJson(controlPlane())), 200, JSON_HEADERS));
  }
  if (dryRun !== undefined) {
    app.all("/debug/dryrun", (context) => context.body(streamed(sortedJson(dryRun())), 200, JSON_HEADERS));
  }
  if (explain !== undefined) app.all("/debug/explain", (context) => explainAnswer(explain, queryOf(context.req.url)));
  app.post("/quitquitquit", () => {
    // The answer must be on its way before the listeners close.
    setTimeout(options.shutdown, 0);
    return textResponse(200, "shutdown now\n");
  });
  app.all("/quitquitquit", () => textResponse(405, "Invalid HTTP method\n"));
  app.notFound(() => new Response(null, { status: 404 }));
  app.onError((error) => textResponse(500, `${error.message}\n`));
  return (request, wait) => app.fetch(request, { wait });
}
