/** The soak in short: the work and the changes of `npm run test:soak`, two rounds of them, judged in the same way. */
import { expect, test } from "bun:test";
import { soak } from "../soak/soak.ts";
import { judge } from "../soak/verdict.ts";
import { labSuite } from "./fixture.ts";
import { inspectHost } from "./topology/mod.ts";

const SOAK_MS = 400_000;

labSuite("a soak in short", () => {
  test("everybody is served while the mesh changes, and afterwards all is as before", async () => {
    const host = inspectHost();
    if (host.kind !== "available") throw new Error("a suite ran although the host has no namespaces");
    const said: string[] = [];
    const plan = { minutes: 0.5, seed: 1, pace: 1, json: undefined, log: undefined };
    const judgements = judge(await soak(plan, host.redirector, (text) => said.push(text)));
    const failed = judgements.filter(({ pass }) => !pass).map(({ what, because }) => `${what}: ${because}`);
    expect({ failed, said: failed.length === 0 ? [] : said }).toEqual({ failed: [], said: [] });
    expect(judgements.length).toBeGreaterThan(30);
  }, SOAK_MS);
});
