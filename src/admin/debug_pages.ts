import type { AdminOptions } from "./options.ts";
import { compress } from "./compression.ts";
import { textResponse } from "./text_response.ts";

const NO_HEAP_PROFILES = "heap profiling is not supported: this process has a garbage-collected heap and no jemalloc\n";

/** `/debug/pprof/profile`: compressed with gzip, as pprof's files are. */
export async function profileAnswer(query: URLSearchParams, wait: () => void): Promise<Response> {
  const { readProfileRequest, takeCpuProfile } = await import("./cpu_profile.ts");
  const request = readProfileRequest(query);
  if (typeof request === "string") return textResponse(400, `${request}\n`);
  wait();
  let profile: Uint8Array | undefined;
  try {
    profile = await takeCpuProfile(request);
  } catch (error) {
    return textResponse(500, `this runtime takes no CPU profile: ${error instanceof Error ? error.message : error}\n`);
  }
  if (profile === undefined) return textResponse(409, "another CPU profile is being taken\n");
  const body = new Blob([new Uint8Array(profile)]).stream();
  return new Response(compress("gzip", body), {
    headers: {
      "content-type": "application/octet-stream",
      "content-disposition": 'attachment; filename="profile.pb.gz"',
    },
  });
}

/** Longest that the event loop is watched for one question, and how long unless told, s. */
const MOST_SECONDS = 300;
const SECONDS = "10";

/** `/debug/eventloop?seconds=10` */
export async function eventLoopAnswer(query: URLSearchParams, wait: () => void): Promise<Response> {
  const text = query.get("seconds") ?? SECONDS;
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > MOST_SECONDS) {
    return textResponse(400, `seconds must be a whole number from 1 to ${MOST_SECONDS}, not '${text}'\n`);
  }
  const { watchEventLoop } = await import("./event_loop.ts");
  wait();
  const report = await watchEventLoop(seconds);
  return new Response(`${JSON.stringify(report, undefined, 2)}\n`, { headers: { "content-type": "application/json" } });
}

/** `/debug/pprof/heap` and what switches it on: a 500 that says why there is none. */
export function heapAnswer(): Response {
  return textResponse(500, NO_HEAP_PROFILES);
}

/** `/debug/explain?src=…&dst=…` */
export async function explainAnswer(
  explain: NonNullable<AdminOptions["explain"]>,
  query: URLSearchParams,
): Promise<Response> {
  const [source, destination] = [query.get("src") ?? "", query.get("dst") ?? ""];
  if (source === "" || destination === "") {
    return textResponse(400, "who wants to reach what? Ask /debug/explain?src=SOURCE&dst=DESTINATION\n");
  }
  const answer = await explain(source, destination);
  if ("error" in answer) return textResponse(400, `${answer.error}\n`);
  return new Response(`${JSON.stringify(answer.explanation, undefined, 2)}\n`, {
    headers: { "content-type": "application/json" },
  });
}
