import type { Command, RunFlags } from "./command.ts";
import { parseProxy } from "./proxy_flags.ts";
import { parseExplain, parseRequest, parseWait } from "./question_flags.ts";

const FLAGS: readonly string[] = ["--mode", "--config", "--ca-dir", "--gateway", "--upgrade-from"];

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

function error(message: string): Command {
  return { kind: "error", message };
}

/** Reads `--name value` and `--name=value`; stops at the first argument that is neither. */
function parseRun(args: readonly string[]): Command {
  const flags: Mutable<RunFlags> = { mode: "ztunnel", config: undefined, caDir: undefined, gateway: undefined };
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    if (!FLAGS.includes(name)) {
      return error(`unknown ${argument.startsWith("-") ? "flag" : "command"}: ${argument}`);
    }
    const value = equals < 0 ? args[++index] : argument.slice(equals + 1);
    if (value === undefined || value === "" || (equals < 0 && value.startsWith("--"))) {
      return error(`${name} needs a value`);
    }
    if (name === "--config") flags.config = value;
    else if (name === "--ca-dir") flags.caDir = value;
    else if (name === "--gateway") flags.gateway = value;
    else if (name === "--upgrade-from") flags.upgradeFrom = value;
    else if (value === "ztunnel" || value === "waypoint") flags.mode = value;
    else return error(`--mode=${value}: the mode must be ztunnel or waypoint`);
  }
  if (flags.gateway !== undefined && flags.mode !== "waypoint") return error("--gateway is for --mode=waypoint");
  if (flags.upgradeFrom !== undefined && flags.mode !== "ztunnel") return error("--upgrade-from is for --mode=ztunnel");
  return { kind: "run", flags };
}

function parseVersion(args: readonly string[]): Command {
  const [first, ...rest] = args;
  if (first === undefined) return { kind: "version", licenses: false };
  if (first === "--licenses" && rest.length === 0) return { kind: "version", licenses: true };
  return error(`unknown argument of version: ${first === "--licenses" ? rest[0] : first}`);
}

/** What the arguments behind the program's name ask for. */
export function parseCommand(argv: readonly string[]): Command {
  const [first, ...rest] = argv;
  if (first !== "proxy" && argv.some((argument) => argument === "--help" || argument === "-h")) return { kind: "help" };
  switch (first) {
    case "proxy":
      return parseProxy(rest);
    case "version":
    case "--version":
      return parseVersion(rest);
    case "help":
      return { kind: "help" };
    case "explain":
      return parseExplain(rest);
    case "request":
      return parseRequest(rest);
    case "wait":
      return parseWait(rest);
    case "schema":
      return rest[0] === undefined ? { kind: "schema" } : error(`unknown argument of schema: ${rest[0]}`);
    default:
      return parseRun(argv);
  }
}
