/** Times as Envoy's START_TIME writes them: strftime in UTC with `%s` and fractions of a second. */
import { FormatError } from "./format_syntax.ts";

/** A time in ms since the epoch, with fractions, as text. */
export type TimeFormat = (milliseconds: number) => string;

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

function pad(value: number, width = 2, fill = "0"): string {
  return String(value).padStart(width, fill);
}

function dayOfYear(date: Date): number {
  return Math.floor(
    (Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()) -
      Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000,
  );
}

/** ISO 8601 week and its year. */
function isoWeek(date: Date): { week: number; year: number } {
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * 86_400_000);
  return { week: Math.floor(dayOfYear(thursday) / 7) + 1, year: thursday.getUTCFullYear() };
}

function clock(date: Date): string {
  return `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
}

function usDate(date: Date): string {
  return `${pad(date.getUTCMonth() + 1)}/${pad(date.getUTCDate())}/${pad(date.getUTCFullYear() % 100)}`;
}

/** Conversions that look at whole seconds only. */
const CONVERSIONS: Readonly<Record<string, (date: Date) => string>> = {
  Y: (d) => String(d.getUTCFullYear()),
  C: (d) => pad(Math.floor(d.getUTCFullYear() / 100)),
  y: (d) => pad(d.getUTCFullYear() % 100),
  G: (d) => String(isoWeek(d).year),
  g: (d) => pad(isoWeek(d).year % 100),
  V: (d) => pad(isoWeek(d).week),
  U: (d) => pad(Math.floor((dayOfYear(d) + 7 - d.getUTCDay()) / 7)),
  W: (d) => pad(Math.floor((dayOfYear(d) + 7 - ((d.getUTCDay() + 6) % 7)) / 7)),
  m: (d) => pad(d.getUTCMonth() + 1),
  B: (d) => MONTHS[d.getUTCMonth()] as string,
  b: (d) => (MONTHS[d.getUTCMonth()] as string).slice(0, 3),
  h: (d) => (MONTHS[d.getUTCMonth()] as string).slice(0, 3),
  d: (d) => pad(d.getUTCDate()),
  e: (d) => pad(d.getUTCDate(), 2, " "),
  j: (d) => pad(dayOfYear(d) + 1, 3),
  A: (d) => DAYS[d.getUTCDay()] as string,
  a: (d) => (DAYS[d.getUTCDay()] as string).slice(0, 3),
  u: (d) => String(d.getUTCDay() || 7),
  w: (d) => String(d.getUTCDay()),
  H: (d) => pad(d.getUTCHours()),
  I: (d) => pad(d.getUTCHours() % 12 || 12),
  k: (d) => pad(d.getUTCHours(), 2, " "),
  l: (d) => pad(d.getUTCHours() % 12 || 12, 2, " "),
  M: (d) => pad(d.getUTCMinutes()),
  S: (d) => pad(d.getUTCSeconds()),
  p: (d) => d.getUTCHours() < 12 ? "AM" : "PM",
  P: (d) => d.getUTCHours() < 12 ? "am" : "pm",
  T: clock,
  R: (d) => clock(d).slice(0, 5),
  r: (d) => `${pad(d.getUTCHours() % 12 || 12)}:${clock(d).slice(3)} ${d.getUTCHours() < 12 ? "AM" : "PM"}`,
  X: clock,
  D: usDate,
  x: usDate,
  F: (d) => d.toISOString().slice(0, 10),
  c: (d) =>
    `${(DAYS[d.getUTCDay()] as string).slice(0, 3)} ${(MONTHS[d.getUTCMonth()] as string).slice(0, 3)} ` +
    `${pad(d.getUTCDate(), 2, " ")} ${clock(d)} ${d.getUTCFullYear()}`,
  s: (d) => String(d.getTime() / 1000),
  z: () => "+0000",
  Z: () => "UTC",
  t: () => "\t",
  "%": () => "%",
};

/** A text of the second, or a number of digits of its fraction. */
type TimePart = ((date: Date) => string) | number;

/** Digits of the fraction of a second, cut below the microseconds, which is where clocks here end. */
function fraction(milliseconds: number, digits: number): string {
  // A double holds such a time to a quarter of a microsecond.
  const micro = Math.min(999_999, Math.round((milliseconds - Math.floor(milliseconds / 1000) * 1000) * 1000));
  return pad(micro, 6).padEnd(9, "0").slice(0, digits);
}

function parse(format: string): TimePart[] {
  const parts: TimePart[] = [];
  let literal = "";
  const add = (part: TimePart) => {
    const text = literal;
    if (text !== "") parts.push(() => text);
    literal = "";
    parts.push(part);
  };
  for (let at = 0; at < format.length; at++) {
    if (format[at] !== "%") {
      literal += format[at];
      continue;
    }
    const [whole, modifier = "", conversion = ""] = /^%(E[0-9*]?|O|[1-9])?(.?)/s.exec(
      format.slice(at),
    ) as RegExpExecArray;
    at += whole.length - 1;
    const digits = modifier.length === 2 && modifier[1] !== "*" ? Number(modifier[1]) : 9;
    const conversionOf = CONVERSIONS[conversion];
    if (conversion === "f" && modifier !== "O") {
      add(/^[1-9]$/.test(modifier) ? Number(modifier) : digits);
    } else if (modifier.startsWith("E") && modifier.length === 2 && conversion === "S") {
      add(CONVERSIONS.S as TimePart);
      if (digits > 0) {
        literal = ".";
        add(digits);
      }
    } else if (modifier === "E" && conversion === "z") {
      add(() => "+00:00");
    } else if (/^[0-9]|^E./.test(modifier) || conversionOf === undefined) {
      throw new FormatError(`time format "${format}": unknown conversion ${whole}`);
    } else {
      add(conversionOf);
    }
  }
  if (literal !== "") add(() => "");
  return parts;
}

/** 2026-11-21T08:34:22.000Z, Envoy's default; also says what is faster than `%Y-%m-%dT%H:%M:%S.%3fZ`. */
function defaultFormat(): TimeFormat {
  let second = -1;
  let text = "";
  return (milliseconds) => {
    const now = Math.floor(milliseconds / 1000);
    if (now !== second) {
      second = now;
      text = new Date(now * 1000).toISOString().slice(0, 20);
    }
    return `${text}${pad(Math.floor(milliseconds) - now * 1000, 3)}Z`;
  };
}

/** Throws FormatError for a conversion that is not known. Text of whole seconds is kept for the next call. */
export function compileTimeFormat(format: string | undefined): TimeFormat {
  if (format === undefined || format === "") return defaultFormat();
  const parts = parse(format);
  let second = NaN;
  let texts: string[] = [];
  return (milliseconds) => {
    const now = Math.floor(milliseconds / 1000);
    if (now !== second) {
      second = now;
      const date = new Date(now * 1000);
      texts = parts.map((part) => typeof part === "number" ? "" : part(date));
    }
    let text = "";
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as TimePart;
      text += typeof part === "number" ? fraction(milliseconds, part) : texts[i];
    }
    return text;
  };
}
