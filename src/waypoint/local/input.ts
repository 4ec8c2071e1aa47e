/** What the compiler of local objects works on. */
import type { AppProtocol } from "../../config/local_schema.ts";
import type { DocumentError, LocalDocument } from "../../config/local_document.ts";
import type { LocalObject, LocalObjects, ValuePath } from "../../config/objects/mod.ts";

export interface LocalInput {
  readonly mesh: LocalDocument;
  /** By uid of the workload. */
  readonly labels: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** By `namespace/hostname`, then port. */
  readonly appProtocols: ReadonlyMap<string, Readonly<Record<string, AppProtocol>>>;
  readonly objects: LocalObjects;
  /** Text of a file that an object names (certificates); throws what the file system throws. */
  readonly readText: (path: string) => string;
}

/** Gathers what is wrong and what is doubtful. */
export class Report {
  readonly errors: DocumentError[] = [];
  readonly warnings: DocumentError[] = [];
  readonly #told = new Set<string>();

  error(object: LocalObject, path: ValuePath, message: string): void {
    this.#tell(this.errors, object.origin.error(path, message));
  }

  warn(object: LocalObject, path: ValuePath, message: string): void {
    this.warnText(object.origin.error(path, message));
  }

  warnText(warning: DocumentError): void {
    this.#tell(this.warnings, warning);
  }

  /** The same of the same place once, however often the object is looked at. */
  #tell(list: DocumentError[], entry: DocumentError): void {
    const key = JSON.stringify(entry);
    if (this.#told.has(key)) return;
    this.#told.add(key);
    list.push(entry);
  }
}

/** `HTTPRoute shop/web` */
export function subject(object: LocalObject): string {
  return `${object.kind} ${object.namespace}/${object.name}`;
}

/** Oldest first, then by namespace and name: which of several objects comes first (Gateway API). */
export function byAge(a: LocalObject, b: LocalObject): number {
  if (a.created !== b.created) return a.created < b.created ? -1 : 1;
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
