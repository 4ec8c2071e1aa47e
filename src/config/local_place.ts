/** Naming places of documents in messages. Loads zod. */
import type { ZodIssue, ZodTypeAny } from "zod/v3";
import { nearestField } from "./known_fields.ts";
import type { DocumentError } from "./local_document.ts";
import type { YamlText } from "./local_yaml.ts";
import type { Origin, ValuePath } from "./objects/mod.ts";

/** `workloads[3].workloadIps[0]`; keys that are no plain words are quoted: `services["shop/cart"]`. */
export function formatPath(path: ValuePath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}

/** A document of a file, or an object inside one (an item of a List). */
export class Place implements Origin {
  readonly file: string;
  readonly #yaml: YamlText;
  readonly #base: ValuePath;
  /** `HTTPRoute shop/web: ` before the paths of an object; empty for mesh documents. */
  readonly #prefix: string;

  constructor(file: string, yaml: YamlText, base: ValuePath = [], subject = "") {
    this.file = file;
    this.#yaml = yaml;
    this.#base = base;
    this.#prefix = subject === "" ? "" : `${subject}: `;
  }

  locate(path: ValuePath): { readonly path: string; readonly line: number; readonly column: number } {
    return { path: this.file, ...this.#yaml.locate([...this.#base, ...path]) };
  }

  error(path: ValuePath, message: string): DocumentError {
    const where = formatPath(path);
    return { ...this.locate(path), message: this.#prefix + (where === "" ? message : `${where}: ${message}`) };
  }

  /** One error for each unknown field, one for anything else. `schema` is what the whole value was held against. */
  issue(issue: ZodIssue, schema: ZodTypeAny): DocumentError[] {
    if (issue.code !== "unrecognized_keys") return [this.error(issue.path, issueText(issue))];
    return issue.keys.map((key) => {
      const meant = nearestField(schema, issue.path, key);
      const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
      return {
        path: this.file,
        ...this.#yaml.locateKey([...this.#base, ...issue.path], key),
        message: `${this.#prefix}${formatPath([...issue.path, key])}: no such field here${hint}`,
      };
    });
  }

  /** How another place speaks of this one: by path inside the same document, else by file and line. */
  seenFrom(other: Place, path: ValuePath): string {
    if (other.#yaml === this.#yaml) return formatPath([...this.#base, ...path]);
    const { line, column } = this.locate(path);
    return `${this.file}:${line}:${column}`;
  }
}

function issueText(issue: ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      // A field that is refused by name carries its own sentence.
      if (issue.expected === "never") return issue.message;
      return issue.received === "undefined" ? "required" : `expected ${issue.expected}, got ${issue.received}`;
    case "invalid_enum_value":
      return issue.message.startsWith("Invalid enum value")
        ? `expected ${issue.options.join(" or ")}, got ${JSON.stringify(issue.received)}`
        : issue.message;
    case "invalid_literal":
      return issue.message.startsWith("Invalid literal") ? `expected ${JSON.stringify(issue.expected)}` : issue.message;
    case "too_small":
      return issue.type === "number" ? `must be at least ${issue.minimum}` : "must not be empty";
    case "too_big":
      return issue.type === "number" ? `must be at most ${issue.maximum}` : `longer than ${issue.maximum}`;
    default:
      return issue.message;
  }
}
