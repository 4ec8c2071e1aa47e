/**
 * Patterns that istiod writes for namespaces and service accounts, compared without a regular expression: they are in nearly
 * every policy, and an engine for them costs memory and microseconds.
 */

const LITERAL = /^(?:[A-Za-z0-9_-]|\\\.)+$/;
const NAMESPACE = [".*/ns/", "/.*"] as const;
const ACCOUNT = ["spiffe://.+/ns/", "/(.+/|)sa/", "(/.+)?"] as const;
const SCHEME = "spiffe://";

/** The text between two affixes when it is literal, with `\.` read as `.`; undefined otherwise. */
function literal(text: string): string | undefined {
  return LITERAL.test(text) ? text.replaceAll("\\.", ".") : undefined;
}

/** A test that decides as RE2 would on the whole text; undefined: the pattern is not one of istiod's. */
export function compileIdentityPattern(regex: string): ((identity: string) => boolean) | undefined {
  const test = presence(regex) ?? namespace(regex) ?? account(regex);
  // `.` does not match a line feed: an identity with one is none of those.
  return test && ((identity) => test(identity) && !identity.includes("\n"));
}

function presence(regex: string): ((identity: string) => boolean) | undefined {
  return regex === ".+" ? (identity) => identity !== "" : undefined;
}

function namespace(regex: string): ((identity: string) => boolean) | undefined {
  if (!regex.startsWith(NAMESPACE[0]) || !regex.endsWith(NAMESPACE[1])) return undefined;
  const name = literal(regex.slice(NAMESPACE[0].length, -NAMESPACE[1].length));
  if (name === undefined) return undefined;
  const part = `/ns/${name}/`;
  return (identity) => identity.includes(part);
}

function account(regex: string): ((identity: string) => boolean) | undefined {
  const middle = regex.indexOf(ACCOUNT[1]);
  if (!regex.startsWith(ACCOUNT[0]) || !regex.endsWith(ACCOUNT[2]) || middle < ACCOUNT[0].length) return undefined;
  const inside = literal(regex.slice(ACCOUNT[0].length, middle));
  const name = literal(regex.slice(middle + ACCOUNT[1].length, -ACCOUNT[2].length));
  if (inside === undefined || name === undefined) return undefined;
  const namespacePart = `/ns/${inside}/`;
  const accountPart = `sa/${name}`;
  return (identity) => {
    if (!identity.startsWith(SCHEME)) return false;
    // At least one character of trust domain; any occurrence of the namespace may be the one.
    for (let at = identity.indexOf(namespacePart, SCHEME.length + 1); at >= 0;) {
      if (endsInAccount(identity, at + namespacePart.length, accountPart)) return true;
      at = identity.indexOf(namespacePart, at + 1);
    }
    return false;
  };
}

/** `(.+/|)sa/NAME(/.+)?` from `start` on. */
function endsInAccount(identity: string, start: number, accountPart: string): boolean {
  for (let at = identity.indexOf(accountPart, start); at >= 0; at = identity.indexOf(accountPart, at + 1)) {
    const end = at + accountPart.length;
    const begins = at === start || (at >= start + 2 && identity.charCodeAt(at - 1) === 47);
    const ends = end === identity.length || (identity.charCodeAt(end) === 47 && end + 1 < identity.length);
    if (begins && ends) return true;
  }
  return false;
}
