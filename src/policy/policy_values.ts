/** Values as AuthorizationPolicy writes them: wildcards, ports, addresses, keys of conditions. */
import type { HeaderMatch, StringMatch } from "../matching/string_match.ts";
import { parseCidr } from "../net/address.ts";
import type { AuthorizationPolicy } from "./kubernetes.ts";

/** A value that says nothing that could be compared; the message follows the value's place. */
export class BadValue {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** Presence: any text but the empty one, as istiod writes it. */
export const PRESENT: StringMatch = { kind: "regex", regex: ".+" };

export type Wildcard =
  | { readonly kind: "present" }
  | { readonly kind: "exact" | "prefix" | "suffix"; readonly value: string };

/** `*` is any value that is there, `*x` a suffix, `x*` a prefix, all else exact. */
export function parseWildcard(text: string): Wildcard {
  if (text === "*") return { kind: "present" };
  if (text.startsWith("*")) return { kind: "suffix", value: text.slice(1) };
  if (text.endsWith("*")) return { kind: "prefix", value: text.slice(0, -1) };
  return { kind: "exact", value: text };
}

/** A text of a request or connection. `scheme` is put before what is compared from the start. */
export function textMatch(text: string, scheme = ""): StringMatch {
  const wildcard = parseWildcard(text);
  if (wildcard.kind === "present") return PRESENT;
  return wildcard.kind === "suffix" ? wildcard : { kind: wildcard.kind, value: scheme + wildcard.value };
}

export function headerMatch(name: string, text: string, ignoreCase: boolean): HeaderMatch {
  const wildcard = parseWildcard(text);
  const match = wildcard.kind === "present" || !ignoreCase ? wildcard : { ...wildcard, ignoreCase };
  return { name, match, invert: false, treatMissingAsEmpty: false };
}

const DIGITS = "0123456789";

export function parsePort(text: string): number | BadValue {
  let digits = text.length > 0 && text.length <= 5;
  for (const char of text) digits &&= DIGITS.includes(char);
  const port = digits ? Number(text) : -1;
  return port >= 0 && port <= 65535 ? port : new BadValue(`not a port ${JSON.stringify(text)}`);
}

/** The CIDR as written. */
export function parseBlock(text: string): string | BadValue {
  return parseCidr(text) === undefined ? new BadValue(`not an IP address or CIDR ${JSON.stringify(text)}`) : text;
}

/** What stands in the brackets after `prefix`: `request.auth.claims[a][b]` → [`a`, `b`]. undefined: not of that form. */
export function keyBrackets(key: string, prefix: string): string[] | undefined {
  if (!key.startsWith(`${prefix}[`) || !key.endsWith("]")) return undefined;
  const names = key.slice(prefix.length + 1, -1).split("][");
  return names.some((name) => name === "" || name.includes("[") || name.includes("]")) ? undefined : names;
}

/** `namespace/name`, or `name` in the namespace of the policy. */
export function parseServiceAccount(
  text: string,
  namespace: string,
): { readonly namespace: string; readonly serviceAccount: string } | BadValue {
  const slash = text.indexOf("/");
  const account = slash < 0
    ? { namespace, serviceAccount: text }
    : { namespace: text.slice(0, slash), serviceAccount: text.slice(slash + 1) };
  if (account.namespace === "" || account.serviceAccount === "" || /[*/]/.test(account.serviceAccount)) {
    return new BadValue(`not a service account ${JSON.stringify(text)}: expected name or namespace/name`);
  }
  return account;
}

const DRY_RUN = "istio.io/dry-run";
const TRUE = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const FALSE = new Set(["0", "f", "F", "false", "FALSE", "False"]);

/** Annotation `istio.io/dry-run`; a value that is neither true nor false enforces the policy. */
export function dryRunOf(policy: AuthorizationPolicy): { readonly dryRun: boolean; readonly unclear: boolean } {
  const value = policy.metadata.annotations?.[DRY_RUN];
  if (value === undefined) return { dryRun: false, unclear: false };
  return { dryRun: TRUE.has(value), unclear: !TRUE.has(value) && !FALSE.has(value) };
}

export const DRY_RUN_PATH = ["metadata", "annotations", DRY_RUN] as const;
