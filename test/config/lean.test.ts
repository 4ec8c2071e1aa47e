/** What a process loads before it reads any file: the budget for an idle proxy has no room for parsers. */
import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HEAVY = ["zod/v3", "yaml", "zod-to-json-schema"];
const DOOR = fileURLToPath(new URL("../../src/config/mod.ts", import.meta.url));

/** Modules that a file loads as it is loaded itself, transitively; packages by name. */
async function loaded(entry: string): Promise<Set<string>> {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const seen = new Set<string>();
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    if (!path.startsWith("/")) continue;
    for (const { kind, path: target } of transpiler.scanImports(await Bun.file(path).text())) {
      if (kind === "import-statement") queue.push(target.startsWith(".") ? join(dirname(path), target) : target);
    }
  }
  return seen;
}

test("the door of config loads neither validator nor parser", async () => {
  const modules = await loaded(DOOR);
  for (const name of HEAVY) expect(modules).not.toContain(name);
  // What only the child needs is not even read here.
  const files = [...modules].map((name) => name.slice(name.lastIndexOf("/src/") + 1));
  for (
    const folder of ["src/config/objects/", "src/waypoint/", "src/config/local_parse.ts", "src/config/local_schema.ts"]
  ) {
    expect(files.filter((name) => name.startsWith(folder))).toEqual([]);
  }
});

test("reading a file does load them: the walk sees what there is to see", async () => {
  const modules = await loaded(join(dirname(DOOR), "local_parse.ts"));
  expect(modules).toContain("zod/v3");
  expect(modules).toContain("yaml");
});
