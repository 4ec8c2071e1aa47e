import { chmod, mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import process from "node:process";
import { embeddedApart, findApart } from "./apart.ts";
import { collectLicenses } from "./licenses.ts";

export interface ExecutableOptions {
  /** Repository. */
  readonly root: string;
  /** Entry point. */
  readonly entry: string;
  readonly outfile: string;
  readonly version: string;
  readonly gitRevision: string;
}

export interface Executable {
  readonly outfile: string;
  readonly bytes: number;
  /** Modules that are files of their own inside. */
  readonly apart: readonly string[];
}

/** Gives src/cli/licenses.ts its text. */
function embeddedLicenses(text: string): Bun.BunPlugin {
  return {
    name: "embedded-licenses",
    setup(build) {
      build.onResolve({ filter: /^ambient:licenses$/ }, ({ path }) => ({ path, namespace: "ambient" }));
      build.onLoad({ filter: /./, namespace: "ambient" }, () => ({ contents: text, loader: "text" }));
    },
  };
}

/**
 * Builds one executable with everything inside: code, Workers and other modules apart, licences, version. Throws with the bundler's messages.
 * The file appears under its name only when it is complete.
 */
export async function buildExecutable(options: ExecutableOptions): Promise<Executable> {
  const { root, outfile } = options;
  const apart = await findApart(root);
  const common: Bun.BuildConfig = {
    root,
    entrypoints: [options.entry, ...apart.map((module) => join(root, module))],
    target: "bun",
    // What is imported only when it is needed is a file of its own inside: a process pays, in functions made at start and
    // in pages read, for what it uses. Nearly 3 MB of ztunnel mode's idle memory.
    splitting: true,
    sourcemap: "inline",
    define: { AMBIENT_BUILD: JSON.stringify({ version: options.version, gitRevision: options.gitRevision }) },
  };

  // Which packages are bundled is known only after bundling: a first pass, in memory, tells.
  const draft = await Bun.build({ ...common, metafile: true, plugins: [embeddedLicenses("")] });
  const inputs = Object.keys(draft.metafile?.inputs ?? {}).map((path) => relativeTo(root, path));
  const licenses = collectLicenses(root, inputs);

  await mkdir(dirname(outfile), { recursive: true });
  // The bundler leaves by-products beside its outfile: a directory of its own, on the same file system for the rename.
  const scratch = await mkdtemp(join(dirname(outfile), ".build-"));
  const partial = join(scratch, basename(outfile));
  try {
    await Bun.build({
      ...common,
      // Start in 11 ms instead of 15, same memory. Minifying on top gains nothing and takes the names out of profiles.
      bytecode: true,
      format: "esm",
      plugins: [embeddedLicenses(licenses), embeddedApart(root, apart)],
      compile: {
        outfile: partial,
        // A file in the working directory must not change what a proxy does.
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
      },
    });
    await chmod(partial, 0o755);
    await rename(partial, outfile);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { outfile, bytes: (await stat(outfile)).size, apart };
}

/** The bundler names its inputs relative to the working directory. */
function relativeTo(root: string, input: string): string {
  return relative(root, isAbsolute(input) ? input : join(process.cwd(), input));
}
