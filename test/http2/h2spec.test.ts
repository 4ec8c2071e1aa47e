/** h2spec itself against the codec on a plain socket. Without Go its cases still stand in the h2spec_* table tests. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { serve } from "./h2spec_server.ts";

const CACHE = join(import.meta.dir, "../../node_modules/.cache/go");
const BINARY = join(CACHE, "h2spec");
const MODULE = "github.com/summerwind/h2spec/cmd/h2spec@latest";
const INSTALL_TIMEOUT = 300_000; // ms: a cold module cache compiles for a minute
const RUN_TIMEOUT = 60_000; // ms

/** Cases that RFC 9113 has made obsolete, by "package/number" as h2spec numbers them. */
const OBSOLETE: Readonly<Record<string, string>> = {
  "http2/5.3.1/1": "RFC 9113 §5.3.2 deprecates priority signalling; self-dependency is no error any more",
  "http2/5.3.1/2": "RFC 9113 §5.3.2 deprecates priority signalling; self-dependency is no error any more",
};

interface CaseResult {
  readonly id: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

/** Reads h2spec's JUnit report. Test cases of one package are numbered in their order. */
function readReport(xml: string): CaseResult[] {
  const results: CaseResult[] = [];
  const numbers = new Map<string, number>();
  for (const match of xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)) {
    const [, group = "", name = "", body = ""] = match;
    const number = (numbers.get(group) ?? 0) + 1;
    numbers.set(group, number);
    const outcome = body.includes("<failure") || body.includes("<error")
      ? "failed"
      : body.includes("<skipped")
      ? "skipped"
      : "passed";
    results.push({ id: `${group}/${number}`, name, outcome });
  }
  return results;
}

/** Runs a command to its end; its output, and whether it ended by itself in time. */
async function run(command: string[], timeout: number, env: Record<string, string> = {}) {
  const child = Bun.spawn(command, {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
    timeout,
    killSignal: "SIGKILL",
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  return { exitCode: child.exitCode, text: out + err };
}

/** Installs h2spec unless that was done before. Why it cannot be run, or "". */
async function install(): Promise<string> {
  if (existsSync(BINARY)) return "";
  const go = Bun.which("go");
  if (go === null) return "Go is not on PATH";
  mkdirSync(CACHE, { recursive: true });
  const { exitCode, text } = await run([go, "install", MODULE], INSTALL_TIMEOUT, { GOBIN: CACHE });
  return exitCode === 0 ? "" : `go install failed: ${text.trim().split("\n").at(-1)}`;
}

const missing = await install();

test.skipIf(missing !== "")(
  missing === "" ? "h2spec passes" : `h2spec passes (not run: ${missing}; the h2spec_* table tests hold its cases)`,
  async () => {
    const listener = serve(0);
    const report = join(CACHE, `h2spec-${process.pid}.xml`);
    try {
      const command = [BINARY, "-h", "127.0.0.1", "-p", String(listener.port), "-o", "5", "-j", report];
      const { text } = await run(command, RUN_TIMEOUT);
      if (!existsSync(report)) throw new Error(`h2spec wrote no report:\n${text}`);
      const results = readReport(await Bun.file(report).text());
      expect(results.length).toBeGreaterThanOrEqual(145); // h2spec 2.6
      const notPassed = results.filter((result) => result.outcome !== "passed");
      expect(notPassed.filter((result) => OBSOLETE[result.id] === undefined)).toEqual([]);
      // An entry that passes is no longer needed and would hide a change.
      expect(notPassed.map((result) => result.id).sort()).toEqual(Object.keys(OBSOLETE).sort());
    } finally {
      listener.stop(true);
      if (existsSync(report)) await Bun.file(report).delete();
    }
  },
  RUN_TIMEOUT,
);
