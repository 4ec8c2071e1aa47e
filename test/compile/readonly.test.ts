import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildExecutable } from "../../compile/executable.ts";

const REPOSITORY = dirname(dirname(import.meta.dir));
const MODULE_START_MS = 180_000;

let scratch: string;
let executable: string;
let root: string;

/** The loader and the libraries an executable names, as the system's loader finds them. */
function librariesOf(path: string): string[] {
  const { stdout } = spawnSync("ldd", [path], { encoding: "utf8" });
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library = ""]) => library);
}

/** Runs the executable where it is all there is beside the C library and /proc: root read-only, no /tmp, no /dev. */
function inReadOnlyRoot(...args: string[]) {
  // Ordinary users may have a PATH without chroot's directory.
  const script =
    'PATH="$PATH:/usr/sbin:/sbin"; mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount --rbind /proc "$0/proc" && ' +
    'exec chroot "$0" /ambient "$@"';
  return spawnSync("unshare", ["--map-root-user", "--mount", "sh", "-c", script, root, ...args], { encoding: "utf8" });
}

const namespaces = spawnSync("unshare", ["--map-root-user", "--mount", "true"]).status === 0;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "executable-"));
  executable = join(scratch, "ambient");
  await buildExecutable({
    root: REPOSITORY,
    entry: join(REPOSITORY, "mod.ts"),
    outfile: executable,
    version: "1.2.3",
    gitRevision: "0123456789abcdef",
  });
  root = join(scratch, "root");
  for (const library of librariesOf(executable)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    cpSync(library, join(root, library), { dereference: true });
  }
  mkdirSync(join(root, "proc"));
  copyFileSync(executable, join(root, "ambient"));
}, MODULE_START_MS);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.skipIf(!namespaces)("in a read-only root", () => {
  test("version says what was built", () => {
    const { status, stdout, stderr } = inReadOnlyRoot("version");
    expect(stderr).toBe("");
    expect(stdout).toBe(
      'version.BuildInfo{Version:"1.2.3", GitRevision:"0123456789abcdef", ' +
        `BunVersion:"${Bun.version}", BuildProfile:"release", BuildStatus:"Clean", IstioVersion:"unknown", ` +
        'CryptoProvider:"boringssl"}\n',
    );
    expect(status).toBe(0);
  });

  test("the licences are inside", () => {
    const { status, stdout } = inReadOnlyRoot("version", "--licenses");
    expect(status).toBe(0);
    expect(stdout).toStartWith("ambient\n\nApache License\n");
    const titles = [...stdout.matchAll(/^={100}\n(\S+) /gm)].map(([, name]) => name);
    expect(titles).toEqual(expect.arrayContaining(["Bun", "hono", "yaml", "@bufbuild/protobuf"]));
    expect(stdout).toContain("Copyright 2008 Google Inc.");
  });
});

test("it needs nothing but the C library", () => {
  const names = librariesOf(executable).map((library) => library.replace(/.*\//, "").replace(/\.so.*/, ""));
  expect(names.filter((name) => !/^(ld-linux.*|libc|libm|libpthread|libdl)$/.test(name))).toEqual([]);
});

test("files in the working directory change nothing", () => {
  const folder = join(scratch, "work");
  mkdirSync(folder);
  Bun.write(join(folder, ".env"), "ISTIO_META_ISTIO_VERSION=from-a-file\n");
  Bun.write(join(folder, "bunfig.toml"), 'preload = ["./absent.ts"]\n');
  const { stdout, status } = spawnSync(executable, ["version"], { cwd: folder, encoding: "utf8", env: {} });
  expect(stdout).toContain('IstioVersion:"unknown"');
  expect(status).toBe(0);
});

test("an unknown command is an error that names the help", () => {
  const { status, stdout, stderr } = spawnSync(executable, ["serve"], { encoding: "utf8" });
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toBe("unknown command: serve\nsee `ambient help`\n");
});
