/** Programs that an image is made with: Debian's own, without a daemon. */
import { spawnSync } from "node:child_process";
import process from "node:process";

/** Debian packages by the program they bring. */
const PACKAGES: Readonly<Record<string, string>> = {
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  tar: "tar",
  umoci: "umoci",
};

const isRoot = process.getuid?.() === 0;

/** Runs a program to its end. @returns what it wrote to standard output @throws Error with what it said */
export function must(command: readonly [string, ...string[]], cwd?: string): string {
  const [program, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  if (error !== undefined) throw new Error(`${program}: ${error.message}`);
  if (status !== 0) throw new Error(`'${command.join(" ")}' ended with ${status}\n${stdout}${stderr}`.trimEnd());
  return stdout;
}

function has(program: string): boolean {
  return spawnSync("sh", ["-c", 'command -v "$0"', program], { stdio: "ignore" }).status === 0;
}

/** apt-get that asks nothing. */
export function aptGet(args: readonly string[], cwd?: string): string {
  return must(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", ...args], cwd);
}

/** Tries, and where that fails tries once more with fresh package lists, which only root may fetch. */
export function withPackageLists(attempt: () => void): void {
  try {
    attempt();
  } catch (error) {
    if (!isRoot) throw error;
    aptGet(["update"]);
    attempt();
  }
}

/** Installs what is missing, as root. @throws Error that names what is missing and the packages that have it */
export function requirePrograms(programs: readonly string[]): void {
  const missing = () => programs.filter((program) => !has(program));
  if (missing().length > 0 && isRoot && has("apt-get")) {
    const packages = missing().map((program) => PACKAGES[program] ?? program);
    withPackageLists(() => aptGet(["install", "-y", "--no-install-recommends", ...packages]));
  }
  const left = missing();
  if (left.length === 0) return;
  const packages = left.map((program) => PACKAGES[program] ?? program).join(" ");
  throw new Error(
    `an image needs ${
      left.join(", ")
    }, which this machine has not and could not install: apt-get install ${packages} as root`,
  );
}
