/** resolv.conf(5): whom to ask, how long and how often. */
import { canonicalIp } from "../net/address.ts";

export interface ResolverConfig {
  /** Canonical IPs, at most three. None: nothing can be asked. */
  readonly nameservers: readonly string[];
  /** Without final dots. */
  readonly search: readonly string[];
  /** Names with fewer dots are tried with the search domains first. */
  readonly ndots: number;
  /** How long one name server has for its answer, ms. */
  readonly timeoutMs: number;
  /** How often each name server is asked. */
  readonly attempts: number;
  /** Lines that could not be used, one text each. */
  readonly problems: readonly string[];
}

/** Limits of the resolver of the C library (resolv.conf(5)). */
const MAX_NAMESERVERS = 3;
const MAX_NDOTS = 15;
const MAX_TIMEOUT = 30; // seconds
const MAX_ATTEMPTS = 5;
const DEFAULT_TIMEOUT = 5; // seconds
const DEFAULT_ATTEMPTS = 2;

/** Reads the text of a resolv.conf. What it does not know it leaves, as the C library does. */
export function parseResolvConf(text: string): ResolverConfig {
  const nameservers: string[] = [];
  const problems: string[] = [];
  let search: readonly string[] = [];
  const options = { ndots: 1, timeout: DEFAULT_TIMEOUT, attempts: DEFAULT_ATTEMPTS };
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string;
    if (/^[#;]/.test(line)) continue;
    const [keyword = "", ...values] = line.trim().split(/\s+/);
    if (keyword === "nameserver") {
      const ip = canonicalIp(values[0] ?? "");
      if (ip === undefined) problems.push(`line ${i + 1}: not an IP address: ${JSON.stringify(values[0] ?? "")}`);
      else if (nameservers.length < MAX_NAMESERVERS && !nameservers.includes(ip)) nameservers.push(ip);
    } else if (keyword === "search" || keyword === "domain") {
      const domains = keyword === "domain" ? values.slice(0, 1) : values;
      search = domains.map((domain) => domain.replace(/\.$/, "").toLowerCase()).filter((domain) => domain !== "");
    } else if (keyword === "options") {
      for (const option of values) readOption(option, options);
    }
  }
  return {
    nameservers,
    search,
    ndots: options.ndots,
    timeoutMs: options.timeout * 1000,
    attempts: options.attempts,
    problems,
  };
}

function readOption(option: string, into: { ndots: number; timeout: number; attempts: number }): void {
  const [, name, digits] = /^(ndots|timeout|attempts):([0-9]{1,6})$/.exec(option) ?? [];
  const value = Number(digits);
  if (name === "ndots") into.ndots = Math.min(value, MAX_NDOTS);
  else if (name === "timeout") into.timeout = Math.min(Math.max(value, 1), MAX_TIMEOUT);
  else if (name === "attempts") into.attempts = Math.min(Math.max(value, 1), MAX_ATTEMPTS);
}

/** What holds where there is no file: nobody can be asked. @param why e.g. `ENOENT` */
export function withoutResolvConf(path: string, why: string): ResolverConfig {
  return { ...parseResolvConf(""), problems: [`${path}: ${why}`] };
}
