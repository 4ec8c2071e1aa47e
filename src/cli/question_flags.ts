/** The command lines of questions to a running process: explain, request, wait. */
import { DEFAULT_ADMIN, isHostPort } from "./ask.ts";
import type { Command } from "./command.ts";

function error(message: string): Command {
  return { kind: "error", message };
}

/** Reads `--admin HOST:PORT` out of arguments: what is left of them, or what is wrong. */
function takeAdmin(args: readonly string[]): { readonly admin: string; readonly rest: readonly string[] } | string {
  const rest: string[] = [];
  let admin = DEFAULT_ADMIN;
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    if (argument !== "--admin" && !argument.startsWith("--admin=")) {
      rest.push(argument);
      continue;
    }
    const value = argument === "--admin" ? args[++index] : argument.slice("--admin=".length);
    if (value === undefined || value === "") return "--admin needs a value";
    if (!isHostPort(value)) return `--admin=${value}: give HOST:PORT, as in ${DEFAULT_ADMIN} or [::1]:15000`;
    admin = value;
  }
  return { admin, rest };
}

export function parseExplain(args: readonly string[]): Command {
  const taken = takeAdmin(args);
  if (typeof taken === "string") return error(taken);
  const subjects: string[] = [];
  let json = false;
  for (const argument of taken.rest) {
    if (argument === "--json") json = true;
    else if (argument.startsWith("-")) return error(`unknown flag of explain: ${argument}`);
    else subjects.push(argument);
  }
  const [source, destination, more] = subjects;
  if (source === undefined || destination === undefined || more !== undefined) {
    return error("explain needs a source and a destination, as in: ambient explain shop/web-1 cart.shop:80");
  }
  return { kind: "explain", flags: { source, destination, admin: taken.admin, json } };
}

export function parseRequest(args: readonly string[]): Command {
  const taken = takeAdmin(args);
  if (typeof taken === "string") return error(taken);
  const [method, path, body, more] = taken.rest;
  if (method === undefined || path === undefined || more !== undefined) {
    return error("request needs a method and a path, as in: ambient request GET /config_dump");
  }
  if (!/^[A-Za-z]+$/.test(method)) return error(`${method} is no method: ambient request GET /config_dump`);
  const absolute = path.startsWith("/") ? path : `/${path}`;
  return { kind: "request", flags: { method: method.toUpperCase(), path: absolute, body, admin: taken.admin } };
}

/** As `pilot-agent wait` has them. */
const WAIT_DEFAULTS = {
  "--timeoutSeconds": "60",
  "--requestTimeoutMillis": "500",
  "--periodMillis": "500",
  "--url": "http://localhost:15021/healthz/ready",
} as const;
/** Some days: more is a slip. */
const LONGEST_WAIT = 10_000_000;

export function parseWait(args: readonly string[]): Command {
  const given: Record<string, string> = { ...WAIT_DEFAULTS };
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] as string;
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    if (!Object.hasOwn(WAIT_DEFAULTS, name)) return error(`unknown flag of wait: ${argument}`);
    const value = equals < 0 ? args[++index] : argument.slice(equals + 1);
    if (value === undefined || value === "") return error(`${name} needs a value`);
    given[name] = value;
  }
  const numbers: Record<string, number> = {};
  for (const name of ["--timeoutSeconds", "--requestTimeoutMillis", "--periodMillis"]) {
    const text = given[name] as string;
    numbers[name] = /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
    if (numbers[name] === 0 || numbers[name]! > LONGEST_WAIT) {
      return error(`${name}=${text}: give a whole number from 1 to ${LONGEST_WAIT}`);
    }
  }
  const url = given["--url"] as string;
  const protocol = URL.parse(url)?.protocol;
  if (protocol !== "http:" && protocol !== "https:") {
    return error(`--url=${url}: give an address such as ${WAIT_DEFAULTS["--url"]}`);
  }
  return {
    kind: "wait",
    flags: {
      url,
      timeout: numbers["--timeoutSeconds"]! * 1000,
      requestTimeout: numbers["--requestTimeoutMillis"]!,
      period: numbers["--periodMillis"]!,
    },
  };
}
