/** Five thousand rules: read in a child, without holding up this process and without filling it. */
import { expect, test } from "bun:test";
import { parseLocalFiles } from "../../src/config/mod.ts";
import { packedLines } from "../../src/config/packed.ts";
import { GATEWAY, MESH, nameOf, OPTIONS, route } from "../waypoint/local/fixture.ts";

const RULES = 5000;
const RULES_OF_A_ROUTE = 16;
const LOAD_TIME = 30_000; // ms; 3 s on a quiet machine of two cores
const LINE = 500_000; // characters: some 5 ms to read

function rule(i: number): string {
  const type = i % 3 === 0 ? "Exact" : "PathPrefix";
  return `{matches: [{path: {type: ${type}, value: /api/${i}}, headers: [{name: x-team, value: t${i % 50}}]}], ` +
    `filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-route, value: "${i}"}]}}], ` +
    "backendRefs: [{name: web, port: 80}]}";
}

test("five thousand rules on one service", async () => {
  const parent = '{group: "", kind: Service, name: web, port: 80}';
  const routes: string[] = [];
  for (let i = 0; i < RULES; i += RULES_OF_A_ROUTE) {
    const rules = Array.from({ length: Math.min(RULES_OF_A_ROUTE, RULES - i) }, (_, j) => rule(i + j));
    routes.push(route(`[${rules.join(",\n  ")}]`, { name: `r${i}`, parent }));
  }
  const text = [MESH, GATEWAY, ...routes].join("\n---\n");

  const begin = performance.now();
  const result = await parseLocalFiles([{ path: "large.yaml", text }], { waypoint: OPTIONS });
  const took = performance.now() - begin;

  if (!result.ok) throw new Error(JSON.stringify(result.errors.slice(0, 3)));
  const chain = result.waypoint?.chains[nameOf("web", 80)];
  if (chain?.kind !== "http") throw new Error("no chain");
  const list = chain.routes.virtualHosts[0]!.routes;
  expect(list).toHaveLength(RULES);
  const exact = list.filter(({ match }) => match.path.kind === "exact").length;
  expect(list.slice(0, exact).every(({ match }) => match.path.kind === "exact")).toBe(true);
  expect(list[0]!.responseHeaders).toBe(list[1]!.responseHeaders);
  expect(took).toBeLessThan(LOAD_TIME);
  // What is done in one go is bounded; the time of it would measure the machine.
  const lines = [...packedLines(result)].map(({ length }) => length);
  expect(Math.max(...lines)).toBeLessThan(LINE);
}, 60_000);
