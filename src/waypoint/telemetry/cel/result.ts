/** Results of expressions as Envoy writes them: in a line of text, and with their types in JSON (%CEL%, %TYPED_CEL%). */
import { type CelValue, isCelList, isCelMap, isCelType, isCelUint } from "@bufbuild/cel";
import { bytesText, instantText, spanText } from "../attribute_value.ts";
import type { FormatValue } from "../operators.ts";

const TIMESTAMP = "google.protobuf.Timestamp";
const DURATION = "google.protobuf.Duration";

interface SecondsAndNanos {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Six significant digits, as C's %g. */
function doubleText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [digits = "", exponent = ""] = value.toExponential(5).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 6) return String(Number(value.toPrecision(6)));
  const sign = power < 0 ? "-" : "+";
  return `${digits.replace(/\.?0+$/, "")}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** A value in a line of text. Lists, maps and types are only named. */
export function resultText(value: CelValue): string {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return doubleText(value);
    case "bigint":
    case "boolean":
      return String(value);
  }
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return bytesText(value);
  if (isCelUint(value)) return String(value.value);
  if (isCelList(value)) return "CelList value";
  if (isCelMap(value)) return "CelMap value";
  if (isCelType(value)) return "CelType value";
  const message = value.message as unknown as SecondsAndNanos;
  switch (value.desc.typeName) {
    case TIMESTAMP:
      return instantText(message);
    case DURATION:
      return spanText(message);
    default:
      return "CelMessage value";
  }
}

/** No fraction, or 3, 6 or 9 digits of it (the JSON of protobuf). */
function decimals(nanos: number): string {
  if (nanos === 0) return "";
  const digits = String(nanos).padStart(9, "0");
  return `.${nanos % 1_000_000 === 0 ? digits.slice(0, 3) : nanos % 1000 === 0 ? digits.slice(0, 6) : digits}`;
}

/** JSON has no numbers for these; the JSON of protobuf has texts. */
function doubleJson(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/**
 * A value with its type in JSON: integers are numbers (exact up to 2⁵³), bytes are base64, durations seconds, instants
 * RFC 3339, members of maps sorted by name. null: it has no JSON.
 */
export function resultJson(value: CelValue): FormatValue {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return doubleJson(value);
    case "bigint":
      return Number(value);
  }
  if (value === null || isCelType(value)) return null;
  if (value instanceof Uint8Array) return value.toBase64();
  if (isCelUint(value)) return Number(value.value);
  if (isCelList(value)) return [...value].map(resultJson);
  if (isCelMap(value)) {
    const members = [...value.entries()].map(([key, member]): [string, FormatValue] => [
      isCelUint(key) ? String(key.value) : String(key),
      resultJson(member),
    ]);
    const sorted = members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.assign(Object.create(null), Object.fromEntries(sorted)) as Record<string, unknown>;
  }
  const { seconds, nanos } = value.message as unknown as SecondsAndNanos;
  switch (value.desc.typeName) {
    case TIMESTAMP:
      return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}${decimals(nanos)}Z`;
    case DURATION:
      return `${seconds === 0n && nanos < 0 ? "-" : ""}${seconds}${decimals(Math.abs(nanos))}s`;
    default:
      return null;
  }
}
