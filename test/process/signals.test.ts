/** Stop signals, heard by a process of their own. */
import { expect, test } from "bun:test";
import process from "node:process";
import { fileURLToPath } from "node:url";

const HEARER = fileURLToPath(new URL("./signal_hearer.ts", import.meta.url));

/** Starts the hearer; each signal is sent when it has heard the one before. @returns its lines, and how it ended */
async function send(impatient: boolean, signals: readonly ("SIGTERM" | "SIGINT")[]) {
  const child = Bun.spawn([process.execPath, HEARER, impatient ? "impatient" : "patient"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const heard: string[] = [];
  let text = "";
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  const line = async () => {
    while (!text.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) return false;
      text += decoder.decode(value, { stream: true });
    }
    heard.push(text.slice(0, text.indexOf("\n")));
    text = text.slice(text.indexOf("\n") + 1);
    return true;
  };
  await line();
  for (const signal of signals) {
    child.kill(signal);
    if (!await line()) break;
  }
  const running = child.exitCode === null && child.signalCode === null && signals.length === heard.length - 1;
  child.kill("SIGKILL");
  await child.exited;
  return { heard: heard.slice(1), ended: running ? "not" : child.exitCode };
}

test.each<[impatient: boolean, signals: ("SIGTERM" | "SIGINT")[], ended: "not" | number]>([
  [false, ["SIGTERM"], "not"],
  [false, ["SIGINT"], "not"],
  [false, ["SIGTERM", "SIGTERM", "SIGTERM"], "not"],
  [false, ["SIGTERM", "SIGINT"], "not"],
  [false, ["SIGINT", "SIGINT"], 0],
  [true, ["SIGTERM", "SIGTERM"], 0],
  [true, ["SIGTERM", "SIGINT"], 0],
  [true, ["SIGINT", "SIGTERM"], 0],
])("impatient: %p, %p: ended %p", async (impatient, signals, ended) => {
  const outcome = await send(impatient, signals);
  expect(outcome.ended).toBe(ended);
  // Whatever does not end the process asks for a stop, as often as it comes: whoever stops does so once.
  expect(outcome.heard).toEqual(signals.slice(0, ended === "not" ? undefined : -1).map(() => "stop"));
});
