/**
 * All of the project's tests, as `npm test`: build, checks, unit suites, then the lab suites with the built executable in
 * network namespaces. It installs from Debian what is missing where it may (root), and does without where it may not.
 *
 *     npm test                  everything; ends with the line `N passed, N failed`
 *     npm test -- lab/security  only test files whose path contains one of the words
 */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { installEnvoy } from "./interop/envoy/mod.ts";
import { inspectHost, installPrograms } from "./lab/topology/mod.ts";

/** Longest run of one test file or step, milliseconds. */
const FILE_DEADLINE_MS = 10 * 60_000;
/** Deadline of a test that names none, milliseconds: the machine may be busy. */
const TEST_DEADLINE_MS = 60_000;
/** Suites with the built executable in network namespaces. */
const LAB_FOLDERS = ["lab", "conformance", "interop"];
/** What suites use if it is there: redirection, foreign certificates, an agent in Python. */
const PROGRAMS = ["ip", "nft", "nsenter", "openssl", "curl", "tcpdump", "python3", "nginx"];

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

interface Report extends Count {
  /** Names of skipped tests, after their group's and before the reason, where those are told. */
  readonly skips: readonly string[];
}

const SKIPPED_CASE = /<testcase name="([^"]*)" classname="([^"]*)"[^>]*>\s*<skipped(?: message="([^"]*)")?/g;
const XML_ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

const root = dirname(import.meta.dir);
const words = process.argv.slice(2);
const total: Count = { passed: 0, failed: 0, skipped: 0 };
const summary: string[] = [];

function note(label: string, count: Count, seconds: number): void {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
  const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
  summary.push(`${label}: ${count.passed} passed, ${count.failed} failed${skipped} (${seconds.toFixed(0)} s)`);
}

/** Runs a program to its end, its output to a file if that is given. @returns its exit status */
async function run(command: readonly string[], output?: number): Promise<number> {
  const to = output ?? "inherit";
  const child = Bun.spawn([...command], { cwd: root, stdio: ["ignore", to, to] });
  const timer = setTimeout(() => child.kill("SIGKILL"), FILE_DEADLINE_MS);
  const onTerminate = () => child.kill("SIGTERM");
  process.on("SIGTERM", onTerminate);
  const code = await child.exited;
  process.off("SIGTERM", onTerminate);
  clearTimeout(timer);
  return code;
}

/** A program that is itself a test: it passes by ending with 0. */
async function step(label: string, command: readonly string[]): Promise<boolean> {
  const start = performance.now();
  const ok = await run(command) === 0;
  note(label, { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }, (performance.now() - start) / 1000);
  return ok;
}

/**
 * Runs test files, each in a process of its own: what one of them breaks (a crash, a hang, a leak) is its own failure.
 * Counts come from JUnit reports; a file without one has failed.
 */
async function suites(label: string, files: readonly string[], wrapper: readonly string[] = []): Promise<void> {
  if (files.length === 0) return;
  const start = performance.now();
  const sum: Count = { passed: 0, failed: 0, skipped: 0 };
  const directory = mkdtempSync(join(tmpdir(), "ambient-test-"));
  const report = join(directory, "report.xml");
  const output = join(directory, "output");
  const options = [
    "--only-failures",
    `--timeout=${TEST_DEADLINE_MS}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ];
  for (const file of files) {
    rmSync(report, { force: true });
    const fileStart = performance.now();
    const written = openSync(output, "w");
    const code = await run([...wrapper, process.execPath, "test", ...options, `./${file}`], written);
    closeSync(written);
    const count = readReport(report);
    // Errors outside of tests (a module that does not load) are in the status only.
    if (code !== 0 && count.failed === 0) count.failed = 1;
    tell(file, count, (performance.now() - fileStart) / 1000, readFileSync(output, "utf8"));
    sum.passed += count.passed;
    sum.failed += count.failed;
    sum.skipped += count.skipped;
  }
  rmSync(directory, { recursive: true, force: true });
  note(label, sum, (performance.now() - start) / 1000);
}

/** One line of a file that passed; of others all they said, after their name. */
function tell(file: string, { passed, failed, skipped, skips }: Report, seconds: number, output: string): void {
  if (failed === 0 && skipped === 0) {
    console.log(`ok  ${file}  ${passed} passed  ${seconds.toFixed(1)} s`);
    return;
  }
  const word = failed > 0 ? "FAIL" : "ok";
  const counts = [`${passed} passed`];
  if (failed > 0) counts.push(`${failed} failed`);
  if (skipped > 0) counts.push(`${skipped} skipped`);
  console.log(`${word}  ${file}  ${counts.join(", ")}  ${seconds.toFixed(1)} s`);
  for (const skip of skips) console.log(`    skipped: ${skip}`);
  if (failed > 0) console.log(output.trimEnd());
}

function readReport(path: string): Report {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return { passed: 0, failed: 1, skipped: 0, skips: [] };
  }
  const head = /<testsuites [^>]*>/.exec(text)?.[0] ?? "";
  const number = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skipped = number("skipped");
  const skips = [...text.matchAll(SKIPPED_CASE)].map(([, name = "", group = "", reason = ""]) =>
    [group, name, reason].filter((part) => part !== "").map(unescapeXml).join(" > ")
  );
  return { passed: number("tests") - failed - skipped, failed, skipped, skips };
}

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|(\w+));/g, (entity, code?: string, name = "") => {
    return code === undefined ? XML_ENTITIES[name] ?? entity : String.fromCodePoint(Number(code));
  });
}

function testFiles(directory: string): string[] {
  const files: string[] = [];
  for (const entry of readdirSync(join(root, directory), { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".test.ts")) continue;
    const path = join(entry.parentPath, entry.name).slice(root.length + 1);
    if (words.length === 0 || words.some((word) => path.includes(word))) files.push(path);
  }
  return files.sort();
}

const missing = installPrograms(PROGRAMS);
if (missing.length > 0) console.log(`not installed here: ${missing.join(", ")}`);
const host = inspectHost();
if (host.kind === "unavailable") console.log(`no network namespaces here: ${host.reason}`);

const compiled = await step("compile", [process.execPath, "compile/compile.ts"]);
if (words.length === 0) await step("types, lint, format", [process.execPath, "compile/check.ts"]);
const all = testFiles("test");
const inLab = (file: string) => LAB_FOLDERS.some((folder) => file.startsWith(`test/${folder}/`));
await suites("unit suites", all.filter((file) => !inLab(file)));
const lab = all.filter(inLab);
// Here and not in the suites: the user namespace that they may get has no network.
if (lab.some((file) => file.startsWith("test/interop/"))) installEnvoy();
if (!compiled) console.log("the lab suites need the executable: not run");
else await suites("lab suites", lab, host.kind === "wants user namespace" ? host.command : []);

console.log(`\n${summary.join("\n")}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
