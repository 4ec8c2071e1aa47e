/** Environment variables read as typed values; what is wrong is collected, so that all of it is told at once. */
import { parseDuration } from "./duration.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Largest values of the integer types that the variables are documented with. */
export const U16 = 0xffff;
export const U32 = 0xffff_ffff;

export class Variables {
  readonly errors: string[] = [];
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  /** The text as it is, an empty one included. */
  text(name: string): string | undefined {
    return this.#env[name];
  }

  has(name: string): boolean {
    return this.#env[name] !== undefined;
  }

  /** Names that begin with a prefix and have something after it, sorted, with their values. */
  withPrefix(prefix: string): [rest: string, value: string][] {
    return Object.entries(this.#env)
      .filter((entry): entry is [string, string] =>
        entry[1] !== undefined && entry[0].startsWith(prefix) && entry[0].length > prefix.length
      )
      .map(([name, value]): [string, string] => [name.slice(prefix.length), value])
      .sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Notes that a variable is wrong. */
  invalid(name: string, reason: string): void {
    this.errors.push(`invalid env var ${name}=${this.#env[name] ?? ""} (${reason})`);
  }

  boolean(name: string): boolean | undefined {
    const text = this.#env[name];
    if (text === undefined) return undefined;
    if (text === "true") return true;
    if (text !== "false") this.invalid(name, "expected true or false");
    return false;
  }

  /** A plain decimal number within bounds. */
  integer(name: string, minimum: number, maximum: number): number | undefined {
    const text = this.#env[name];
    if (text === undefined) return undefined;
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= minimum && value <= maximum) return value;
    this.invalid(name, `expected a whole number from ${minimum} to ${maximum}`);
    return undefined;
  }

  /** Milliseconds. */
  duration(name: string): number | undefined {
    const text = this.#env[name];
    if (text === undefined) return undefined;
    const value = parseDuration(text);
    if (value === undefined) this.invalid(name, "expected a duration such as 5m, 1h30m or 500ms");
    return value;
  }

  oneOf<const T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.#env[name];
    if (text === undefined) return undefined;
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) this.invalid(name, `expected ${values.join(" or ")}`);
    return value;
  }
}
