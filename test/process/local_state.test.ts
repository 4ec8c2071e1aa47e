import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadOptions, LocalSource } from "../../src/config/mod.ts";
import { followLocalState } from "../../src/process/mod.ts";
import { exposition } from "../../src/telemetry/exposition.ts";
import { MetricRegistry } from "../../src/telemetry/mod.ts";
import { keptLogger } from "../telemetry/lines.ts";
import { GATEWAY, MESH, object, OPTIONS, route } from "../waypoint/local/fixture.ts";

const DEADLINE = 30_000; // ms

let directory: string;
let source: LocalSource | undefined;
let kept: ReturnType<typeof keptLogger>;
let registry: MetricRegistry;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "state-"));
  kept = keptLogger();
  registry = new MetricRegistry();
});
afterEach(() => {
  source?.close();
  rmSync(directory, { recursive: true });
});

const POLICY = object(
  "security.istio.io/v1",
  "AuthorizationPolicy",
  "{targetRefs: [{kind: Service, name: web}], rules: [{}]}",
);

/** Another waypoint of the same folder. */
function second(name: string): string {
  return GATEWAY.replace("name: wp,", `name: ${name},`);
}

function write(name: string, ...texts: readonly string[]): void {
  writeFileSync(join(directory, name), texts.join("\n---\n"));
}

async function follow(path = directory, options: LoadOptions = { waypoint: OPTIONS }): Promise<void> {
  const scope = kept.logger.scope("state");
  source = await followLocalState({ kind: "file", path }, options, scope, registry, { replace: () => [] });
}

/** The fields of the first line from now on that says it. */
async function said(text: string): Promise<string> {
  const late = Date.now() + DEADLINE;
  const heard: string[] = [];
  for (;;) {
    heard.push(...kept.lines());
    const line = heard.find((line) => line.includes(text));
    if (line !== undefined) return line.split("\t").at(-1) as string;
    if (Date.now() > late) throw new Error(`not said: ${text} in ${heard.join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function metric(name: string): number {
  const line = [...exposition(registry)].join("").split("\n").find((line) => line.startsWith(`${name} `));
  return Number(line?.split(" ")[1]);
}

test("what a good state holds: for a waypoint what it serves, for a ztunnel the mesh", async () => {
  write("a.yaml", MESH, GATEWAY);
  write("b.yaml", POLICY, route("[{}]"), route("[{}]", { kind: "GRPCRoute", name: "g" }));
  await follow();
  expect(await said("local state loaded")).toBe("gateway=shop/wp services=2 routes=2 policies=1");
  source?.close();
  registry = new MetricRegistry();
  await follow(directory, {});
  expect(await said("local state loaded")).toBe("workloads=4 services=4 policies=0");
});

test("refusals are counted, and the time of the last good state stays", async () => {
  write("a.yaml", MESH, GATEWAY);
  const start = Date.now() / 1000;
  await follow();
  const loaded = metric("ambient_local_state_last_good_timestamp_seconds");
  expect(loaded).toBeGreaterThanOrEqual(start);
  expect(metric("ambient_local_state_refused_total")).toBe(0);
  write("b.yaml", "workload: []");
  expect(await said("local state refused")).toBe(
    `at=${directory}/b.yaml:1:1 error="workload: no such field here: did you mean workloads?"`,
  );
  expect(metric("ambient_local_state_refused_total")).toBe(1);
  expect(metric("ambient_local_state_last_good_timestamp_seconds")).toBe(loaded);
});

test("the Gateway that serves stays ours: others that come do not matter, and its end is refused", async () => {
  write("a.yaml", MESH, GATEWAY);
  await follow();
  write("b.yaml", second("other"));
  expect(await said("local state loaded")).toStartWith("gateway=shop/wp ");
  write("a.yaml", MESH);
  expect(await said("local state refused")).toBe(
    'error="Gateway shop/wp is no longer there; the last good state stays"',
  );
  write("a.yaml", MESH, GATEWAY);
  expect(await said("local state loaded")).toStartWith("gateway=shop/wp ");
});

test("at the start a place that is none is not invented", async () => {
  const path = join(directory, "nothere");
  await expect(follow(path)).rejects.toThrow(`${path}: no such file or folder (--config)`);
  registry = new MetricRegistry();
  write("a.yaml", MESH);
  await expect(follow()).rejects.toThrow(/^--config: waypoint mode needs a Gateway/);
});
