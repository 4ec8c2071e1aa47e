/**
 * What a lab has made outside its own process, written down before it is made, so that the end of the process, however
 * it comes (done, exception, Ctrl-C, SIGTERM), removes exactly that and nothing else.
 */
import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { attempt } from "./commands.ts";

/** Namespaces of the project are called `amb-<pid of the lab>-<run>-<name>`: unique for each run, recognisable afterwards. */
export const NAMESPACE_PREFIX = "amb";
export const NAMESPACE_DIRECTORY = "/run/netns";
/** Scratch directories are called `ambient-lab-<pid of the lab>-<random>`. */
const SCRATCH_PREFIX = "ambient-lab";

const processes = new Set<number>();
const namespaces = new Set<string>();
const paths = new Set<string>();
let hooked = false;

export function recordProcess(pid: number): void {
  hook();
  processes.add(pid);
}

export function forgetProcess(pid: number): void {
  processes.delete(pid);
}

export function recordNamespace(name: string): void {
  hook();
  namespaces.add(name);
}

/** Files or directories (scratch space, sockets) to delete at the end. */
export function recordPath(path: string): void {
  hook();
  paths.add(path);
}

/** Makes a directory for sockets, configuration and keys, which is in the ledger. @returns its path */
export function makeScratchDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), `${SCRATCH_PREFIX}-${process.pid}-`));
  recordPath(path);
  return path;
}

export function removeNamespace(name: string): void {
  if (existsSync(`${NAMESPACE_DIRECTORY}/${name}`)) attempt(["ip", "netns", "del", name]);
  namespaces.delete(name);
}

export function removePath(path: string): void {
  rmSync(path, { recursive: true, force: true });
  paths.delete(path);
}

/** Removes everything still in the ledger, synchronously. It can be called again. */
export function removeAll(): void {
  for (const pid of processes) end(pid);
  processes.clear();
  for (const name of [...namespaces]) removeNamespace(name);
  for (const path of [...paths]) removePath(path);
}

/** What is still there of what this process ever made: the lab's own proof that it left nothing behind. */
export function leftovers(): string[] {
  const left: string[] = [];
  for (const pid of processes) if (isAlive(pid)) left.push(`process ${pid}`);
  for (const name of ownNamespaces(process.pid)) left.push(`namespace ${name}`);
  for (const path of paths) if (existsSync(path)) left.push(`path ${path}`);
  return left;
}

/** Removes what labs left behind that were killed with SIGKILL: their pid is in the name, and nobody has it any more. */
export function removeAbandoned(): void {
  for (const name of listNamespaces()) {
    if (!isAbandoned(ownerOf(NAMESPACE_PREFIX, name))) continue;
    for (const line of attempt(["ip", "netns", "pids", name]).stdout.split("\n")) {
      const member = Number(line);
      if (Number.isInteger(member) && member > 1) end(member);
    }
    removeNamespace(name);
  }
  // After their processes, which could still write there.
  for (const name of readdirSync(tmpdir())) {
    const path = join(tmpdir(), name);
    if (isAbandoned(ownerOf(SCRATCH_PREFIX, name)) && isOwnDirectory(path)) removePath(path);
  }
}

function isAbandoned(owner: number | undefined): boolean {
  return owner !== undefined && owner !== process.pid && !isAlive(owner);
}

/** Anyone may make a directory of that name where all may write: what others own is not ours to remove. */
function isOwnDirectory(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && stat.isDirectory() && stat.uid === process.getuid?.();
}

function listNamespaces(): string[] {
  return existsSync(NAMESPACE_DIRECTORY) ? readdirSync(NAMESPACE_DIRECTORY) : [];
}

function ownNamespaces(pid: number): string[] {
  return listNamespaces().filter((name) => ownerOf(NAMESPACE_PREFIX, name) === pid);
}

function ownerOf(prefix: string, name: string): number | undefined {
  const match = new RegExp(`^${prefix}-(\\d+)-`).exec(name);
  return match === null ? undefined : Number(match[1]);
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process cannot be signalled, but is there.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function hook(): void {
  if (hooked) return;
  hooked = true;
  process.on("exit", removeAll);
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    process.on(signal, () => {
      removeAll();
      process.exit(code);
    });
  }
}
