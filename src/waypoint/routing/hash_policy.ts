/** What a request is hashed by, for RING_HASH and MAGLEV (envoy.config.route.v3.RouteAction.HashPolicy). */
import { joinedField, type RequestHead } from "../../http/message.ts";
import { octetsOf, queryParameter } from "../../matching/mod.ts";
import type { HashPolicy } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";

export interface RequestHash {
  /** 64 bits; undefined: no policy gave any. */
  readonly hash: bigint | undefined;
  /** Value of a `set-cookie` field for the response; undefined: none. */
  readonly setCookie: string | undefined;
}

/**
 * Policies in order: each that gives a hash is mixed into those before, the first terminal one after a hash ends it.
 * @param random uniform in [0, 1), for the value of a new cookie
 */
export function hashOf(
  policies: readonly HashPolicy[],
  head: RequestHead,
  info: StreamInfo,
  random: () => number = Math.random,
): RequestHash {
  let hash: bigint | undefined;
  let setCookie: string | undefined;
  for (const policy of policies) {
    let text = textOf(policy, head, info);
    if (text === undefined && policy.kind === "cookie" && policy.ttlMs !== undefined && setCookie === undefined) {
      // Envoy hashes the two addresses; in a mesh many clients share those of a tunnel, so here it is drawn.
      text = hex32(random) + hex32(random);
      setCookie = cookieField(policy, text);
    }
    if (text !== undefined) {
      const next = Bun.hash.xxHash64(text);
      // Turned by a bit, so that equal policies do not cancel each other out.
      hash = hash === undefined ? next : (BigInt.asUintN(64, hash << 1n) | (hash >> 63n)) ^ next;
    }
    if (policy.terminal && hash !== undefined) break;
  }
  return { hash, setCookie };
}

function textOf(policy: HashPolicy, head: RequestHead, info: StreamInfo): string | undefined {
  switch (policy.kind) {
    case "header":
      return fieldText(head, policy.name);
    case "cookie":
      return cookieOf(head, policy.name);
    case "source-ip":
      return info.downstream.remote.ip;
    case "query":
      return queryParameter(head.path, octetsOf(policy.name));
  }
}

/** Several fields count in any order. */
function fieldText(head: RequestHead, name: string): string | undefined {
  if (name === "host" || name === ":authority") return head.authority;
  if (name === ":path") return head.path;
  if (name === ":method") return head.method;
  const { fields } = head;
  const joined = joinedField(fields, name);
  if (joined === undefined || !joined.includes(",")) return joined;
  const values: string[] = [];
  for (const field of fields) if (field[0] === name) values.push(field[1]);
  return values.sort().join(",");
}

/** Value of a cookie that is not empty, without quotes around it. */
function cookieOf(head: RequestHead, name: string): string | undefined {
  for (const [field, value] of head.fields) {
    if (field !== "cookie") continue;
    for (let at = 0; at < value.length;) {
      const semicolon = value.indexOf(";", at);
      const end = semicolon < 0 ? value.length : semicolon;
      const equals = value.indexOf("=", at);
      if (equals >= 0 && equals < end && value.slice(at, equals).trim() === name) {
        const text = value.slice(equals + 1, end).trim();
        const quoted = text.length >= 2 && text.startsWith('"') && text.endsWith('"');
        const found = quoted ? text.slice(1, -1) : text;
        if (found !== "") return found;
      }
      at = end + 1;
    }
  }
  return undefined;
}

/** RFC 6265 §4.1.1 */
function cookieField(policy: Extract<HashPolicy, { kind: "cookie" }>, value: string): string {
  const seconds = Math.floor((policy.ttlMs ?? 0) / 1000);
  let field = `${octetsOf(policy.name)}="${value}"`;
  if (seconds > 0) field += `; Max-Age=${seconds}`;
  if (policy.path !== "") field += `; Path=${octetsOf(policy.path)}`;
  for (const [name, attribute] of policy.attributes) {
    field += attribute === "" ? `; ${octetsOf(name)}` : `; ${octetsOf(name)}=${octetsOf(attribute)}`;
  }
  return `${field}; HttpOnly`;
}

function hex32(random: () => number): string {
  return Math.floor(random() * 2 ** 32).toString(16).padStart(8, "0");
}
