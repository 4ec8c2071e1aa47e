/**
 * Finds the rules that a request can match by what they need: a path, a host, a field's value. A chain may have hundreds of
 * rules, and most of them need a text that a given request does not have.
 */
import type { Need, Subject } from "./rbac_need.ts";
import type { RequestFacts } from "./request_facts.ts";

interface Texts<T> {
  readonly subject: Subject;
  readonly exact: Map<string, T[]>;
  /** By length, ascending: what begins with the text. */
  prefixes: { readonly length: number; readonly values: Map<string, T[]> }[];
}

function push<K, T>(buckets: Map<K, T[]>, key: K, item: T): void {
  const bucket = buckets.get(key);
  if (bucket === undefined) buckets.set(key, [item]);
  else if (bucket.at(-1) !== item) bucket.push(item);
}

export class NeedIndex<T> {
  readonly #rest: T[] = [];
  readonly #texts: Texts<T>[] = [];
  readonly #fields = new Map<string, Map<string, T[]>>();

  /** Items come in their order. */
  add(item: T, need: Need | undefined): void {
    if (need === undefined || need.values.includes("")) {
      this.#rest.push(item);
    } else if (need.kind === "field") {
      const values = this.#fields.get(need.field) ?? new Map<string, T[]>();
      this.#fields.set(need.field, values);
      for (const value of need.values) push(values, value, item);
    } else {
      const texts = this.#textsOf(need.subject);
      for (const value of need.values) {
        push(need.kind === "exact" ? texts.exact : this.#prefixesOf(texts, value.length), value, item);
      }
    }
  }

  #textsOf(subject: Subject): Texts<T> {
    let texts = this.#texts.find((one) => one.subject === subject);
    if (texts === undefined) {
      texts = { subject, exact: new Map(), prefixes: [] };
      this.#texts.push(texts);
    }
    return texts;
  }

  #prefixesOf(texts: Texts<T>, length: number): Map<string, T[]> {
    let prefixes = texts.prefixes.find((one) => one.length === length);
    if (prefixes === undefined) {
      prefixes = { length, values: new Map() };
      texts.prefixes.push(prefixes);
      texts.prefixes.sort((left, right) => left.length - right.length);
    }
    return prefixes.values;
  }

  /** Shows all items that may match, in lists that are each in order; one may be shown twice. */
  visit(facts: RequestFacts, visit: (items: readonly T[]) => void): void {
    if (this.#rest.length > 0) visit(this.#rest);
    for (const { subject, exact, prefixes } of this.#texts) {
      const text = subject.read(facts);
      if (text === undefined) continue;
      const same = exact.get(text);
      if (same !== undefined) visit(same);
      for (const { length, values } of prefixes) {
        if (length > text.length) break;
        const begun = values.get(text.slice(0, length));
        if (begun !== undefined) visit(begun);
      }
    }
    if (this.#fields.size === 0 || facts.head === undefined) return;
    for (const field of facts.head.fields) {
      const bucket = this.#fields.get(field[0])?.get(field[1]);
      if (bucket !== undefined) visit(bucket);
    }
  }
}
