import type { Command, RunFlags } from "./command.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function error(message: string): Command {
  return { kind: "error", message };
}

/** Reads `--name value` and `--name=value`; stops at the first argument that is neither. */
function parseRun(args: readonly string[]): Command {
  const flags: Mutable<RunFlags> = { mode: "ztunnel", config: undefined, caDir: undefined };
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    if (name !== "--mode" && name !== "--config" && name !== "--ca-dir") {
      return error(`unknown ${argument.startsWith("-") ? "flag" : "command"}: ${argument}`);
    }
    const value = equals < 0 ? args[++index] : argument.slice(equals + 1);
    if (value === undefined || value === "") return error(`${name} needs a value`);
    if (name === "--config") flags.config = value;
    else if (name === "--ca-dir") flags.caDir = value;
    else if (value === "waypoint") return error("--mode=waypoint is not in this version");
    else if (value !== "ztunnel") return error(`--mode=${value}: the mode must be ztunnel`);
  }
  return { kind: "run", flags };
}

function parseVersion(args: readonly string[]): Command {
  const [first, ...rest] = args;
  if (first === undefined) return { kind: "version", licenses: false };
  if (first === "--licenses" && rest.length === 0) return { kind: "version", licenses: true };
  return error(`unknown argument of version: ${first === "--licenses" ? rest[0] : first}`);
}

/**
 * What the arguments behind the program's name ask for. `proxy …` runs ztunnel whatever follows, as the original's
 * container does; environment variables say the rest.
 */
export function parseCommand(argv: readonly string[]): Command {
  const [first, ...rest] = argv;
  switch (first) {
    case "proxy":
      return { kind: "run", flags: { mode: "ztunnel", config: undefined, caDir: undefined } };
    case "version":
    case "--version":
      return parseVersion(rest);
    case "help":
    case "--help":
    case "-h":
      return { kind: "help" };
    case "schema":
      return rest[0] === undefined ? { kind: "schema" } : error(`unknown argument of schema: ${rest[0]}`);
    default:
      return parseRun(argv);
  }
}
