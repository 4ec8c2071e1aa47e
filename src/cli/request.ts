/** `ambient request METHOD PATH [BODY]`: the admin port of a running process, where an image has no curl. */
import { unanswered } from "./ask.ts";
import type { RequestFlags } from "./command.ts";

/** Time for an answer, ms: a profile takes as long as it is asked for. */
const ANSWER_TIMEOUT_MS = 60_000;

export interface RequestOutput {
  /** 0: an answer of 2xx; 1: another one, or none. */
  readonly exitCode: 0 | 1;
  readonly stdout: string;
  readonly stderr: string;
}

/** Asks once; what is answered goes to standard output, whatever its status. */
export async function runRequest(flags: RequestFlags, timeout: number = ANSWER_TIMEOUT_MS): Promise<RequestOutput> {
  const { method, path, body, admin } = flags;
  try {
    const response = await fetch(`http://${admin}${path}`, {
      method,
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(timeout),
      redirect: "manual",
    });
    const stdout = await response.text();
    if (response.ok) return { exitCode: 0, stdout, stderr: "" };
    return { exitCode: 1, stdout, stderr: `${method} ${path}: ${admin} answered ${response.status}\n` };
  } catch (error) {
    const elsewhere = " (--admin HOST:PORT says where the admin port is)";
    const reason = unanswered(error as Error, timeout, elsewhere);
    return { exitCode: 1, stdout: "", stderr: `no answer from ${admin}: ${reason}\n` };
  }
}
