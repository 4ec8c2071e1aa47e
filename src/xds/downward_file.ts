/** Files of Kubernetes' downward API: a pod's labels and annotations (spec/waypoint.md §1.1). */

/** What a file of the downward API says. */
export interface DownwardFile {
  readonly values: Readonly<Record<string, string>>;
  /** Lines that are none, e.g. `line 3: no value in quotes`; they are left out of the values. */
  readonly problems: readonly string[];
}

/**
 * Reads `/etc/istio/pod/labels` or `annotations`: on each line `key="value"`, quoted as Go's strconv.Quote does. Empty
 * lines are passed over.
 */
export function parseDownwardFile(text: string): DownwardFile {
  const values = new Map<string, string>();
  const problems: string[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const equals = line.indexOf("=");
    const value = equals <= 0 ? undefined : unquote(line.slice(equals + 1).trimEnd());
    if (value === undefined) problems.push(`line ${i + 1}: ${equals <= 0 ? "no key" : "no value in quotes"}`);
    else values.set(line.slice(0, equals).trim(), value);
  }
  // From a map, so that a key such as __proto__ is one like any other.
  return { values: Object.fromEntries(values), problems };
}

/** A text in double quotes: no bare quote inside, and whole escapes only. */
const QUOTED = /^"((?:[^"\\]|\\(?:[abfnrtv\\"']|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}))*)"$/;
/** Bytes that are no characters come one by one, so the bytes of a run of such escapes belong together. */
const ESCAPES = /(?:\\x[0-9a-fA-F]{2}|\\[0-7]{3})+|\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)/g;
const SIMPLE: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const LAST_CODE_POINT = 0x10ffff;
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

function unquote(text: string): string | undefined {
  const inside = QUOTED.exec(text)?.[1];
  if (inside === undefined) return undefined;
  if (!inside.includes("\\")) return inside;
  let valid = true;
  const value = inside.replace(ESCAPES, (escape) => {
    const kind = escape[1] as string;
    if (kind === "x" || (kind >= "0" && kind <= "7")) return bytesOf(escape);
    if (kind !== "u" && kind !== "U") return SIMPLE[kind] ?? kind;
    const codePoint = parseInt(escape.slice(2), 16);
    if (codePoint <= LAST_CODE_POINT) return String.fromCodePoint(codePoint);
    valid = false;
    return "";
  });
  return valid ? value : undefined;
}

/** The text of escaped bytes, `\x..` or `\...` in octal. */
function bytesOf(escapes: string): string {
  const numbers = escapes.match(/x..|[0-7]{3}/g) ?? [];
  return UTF8.decode(
    Uint8Array.from(numbers, (text) => text[0] === "x" ? parseInt(text.slice(1), 16) : parseInt(text, 8)),
  );
}
