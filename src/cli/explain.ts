import type { Explanation } from "../explain/mod.ts";
import { explanationText } from "../explain/text.ts";
import type { ExplainFlags } from "./command.ts";

/** Time for an answer, ms. */
const ANSWER_TIMEOUT_MS = 10_000;

export interface ExplainOutput {
  readonly exitCode: 0 | 1;
  readonly stdout: string;
  readonly stderr: string;
}

/** Asks a running process's admin port what would become of a connection. */
export async function runExplain(flags: ExplainFlags): Promise<ExplainOutput> {
  const { source, destination, admin, json } = flags;
  const url = `http://${admin}/debug/explain?src=${encodeURIComponent(source)}&dst=${encodeURIComponent(destination)}`;
  let response: Response;
  let body: string;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    body = await response.text();
  } catch (error) {
    return failure(`no answer from ${admin}: ${(error as Error).message}`);
  }
  if (!response.ok) return failure(response.status === 404 ? `${admin} cannot explain: not a ztunnel` : body.trim());
  if (json) return { exitCode: 0, stdout: body, stderr: "" };
  return { exitCode: 0, stdout: explanationText(JSON.parse(body) as Explanation), stderr: "" };
}

function failure(text: string): ExplainOutput {
  return { exitCode: 1, stdout: "", stderr: `${text}\n` };
}
