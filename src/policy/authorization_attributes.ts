/** Attributes that AuthorizationPolicy may compare, and how istiod writes each as RBAC (spec/waypoint.md §1.16). */
import type { MetadataMatch, Permission, Principal } from "./rbac.ts";
import { lowerAscii } from "../matching/mod.ts";
import type { StringMatch } from "../matching/string_match.ts";
import {
  BadValue,
  headerMatch,
  keyBrackets,
  parseBlock,
  parsePort,
  parseServiceAccount,
  parseWildcard,
  PRESENT,
  textMatch,
} from "./policy_values.ts";

export interface AttributeContext {
  /** Of the policy: where service accounts without a namespace live. */
  readonly namespace: string;
}

/** One attribute; T is what a value of it becomes. */
export interface Attribute<T> {
  /** Unknown to a TCP chain. */
  readonly httpOnly: boolean;
  /** Why this version cannot enforce it. */
  readonly unsupported?: string;
  /** What is surprising about it. */
  readonly warning?: string;
  make(value: string, context: AttributeContext): T | BadValue;
}

export type PermissionAttribute = Attribute<Permission>;
export type PrincipalAttribute = Attribute<Principal>;

/** Matches nothing; written as istiod writes it. */
export const NO_PERMISSION: Permission = { kind: "not", rule: { kind: "any" } };
export const NO_PRINCIPAL: Principal = { kind: "not", id: { kind: "any" } };

const SCHEME = "spiffe://";
const JWT_FILTER = "envoy.filters.http.jwt_authn";
const NO_JWT = "requests are not authenticated by JWT yet";

export const HOST: PermissionAttribute = {
  httpOnly: true,
  make: (value) => ({ kind: "header", header: headerMatch(":authority", value, true) }),
};

export const METHOD: PermissionAttribute = {
  httpOnly: true,
  make: (value) => ({ kind: "header", header: headerMatch(":method", value, false) }),
};

export const PATH: PermissionAttribute = {
  httpOnly: true,
  make: (value) => {
    const template = value.includes("{*}") || value.includes("{**}");
    return { kind: "path", match: template ? { kind: "template", template: value } : textMatch(value) };
  },
};

export const PORT: PermissionAttribute = {
  httpOnly: false,
  make: (value) => {
    const port = parsePort(value);
    return port instanceof BadValue ? port : { kind: "destination-port", port };
  },
};

const DESTINATION_IP: PermissionAttribute = {
  httpOnly: false,
  make: (value) => {
    const cidr = parseBlock(value);
    return cidr instanceof BadValue ? cidr : { kind: "destination-ip", cidr };
  },
};

/** Of TLS that passes the chain, in lower case as it is read. */
export const SERVER_NAME: PermissionAttribute = {
  httpOnly: false,
  make: (value) => ({ kind: "server-name", match: textMatch(lowerAscii(value)) }),
};

function filterMetadata(filter: string, name: string): PermissionAttribute {
  return {
    httpOnly: false,
    unsupported: "metadata of Envoy's filters does not exist here",
    make: (value) => {
      const inList = value.startsWith("[") && value.endsWith("]");
      const match: MetadataMatch["match"] = inList
        ? { kind: "list-contains", value: textMatch(value.slice(1, -1)) }
        : textMatch(value);
      return { kind: "metadata", metadata: { filter, path: [name], match, invert: false } };
    },
  };
}

export const PRINCIPAL: PrincipalAttribute = {
  httpOnly: false,
  make: (value) => ({ kind: "peer-principal", match: textMatch(value, SCHEME) }),
};

/** Text of a name inside a regular expression; `*` stands for any text where `wildcards` are allowed. */
function quote(text: string, wildcards: boolean): string {
  let quoted = "";
  for (const char of text) {
    if (char === "*" && wildcards) quoted += ".*";
    else quoted += "\\.+*?()|[]{}^$".includes(char) ? `\\${char}` : char;
  }
  return quoted;
}

export const NAMESPACE: PrincipalAttribute = {
  httpOnly: false,
  make: (value) => ({
    kind: "peer-principal",
    match: { kind: "regex", regex: `.*/ns/${quote(value, true)}/.*` },
  }),
};

export const SERVICE_ACCOUNT: PrincipalAttribute = {
  httpOnly: false,
  make: (value, context) => {
    const account = parseServiceAccount(value, context.namespace);
    if (account instanceof BadValue) return account;
    const [namespace, name] = [quote(account.namespace, false), quote(account.serviceAccount, false)];
    const regex = `${SCHEME}.+/ns/${namespace}/(.+/|)sa/${name}(/.+)?`;
    return { kind: "peer-principal", match: { kind: "regex", regex } };
  },
};

export const TRUST_DOMAIN: PrincipalAttribute = {
  httpOnly: false,
  make: (value) => {
    const wildcard = parseWildcard(value);
    const match: StringMatch = wildcard.kind === "exact"
      ? { kind: "prefix", value: `${SCHEME}${value}/` }
      : { kind: "regex", regex: `${SCHEME}${quote(value, true).replaceAll(".*", "[^/]*")}/.*` };
    return { kind: "peer-principal", match };
  },
};

/**
 * The connection's own address. At a waypoint that is the tunnel's inner listener, which has no IP: in the original nothing
 * matches (spec/waypoint.md §7), so what istiod would write as direct_remote_ip is written as what it comes to.
 */
export const SOURCE_IP: PrincipalAttribute = {
  httpOnly: false,
  warning: "it never matches at a waypoint (the negated form always passes), as in Envoy; remoteIpBlocks does",
  make: (value) => {
    const cidr = parseBlock(value);
    return cidr instanceof BadValue ? cidr : NO_PRINCIPAL;
  },
};

export const REMOTE_IP: PrincipalAttribute = {
  httpOnly: false,
  make: (value) => {
    const cidr = parseBlock(value);
    return cidr instanceof BadValue ? cidr : { kind: "remote-ip", cidr };
  },
};

function claim(path: readonly string[], match: MetadataMatch["match"]): Principal {
  return { kind: "metadata", metadata: { filter: JWT_FILTER, path: ["payload", ...path], match, invert: false } };
}

/** A claim that is the text, or a list that has it. */
function claimHas(path: readonly string[]): PrincipalAttribute {
  return {
    httpOnly: true,
    unsupported: NO_JWT,
    make: (value) => {
      const match = textMatch(value);
      return { kind: "or", ids: [claim(path, { kind: "list-contains", value: match }), claim(path, match)] };
    },
  };
}

/** `issuer/subject`, each with a wildcard at the outer end; the issuer may have slashes. */
export const REQUEST_PRINCIPAL: PrincipalAttribute = {
  httpOnly: true,
  unsupported: NO_JWT,
  make: (value) => {
    const slash = value.lastIndexOf("/");
    const wildcard = parseWildcard(value);
    let issuer: StringMatch;
    let subject: StringMatch;
    if (wildcard.kind === "present") {
      issuer = subject = PRESENT;
    } else if (slash >= 0) {
      const [left, right] = [value.slice(0, slash), value.slice(slash + 1)];
      // A wildcard counts at one end only: the front one where there are two.
      issuer = wildcard.kind === "suffix" ? textMatch(left) : { kind: "exact", value: left };
      subject = wildcard.kind === "prefix" ? textMatch(right) : { kind: "exact", value: right };
    } else {
      issuer = wildcard.kind === "suffix" ? PRESENT : wildcard;
      subject = wildcard.kind === "suffix"
        ? wildcard
        : wildcard.kind === "prefix"
        ? PRESENT
        : { kind: "exact", value: "" };
    }
    return { kind: "and", ids: [claim(["iss"], issuer), claim(["sub"], subject)] };
  },
};

function requestHeader(name: string): PrincipalAttribute {
  return { httpOnly: true, make: (value) => ({ kind: "header", header: headerMatch(name, value, false) }) };
}

export type ConditionAttribute =
  | { readonly kind: "permission"; readonly attribute: PermissionAttribute }
  | { readonly kind: "principal"; readonly attribute: PrincipalAttribute };

const CONDITIONS: ReadonlyMap<string, ConditionAttribute> = new Map<string, ConditionAttribute>([
  ["destination.ip", { kind: "permission", attribute: DESTINATION_IP }],
  ["destination.port", { kind: "permission", attribute: PORT }],
  ["connection.sni", { kind: "permission", attribute: SERVER_NAME }],
  ["source.ip", { kind: "principal", attribute: SOURCE_IP }],
  ["remote.ip", { kind: "principal", attribute: REMOTE_IP }],
  ["source.namespace", { kind: "principal", attribute: NAMESPACE }],
  ["source.principal", { kind: "principal", attribute: PRINCIPAL }],
  ["source.serviceAccount", { kind: "principal", attribute: SERVICE_ACCOUNT }],
  ["request.auth.principal", { kind: "principal", attribute: REQUEST_PRINCIPAL }],
  ["request.auth.audiences", { kind: "principal", attribute: claimHas(["aud"]) }],
  ["request.auth.presenter", { kind: "principal", attribute: claimHas(["azp"]) }],
]);

/** The attribute of a `when` condition by its key. */
export function conditionAttribute(key: string): ConditionAttribute | BadValue {
  const plain = CONDITIONS.get(key);
  if (plain !== undefined) return plain;
  if (key.startsWith("request.headers")) {
    const names = keyBrackets(key, "request.headers");
    if (names?.length !== 1) return new BadValue(`expected request.headers[name], not ${JSON.stringify(key)}`);
    return { kind: "principal", attribute: requestHeader(names[0]!.toLowerCase()) };
  }
  if (key.startsWith("request.auth.claims")) {
    const path = keyBrackets(key, "request.auth.claims");
    if (path === undefined) return new BadValue(`expected request.auth.claims[name], not ${JSON.stringify(key)}`);
    return { kind: "principal", attribute: claimHas(path) };
  }
  if (key.startsWith("experimental.envoy.filters.")) {
    const open = key.indexOf("[");
    const names = open < 0 ? undefined : keyBrackets(key, key.slice(0, open));
    if (names?.length !== 1) {
      return new BadValue(`expected experimental.envoy.filters.name[key], not ${JSON.stringify(key)}`);
    }
    return { kind: "permission", attribute: filterMetadata(key.slice("experimental.".length, open), names[0]!) };
  }
  return new BadValue(`unknown attribute ${JSON.stringify(key)}`);
}
