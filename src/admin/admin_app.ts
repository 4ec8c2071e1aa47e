import { Hono } from "hono/tiny";
import { dashboardPage } from "./dashboard.ts";
import { answerLogging } from "./logging.ts";
import type { AdminOptions } from "./options.ts";
import { sortedJson } from "./sorted_json.ts";
import { streamed } from "./streamed.ts";
import { textResponse } from "./text_response.ts";

const JSON_HEADERS = { "content-type": "application/json" };

/** What the admin port answers. */
export function adminApp(options: AdminOptions): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
  app.all("/", (context) => context.html(dashboardPage(options.mode, options.build)));
  app.all("/config_dump", async (context) => {
    const dump = { ...await options.configDump(), version: options.build };
    return context.body(streamed(sortedJson(dump)), 200, JSON_HEADERS);
  });
  app.all("/logging", (context) => {
    const { status, text } = answerLogging(options.logger, context.req.method, new URL(context.req.url).searchParams);
    return textResponse(status, text);
  });
  app.all("/version", (context) => context.body(streamed(sortedJson(options.build)), 200, JSON_HEADERS));
  app.post("/quitquitquit", () => {
    // The answer must be on its way before the listeners close.
    setTimeout(options.shutdown, 0);
    return textResponse(200, "shutdown now\n");
  });
  app.all("/quitquitquit", () => textResponse(405, "Invalid HTTP method\n"));
  app.notFound(() => new Response(null, { status: 404 }));
  app.onError((error) => textResponse(500, `${error.message}\n`));
  return (request) => app.fetch(request);
}
