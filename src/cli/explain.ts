import type { Explanation } from "../explain/mod.ts";
import { explanationText } from "../explain/text.ts";
import { unanswered } from "./ask.ts";
import type { ExplainFlags } from "./command.ts";

/** Time for an answer, ms. */
const ANSWER_TIMEOUT_MS = 10_000;
const ELSEWHERE = " (--admin HOST:PORT says where the ztunnel's admin port is)";

export interface ExplainOutput {
  /** 0: allowed, or for somebody else to decide; 2: denied or refused; 1: no answer, or a question that has none. */
  readonly exitCode: 0 | 1 | 2;
  readonly stdout: string;
  readonly stderr: string;
}

/** Asks a running process's admin port what would become of a connection. */
export async function runExplain(flags: ExplainFlags, timeout: number = ANSWER_TIMEOUT_MS): Promise<ExplainOutput> {
  const { source, destination, admin, json } = flags;
  const url = `http://${admin}/debug/explain?src=${encodeURIComponent(source)}&dst=${encodeURIComponent(destination)}`;
  let status: number;
  let body: string;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeout), redirect: "manual" });
    status = response.status;
    body = await response.text();
  } catch (error) {
    return failure(`no answer from ${admin}: ${unanswered(error as Error, timeout, ELSEWHERE)}`);
  }
  if (status === 400) return failure(body.trim());
  if (status === 404) return failure(`${admin} cannot explain: not the admin port of a ztunnel`);
  const explanation = status === 200 ? readExplanation(body) : undefined;
  if (explanation === undefined) {
    return failure(`${admin} cannot explain: not the admin port of an ambient (it answered ${status})`);
  }
  const { outcome } = explanation.verdict;
  const exitCode = outcome === "denied" || outcome === "refused" ? 2 : 0;
  return { exitCode, stdout: json ? body : explanationText(explanation), stderr: "" };
}

function readExplanation(body: string): Explanation | undefined {
  try {
    const answer = JSON.parse(body) as Partial<Explanation> | null;
    return answer?.verdict === undefined || answer.hops === undefined ? undefined : answer as Explanation;
  } catch {
    return undefined;
  }
}

function failure(text: string): ExplainOutput {
  return { exitCode: 1, stdout: "", stderr: `${text}\n` };
}
