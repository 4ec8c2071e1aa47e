import { relative, resolve } from "node:path";

/** How a Worker is started in our sources; the only form that this build understands. */
const WORKER_URL = /new URL\("(\.{1,2}\/[^"]+\.ts)",\s*import\.meta\.url\)/g;
/** Where an executable keeps its modules. */
const EMBEDDED_ROOT = "file:///$bunfs/root/";

/** The Worker entry points under `root`, as paths relative to it. */
export async function findWorkers(root: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const path of new Bun.Glob("src/**/*.ts").scan({ cwd: root })) {
    const source = await Bun.file(resolve(root, path)).text();
    if (!source.includes("new Worker(")) continue;
    for (const [, target = ""] of source.matchAll(WORKER_URL)) {
      found.add(relative(root, resolve(root, path, "..", target)));
    }
  }
  return [...found].sort();
}

/**
 * Every entry point becomes one file, so `import.meta.url` inside an executable is no longer that of the source file and
 * a Worker beside it would not be found. This gives such URLs the place where the executable has the Worker.
 */
export function embeddedWorkers(root: string, workers: readonly string[]): Bun.BunPlugin {
  return {
    name: "embedded-workers",
    setup(build) {
      build.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
        const source = await Bun.file(path).text();
        const contents = source.replace(WORKER_URL, (whole, target: string) => {
          const worker = relative(root, resolve(path, "..", target));
          return workers.includes(worker) ? `new URL(${JSON.stringify(EMBEDDED_ROOT + worker)})` : whole;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}
