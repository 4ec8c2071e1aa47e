/** YAML text as a value, with the place of every part of it. */
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import type { DocumentError } from "./local_document.ts";

/** Path of a value inside a document, e.g. `["workloads", 3, "workloadIps", 0]`. */
export type ValuePath = readonly (string | number)[];

export interface YamlText {
  readonly value: unknown;
  /** Line and column of the value at a path, or of the nearest part around it that is there. */
  locate(path: ValuePath): { readonly line: number; readonly column: number };
  /** The same of a key of a mapping. */
  locateKey(path: ValuePath, key: string): { readonly line: number; readonly column: number };
}

export type YamlResult =
  | { readonly ok: true; readonly yaml: YamlText }
  | { readonly ok: false; readonly errors: DocumentError[] };

/** `!Exact x` is how serde writes what is `{Exact: x}` elsewhere. */
const TAGS = ["Exact", "Prefix", "Suffix"].map((name) => ({
  tag: `!${name}`,
  resolve: (value: string) => ({ [name]: value }),
}));

/** Parses one YAML (or JSON) document. Unknown tags, duplicate keys and further documents are errors. */
export function parseYaml(text: string, path: string): YamlResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, customTags: TAGS, prettyErrors: false });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    const errors = problems.map((problem) => {
      const { line, col } = lines.linePos(problem.pos[0]);
      return { path, line, column: col, message: problem.message };
    });
    return { ok: false, errors };
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    // Aliases that grow without bound.
    return { ok: false, errors: [{ path, line: 1, column: 1, message: (error as Error).message }] };
  }
  return { ok: true, yaml: new ParsedYaml(value, document, lines) };
}

class ParsedYaml implements YamlText {
  readonly value: unknown;
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(value: unknown, document: Document, lines: LineCounter) {
    this.value = value;
    this.#document = document;
    this.#lines = lines;
  }

  locate(path: ValuePath) {
    let node = this.#document.contents as Node | null;
    let at = node;
    for (const part of path) {
      node = child(node, part);
      if (node === null) break;
      at = node;
    }
    return this.#position(at);
  }

  locateKey(path: ValuePath, key: string) {
    let node = this.#document.contents as Node | null;
    for (const part of path) node = child(node, part);
    const pair = pairOf(node, key);
    return pair === undefined ? this.locate(path) : this.#position(pair.key as Node);
  }

  #position(node: Node | null) {
    const { line, col } = this.#lines.linePos(node?.range?.[0] ?? 0);
    return { line, column: col };
  }
}

function pairOf(node: Node | null, key: string): Pair | undefined {
  if (!isMap(node)) return undefined;
  return node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function child(node: Node | null, part: string | number): Node | null {
  if (isSeq(node)) return (node.items[Number(part)] as Node | undefined) ?? null;
  return (pairOf(node, String(part))?.value as Node | null | undefined) ?? null;
}
