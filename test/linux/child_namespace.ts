import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { closeFd, openNamespace } from "../../src/linux/mod.ts";

/** A network namespace with its loopback up, kept by a process of its own; both are gone after release(). */
export interface ChildNamespace {
  /** The namespace's descriptor. */
  readonly fd: number;
  /** Runs a command inside and returns what it printed. Throws what it complained. */
  run(command: string, input?: string): string;
  release(): void;
}

const REENTERED = "AMBIENT_TEST_USER_NAMESPACE";

export type Privilege = "direct" | "user-namespace" | "none";

/** Whether this process can make namespaces, could in a user namespace, or cannot at all. */
export function namespacePrivilege(): Privilege {
  const works = (...args: string[]) => spawnSync("unshare", [...args, "true"]).status === 0;
  if (works("--net")) return "direct";
  return process.env[REENTERED] === undefined && works("--user", "--map-root-user", "--net")
    ? "user-namespace"
    : "none";
}

/**
 * Runs a test file again as root of a user namespace, in a network namespace of its own (it could not come back to one
 * that belongs to nobody it is) and returns its output and status.
 */
export function rerunInUserNamespace(file: string): { status: number | null; output: string } {
  const run = spawnSync("unshare", ["--user", "--map-root-user", "--net", process.execPath, "test", file], {
    env: { ...process.env, [REENTERED]: "1" },
    encoding: "utf8",
  });
  return { status: run.status, output: run.stdout + run.stderr };
}

export async function makeNamespace(setup = "true"): Promise<ChildNamespace> {
  const script = `ip link set lo up && ${setup} && echo ready && exec sleep infinity`;
  const child = spawn("unshare", ["--net", "sh", "-ec", script], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`making a network namespace failed with status ${code}`)));
  });
  const path = `/proc/${child.pid}/ns/net`;
  const fd = openNamespace(path);
  return {
    fd,
    run(command, input) {
      const run = spawnSync("nsenter", [`--net=${path}`, "sh", "-ec", command], { encoding: "utf8", input });
      if (run.status !== 0) throw new Error(`${command}: ${run.stderr}`);
      return run.stdout;
    },
    release() {
      closeFd(fd);
      child.removeAllListeners("exit");
      child.kill("SIGKILL");
    },
  };
}

/** Whether a program is there to be run. */
export function available(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}
