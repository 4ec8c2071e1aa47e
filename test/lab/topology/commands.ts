/** Running the programs a lab is made with (`ip`, `nft`, `nsenter` …): to their end, synchronously, with all they said in the error. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** A program of the lab could not do its work; the message carries its command line and its stderr. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** `sbin` is missing from the PATH of ordinary users, though `ip` and `nft` live there. */
const SEARCH_PATH = [...(process.env["PATH"] ?? "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"].filter(
  Boolean,
);

/** The environment children get: ours, with a PATH that finds administration tools. */
export function commandEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [key, value] of Object.entries(process.env)) {
    if (value !== undefined) environment[key] = value;
  }
  return { ...environment, PATH: SEARCH_PATH.join(":"), ...extra };
}

/** Full path of a program, or undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  for (const directory of SEARCH_PATH) {
    const path = join(directory, name);
    if (existsSync(path)) return path;
  }
  return undefined;
}

export interface CommandResult {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and tells how it went. */
export function attempt(command: readonly string[], input?: string): CommandResult {
  const [program = "", ...args] = command;
  const result = spawnSync(program, args, {
    encoding: "utf8",
    env: commandEnvironment(),
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    ...(input === undefined ? {} : { input }),
  });
  return {
    ok: result.error === undefined && result.status === 0,
    stdout: result.stdout ?? "",
    stderr: result.error?.message ?? result.stderr ?? "",
  };
}

/** Runs a program to its end and returns its stdout. @throws CommandError when it fails */
export function must(command: readonly string[], input?: string): string {
  const result = attempt(command, input);
  if (!result.ok) {
    throw new CommandError(`'${command.join(" ")}' failed: ${(result.stderr || result.stdout).trim()}`);
  }
  return result.stdout;
}
