/** Values of attributes, and how Envoy writes them. Nothing here needs the CEL library. */
import { octetsToText } from "./octets.ts";

/** google.protobuf.Timestamp */
export interface Instant {
  readonly $typeName: "google.protobuf.Timestamp";
  readonly seconds: bigint;
  readonly nanos: number;
}

/** google.protobuf.Duration */
export interface Span {
  readonly $typeName: "google.protobuf.Duration";
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Integers are bigint, as in CEL. */
export type AttributeValue = string | bigint | boolean | Uint8Array | Instant | Span;

/** @param ms since the epoch; kept to the microsecond. */
export function instantOf(ms: number): Instant {
  const seconds = Math.floor(ms / 1000);
  const nanos = Math.min(Math.round((ms - seconds * 1000) * 1000), 999_999) * 1000;
  return { $typeName: "google.protobuf.Timestamp", seconds: BigInt(seconds), nanos };
}

/** @param ms not negative; kept to the microsecond. */
export function spanOf(ms: number): Span {
  const micros = Math.round(ms * 1000);
  const seconds = Math.floor(micros / 1_000_000);
  return {
    $typeName: "google.protobuf.Duration",
    seconds: BigInt(seconds),
    nanos: (micros - seconds * 1_000_000) * 1000,
  };
}

/** Digits of a fraction without the zeros at their end; with its point, empty when there is none. */
function fraction(value: bigint, digits: number): string {
  const text = value.toString().padStart(digits, "0").replace(/0+$/, "");
  return text === "" ? "" : `.${text}`;
}

/** RFC 3339 in UTC, with as many decimals as there are: `2026-11-21T08:34:22.045678+00:00`. */
export function instantText({ seconds, nanos }: Pick<Instant, "seconds" | "nanos">): string {
  const date = new Date(Number(seconds) * 1000);
  return `${date.toISOString().replace(/\.\d+Z$/, "")}${fraction(BigInt(nanos), 9)}+00:00`;
}

/** `1h30m`, `1.5s`, `222.842us`, `0` (absl::FormatDuration). */
export function spanText({ seconds, nanos }: Pick<Span, "seconds" | "nanos">): string {
  let total = seconds * 1_000_000_000n + BigInt(nanos);
  if (total === 0n) return "0";
  const sign = total < 0n ? "-" : "";
  if (total < 0n) total = -total;
  if (total < 1_000n) return `${sign}${total}ns`;
  if (total < 1_000_000n) return `${sign}${total / 1_000n}${fraction(total % 1_000n, 3)}us`;
  if (total < 1_000_000_000n) return `${sign}${total / 1_000_000n}${fraction(total % 1_000_000n, 6)}ms`;
  const whole = total / 1_000_000_000n;
  const hours = whole / 3600n;
  const minutes = whole / 60n % 60n;
  const rest = `${whole % 60n}${fraction(total % 1_000_000_000n, 9)}`;
  return `${sign}${hours > 0n ? `${hours}h` : ""}${minutes > 0n ? `${minutes}m` : ""}${rest === "0" ? "" : `${rest}s`}`;
}

const decoder = new TextDecoder();

export function bytesText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The value as a label or in a line of text. */
export function valueText(value: AttributeValue): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object") return String(value);
  if (value instanceof Uint8Array) return bytesText(value);
  return value.$typeName === "google.protobuf.Timestamp" ? instantText(value) : spanText(value);
}

/** The octets of a header as text; undefined stays. */
export function maybeText(octets: string | undefined): string | undefined {
  return octets === undefined ? undefined : octetsToText(octets);
}
