/** `ambient wait`: until a process is ready, as postStart hooks and scripts want it. */
import { unanswered } from "./ask.ts";
import type { WaitFlags } from "./command.ts";

export interface WaitOutput {
  /** 0: ready; 1: not within the time. */
  readonly exitCode: 0 | 1;
  readonly stdout: string;
  readonly stderr: string;
}

/** Most of an answer that is repeated in an error, characters. */
const SHOWN = 200;

/** Asks until the answer is 200 or no time is left to ask again; then says what the last answer was. */
export async function runWait(flags: WaitFlags): Promise<WaitOutput> {
  const { url, timeout, requestTimeout, period } = flags;
  const start = performance.now();
  for (;;) {
    // Not cut short by what is left: the last answer is what somebody will read.
    const problem = await ask(url, requestTimeout);
    if (problem === undefined) return { exitCode: 0, stdout: "ready\n", stderr: "" };
    if (performance.now() - start + period >= timeout) {
      return { exitCode: 1, stdout: "", stderr: `not ready within ${timeout / 1000} s: ${url}: ${problem}\n` };
    }
    await Bun.sleep(period);
  }
}

/** Why it is not ready; undefined: it is. */
async function ask(url: string, timeout: number): Promise<string | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeout), redirect: "manual" });
    const text = (await response.text()).trim();
    if (response.status === 200) return undefined;
    return `answered ${response.status}${text === "" ? "" : ` (${text.slice(0, SHOWN)})`}`;
  } catch (error) {
    return unanswered(error as Error, timeout);
  }
}
