import type { Command, RunFlags } from "./command.ts";

const FLAGS: readonly string[] = ["--mode", "--config", "--ca-dir", "--gateway"];

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
    else if (value === "ztunnel" || value === "waypoint") flags.mode = value;
    else return error(`--mode=${value}: the mode must be ztunnel or waypoint`);
  }
  if (flags.gateway !== undefined && flags.mode !== "waypoint") return error("--gateway is for --mode=waypoint");
  return { kind: "run", flags };
}

/** Where the admin port of a process is unless the mesh configuration says otherwise (spec/ztunnel.md §1.5). */
const DEFAULT_ADMIN = "127.0.0.1:15000";

/** Whether a text is `HOST:PORT`, with brackets around IPv6. */
function isHostPort(text: string): boolean {
  const [, port = ""] = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/.exec(text) ?? [];
  return port !== "" && Number(port) > 0 && Number(port) < 65_536;
}

function parseExplain(args: readonly string[]): Command {
  const subjects: string[] = [];
  let admin = DEFAULT_ADMIN;
  let json = false;
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    if (argument === "--json") json = true;
    else if (argument === "--admin" || argument.startsWith("--admin=")) {
      const value = argument === "--admin" ? args[++index] : argument.slice("--admin=".length);
      if (value === undefined || value === "") return error("--admin needs a value");
      if (!isHostPort(value)) return error(`--admin=${value}: give HOST:PORT, as in ${DEFAULT_ADMIN} or [::1]:15000`);
      admin = value;
    } else if (argument.startsWith("-")) return error(`unknown flag of explain: ${argument}`);
    else subjects.push(argument);
  }
  const [source, destination, more] = subjects;
  if (source === undefined || destination === undefined || more !== undefined) {
    return error("explain needs a source and a destination, as in: ambient explain shop/web-1 cart.shop:80");
  }
  return { kind: "explain", flags: { source, destination, admin, json } };
}

function parseVersion(args: readonly string[]): Command {
  const [first, ...rest] = args;
  if (first === undefined) return { kind: "version", licenses: false };
  if (first === "--licenses" && rest.length === 0) return { kind: "version", licenses: true };
  return error(`unknown argument of version: ${first === "--licenses" ? rest[0] : first}`);
}

/** `proxy ztunnel …` and `proxy waypoint …`, as the containers of Istio's charts start it; the environment says the rest. */
function parseProxy(args: readonly string[]): Command {
  const mode = args[0] === "waypoint" ? "waypoint" : "ztunnel";
  return { kind: "run", flags: { mode, config: undefined, caDir: undefined, gateway: undefined } };
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
    case "schema":
      return rest[0] === undefined ? { kind: "schema" } : error(`unknown argument of schema: ${rest[0]}`);
    default:
      return parseRun(argv);
  }
}
