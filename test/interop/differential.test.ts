/**
 * Two thousand requests to Envoy 1.40, configured as istiod configures a waypoint, and to our waypoint: what the client is
 * answered, what the application is sent and what the access log says are the same, or a rule says why not.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ALLOWED } from "./differential/allowed.ts";
import { CASES } from "./differential/cases/mod.ts";
import { type Difference, differences } from "./differential/comparison.ts";
import { type Case, type Observation, Rig } from "./differential/rig.ts";
import { CHAINS, CLUSTERS } from "./differential/scene.ts";
import { installEnvoy } from "./envoy/mod.ts";

/** Under way at a time. */
const AT_ONCE = 24;
/** Both logs are written within this, ms. */
const LOGGED_MS = 20_000;
const installed = installEnvoy();
const used = new Set<string>();

/** Differences that no rule is for. */
function unexplained(name: string, found: readonly Difference[]): readonly Difference[] {
  return found.filter(({ part }) => {
    const rule = ALLOWED.find(({ cases, parts }) => parts.includes(part) && cases.test(name));
    if (rule !== undefined) used.add(rule.why);
    return rule === undefined;
  });
}

function suite(): void {
  let rig: Rig;
  beforeAll(async () => {
    if (installed.kind !== "installed") throw new Error(installed.reason);
    rig = await Rig.start(CASES, installed.binary, CHAINS, CLUSTERS);
  }, 90_000);
  afterAll(() => {
    rig?.stop();
  });

  test("cases have names of their own, in the log too", () => {
    const names = CASES.map(({ name }) => name.replaceAll(" ", "_"));
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test(`${CASES.length} requests`, async () => {
    const seen: [Case, { ours: Observation; original: Observation }][] = [];
    let next = 0;
    const worker = async () => {
      for (let item = CASES[next++]; item !== undefined; item = CASES[next++]) {
        seen.push([item, await rig.observe(item)]);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await rig.logged(LOGGED_MS);
    const failures = seen.flatMap(([{ name }, { ours, original }]) =>
      unexplained(name, differences(ours, original)).map((difference) => ({ name, ...difference }))
    );
    expect(failures).toEqual([]);
  }, 180_000);

  test("each rule is needed", () => {
    expect(ALLOWED.map(({ why }) => why).filter((why) => !used.has(why))).toEqual([]);
  });
}

if (installed.kind === "installed") describe("against the original", suite);
else describe.skip(`against the original (${installed.reason})`, suite);
