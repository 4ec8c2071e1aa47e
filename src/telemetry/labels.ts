const SEPARATOR = "\u0000";

function escapeLabel(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`)) : value;
}

/** Names with values, rendered once and shared by every family that counts for them. */
export class LabelSet {
  /** `{a="1",b="2"}`, or empty. */
  readonly text: string;

  constructor(names: readonly string[], values: readonly string[]) {
    if (names.length !== values.length) throw new Error(`${names.length} label names, ${values.length} values`);
    const pairs = names.map((name, index) => `${name}="${escapeLabel(values[index] as string)}"`);
    this.text = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  }
}

/** Finds the one LabelSet of given values. Families that share labels share this. */
export class LabelSchema {
  readonly names: readonly string[];
  readonly #sets = new Map<string, LabelSet>();

  constructor(names: readonly string[]) {
    this.names = names;
  }

  intern(values: readonly string[]): LabelSet {
    const key = values.join(SEPARATOR);
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new LabelSet(this.names, values);
      this.#sets.set(key, set);
    }
    return set;
  }
}
