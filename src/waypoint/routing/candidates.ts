/**
 * Routes that the path does not tell apart. Where there are many, each is filed under one thing that a request must
 * have for it (an exact header value, a query parameter, the client's namespace), so that a request is compared with
 * those only that it may belong to. Order still decides: the lowest index that matches.
 */
import { exactHeaderValue, fieldReader, octetsOf, queryParameter } from "../../matching/mod.ts";
import { joinedField } from "../../http/message.ts";
import type { RouteMatch } from "../snapshot/mod.ts";
import type { RoutedRequest, RoutePredicate } from "./route_match.ts";

/** Below this number comparing all is cheaper than looking up. */
const WORTH_FILING = 8;

export interface Candidate {
  /** Place in the order. */
  readonly index: number;
  readonly match: RouteMatch;
  readonly matches: RoutePredicate;
}

/** In order. */
type Row = Candidate[];

interface Key {
  readonly source: "field" | "pseudo" | "query" | "namespace";
  readonly name: string;
  readonly value: string;
}

type Reader = (request: RoutedRequest) => string | undefined;

export class Candidates {
  readonly #all: Row = [];
  /** Those that nothing could be found for. */
  #plain: Row = this.#all;
  /** By name, then value. Asked for each field of a request. */
  #fields: Map<string, Map<string, Row>> | undefined;
  /** Everything else, asked once each. */
  #others: { readonly read: Reader; readonly rows: Map<string, Row> }[] = [];

  /** In ascending order of index. */
  add(candidate: Candidate): void {
    this.#all.push(candidate);
  }

  /** Files what has been added. */
  finish(): void {
    if (this.#all.length < WORTH_FILING) return;
    const keys = this.#all.map(({ match }) => keysOf(match));
    const counts = new Map<string, number>();
    for (const key of keys.flat()) counts.set(keyText(key), (counts.get(keyText(key)) ?? 0) + 1);
    const plain: Row = [];
    const others = new Map<string, { read: Reader; rows: Map<string, Row> }>();
    this.#all.forEach((candidate, i) => {
      const key = rarest(keys[i]!, counts);
      if (key === undefined) plain.push(candidate);
      else if (key.source === "field") rowOf(entryOf(this.#fields ??= new Map(), key.name), key.value).push(candidate);
      else {
        const id = `${key.source} ${key.name}`;
        let other = others.get(id);
        if (other === undefined) others.set(id, other = { read: readerOf(key), rows: new Map() });
        rowOf(other.rows, key.value).push(candidate);
      }
    });
    this.#plain = plain;
    this.#others = [...others.values()];
  }

  /** Index of the first that matches, if it is lower than `below`; otherwise `below`. */
  first(request: RoutedRequest, below: number): number {
    let best = firstOf(this.#plain, request, below);
    const byName = this.#fields;
    if (byName !== undefined) {
      const { fields } = request.head;
      for (const [name, value] of fields) {
        const byValue = byName.get(name);
        if (byValue === undefined) continue;
        best = firstOf(byValue.get(value), request, best);
        // Of several fields of the name the joined value counts.
        const joined = joinedField(fields, name)!;
        if (joined.length !== value.length) best = firstOf(byValue.get(joined), request, best);
      }
    }
    for (const { read, rows } of this.#others) {
      const value = read(request);
      if (value !== undefined) best = firstOf(rows.get(value), request, best);
    }
    return best;
  }
}

function firstOf(row: Row | undefined, request: RoutedRequest, below: number): number {
  if (row === undefined) return below;
  for (const candidate of row) {
    if (candidate.index >= below) return below;
    if (candidate.matches(request)) return candidate.index;
  }
  return below;
}

/** What a request must have to match. */
function keysOf(match: RouteMatch): Key[] {
  const keys: Key[] = [];
  if (match.sourceNamespace !== undefined) {
    keys.push({ source: "namespace", name: "", value: match.sourceNamespace });
  }
  for (const header of match.headers) {
    const value = exactHeaderValue(header);
    if (value === undefined) continue;
    const { name } = header;
    keys.push({ source: name.startsWith(":") || name === "host" ? "pseudo" : "field", name, value });
  }
  for (const { name, match: { kind, ...rest } } of match.query) {
    if (kind !== "exact") continue;
    const { value, ignoreCase } = rest as { value: string; ignoreCase?: boolean };
    if (ignoreCase !== true) keys.push({ source: "query", name: octetsOf(name), value: octetsOf(value) });
  }
  return keys;
}

function keyText({ source, name, value }: Key): string {
  return `${source} ${name} ${value}`;
}

/** The key that the fewest routes share. */
function rarest(keys: readonly Key[], counts: ReadonlyMap<string, number>): Key | undefined {
  let found: Key | undefined;
  let least = Infinity;
  for (const key of keys) {
    const count = counts.get(keyText(key))!;
    if (count >= least) continue;
    found = key;
    least = count;
  }
  return found;
}

function readerOf({ source, name }: Key): Reader {
  if (source === "namespace") return (request) => request.sourceNamespace;
  if (source === "query") return (request) => queryParameter(request.head.path, name);
  const read = fieldReader(name);
  return (request) => read(request.head);
}

function entryOf(map: Map<string, Map<string, Row>>, name: string): Map<string, Row> {
  let entry = map.get(name);
  if (entry === undefined) map.set(name, entry = new Map());
  return entry;
}

function rowOf(map: Map<string, Row>, value: string): Row {
  let row = map.get(value);
  if (row === undefined) map.set(value, row = []);
  return row;
}
