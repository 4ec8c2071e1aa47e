/** YAML text as a value, with the place of every part of it. */
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from "yaml";
import type { DocumentError } from "./local_document.ts";
import type { ValuePath } from "./objects/mod.ts";

export interface YamlText {
  readonly value: unknown;
  /** Line and column of the value at a path, or of the nearest part around it that is there. */
  locate(path: ValuePath): { readonly line: number; readonly column: number };
  /** The same of a key of a mapping. */
  locateKey(path: ValuePath, key: string): { readonly line: number; readonly column: number };
}

export type YamlResult =
  /** Without documents that hold nothing; all of a file's documents, in order. */
  | { readonly ok: true; readonly documents: readonly YamlText[] }
  | { readonly ok: false; readonly errors: DocumentError[] };

/** `!Exact x` is how serde writes what is `{Exact: x}` elsewhere. */
const TAGS = ["Exact", "Prefix", "Suffix"].map((name) => ({
  tag: `!${name}`,
  resolve: (value: string) => ({ [name]: value }),
}));

/** Parses the YAML (or JSON) documents of a text. Unknown tags and duplicate keys are errors. */
export function parseYaml(text: string, path: string): YamlResult {
  const lines = new LineCounter();
  // What begins as several documents may turn out to be none.
  const parsed = parseAllDocuments(text, { lineCounter: lines, customTags: TAGS, prettyErrors: false });
  const documents: YamlText[] = [];
  const errors: DocumentError[] = [];
  for (const document of Array.isArray(parsed) ? parsed : []) {
    for (const problem of [...document.errors, ...document.warnings]) {
      const { line, col } = lines.linePos(problem.pos[0]);
      errors.push({ path, line, column: col, message: problem.message });
    }
    if (errors.length > 0) continue;
    try {
      const value: unknown = document.toJS();
      if (value !== null && value !== undefined) documents.push(new ParsedYaml(value, document, lines));
    } catch (error) {
      // Aliases that grow without bound.
      const { line, col } = lines.linePos(document.range[0]);
      errors.push({ path, line, column: col, message: (error as Error).message });
    }
  }
  return errors.length > 0 ? { ok: false, errors } : { ok: true, documents };
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
