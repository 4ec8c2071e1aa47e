import { relative, resolve } from "node:path";

/**
 * Modules that are files of their own in the executable: Workers, and modules that are loaded only when they are needed
 * and whose code would cost every process memory if it were part of the rest. Their URL has only this form in our sources.
 */
const URL_OF_MODULE = /new URL\("(\.{1,2}\/[^"]+\.ts)",\s*import\.meta\.url\)/g;
/** What a source has that starts a Worker or loads a module apart. */
const MARKS = ["new Worker(", "require(Bun.fileURLToPath("];
/** Where an executable keeps its modules. */
const EMBEDDED_ROOT = "file:///$bunfs/root/";

function isMarked(source: string): boolean {
  return MARKS.some((mark) => source.includes(mark));
}

/** The modules apart of the sources under `root`, as paths relative to it. */
export async function findApart(root: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const path of new Bun.Glob("src/**/*.ts").scan({ cwd: root })) {
    const source = await Bun.file(resolve(root, path)).text();
    if (!isMarked(source)) continue;
    for (const [, target = ""] of source.matchAll(URL_OF_MODULE)) {
      found.add(relative(root, resolve(root, path, "..", target)));
    }
  }
  return [...found].sort();
}

/**
 * Every entry point becomes one file, so `import.meta.url` inside an executable is no longer that of the source file and
 * a module beside it would not be found. This gives such URLs the place where the executable has the module.
 */
export function embeddedApart(root: string, apart: readonly string[]): Bun.BunPlugin {
  return {
    name: "embedded-apart",
    setup(build) {
      build.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
        const source = await Bun.file(path).text();
        const contents = source.replace(URL_OF_MODULE, (whole, target: string) => {
          const module = relative(root, resolve(path, "..", target));
          return apart.includes(module) ? `new URL(${JSON.stringify(EMBEDDED_ROOT + module)})` : whole;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}
