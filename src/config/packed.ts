/**
 * Plain data as a table of its distinct parts. Five thousand routes are mostly alike: packed they cross from the child as
 * a fraction of their JSON, and unpacked equal parts are one object, so that they cost the process little memory.
 */

/** A leaf is itself; an object or array is a reference to a row, written as an array of one number. */
type Cell = string | number | boolean | null | readonly [row: number];

/** Rows refer to earlier rows only. */
export interface Packed {
  /** Sets of keys; a row of an object names one. */
  readonly shapes: readonly (readonly string[])[];
  /** [shape, …values in its order]; shape -1: an array. */
  readonly rows: readonly (readonly [shape: number, ...cells: Cell[]])[];
  readonly root: Cell;
}

/** Data that JSON can say; properties that are undefined are left out, as JSON does. */
export function pack(value: unknown): Packed {
  const shapes: (readonly string[])[] = [];
  const rows: [number, ...Cell[]][] = [];
  const shapeIndex = new Map<string, number>();
  const rowIndex = new Map<string, number>();

  const shapeOf = (keys: readonly string[]): number => {
    const text = JSON.stringify(keys);
    let index = shapeIndex.get(text);
    if (index === undefined) {
      shapeIndex.set(text, index = shapes.length);
      shapes.push(keys);
    }
    return index;
  };
  const cellOf = (value: unknown): Cell => {
    if (typeof value !== "object" || value === null) {
      if (typeof value === "string" || typeof value === "boolean" || value === null) return value;
      // JSON has no other numbers, and nothing else that could be here.
      return typeof value === "number" && Number.isFinite(value) ? value : null;
    }
    const row: [number, ...Cell[]] = [-1];
    if (Array.isArray(value)) { for (const item of value) row.push(cellOf(item)); }
    else {
      const keys = Object.keys(value).filter((key) => (value as Record<string, unknown>)[key] !== undefined);
      row[0] = shapeOf(keys);
      for (const key of keys) row.push(cellOf((value as Record<string, unknown>)[key]));
    }
    const text = JSON.stringify(row);
    let index = rowIndex.get(text);
    if (index === undefined) {
      rowIndex.set(text, index = rows.length);
      rows.push(row);
    }
    return [index];
  };
  const root = cellOf(value);
  return { shapes, rows, root };
}

/** Rows that are unpacked in one go: some 2 ms. */
const SLICE = 4000;

/** As text, in lines of which none takes long to read. */
export function* packedLines(value: unknown): Generator<string> {
  const { shapes, rows, root } = pack(value);
  yield JSON.stringify({ shapes, root });
  for (let at = 0; at < rows.length; at += SLICE) yield JSON.stringify(rows.slice(at, at + SLICE));
}

/** Reads the lines of packedLines one by one; what comes out shares its equal parts, so nobody may change them. */
export class Unpacker {
  readonly #shapes: Packed["shapes"];
  readonly #root: Cell;
  readonly #values: unknown[] = [];

  /** @param head the first line */
  constructor(head: string) {
    const { shapes, root } = JSON.parse(head) as Pick<Packed, "shapes" | "root">;
    this.#shapes = shapes;
    this.#root = root;
  }

  add(line: string): void {
    for (const row of JSON.parse(line) as Packed["rows"]) this.#values.push(this.#valueOfRow(row));
  }

  #valueOf(cell: Cell): unknown {
    return typeof cell === "object" && cell !== null ? this.#values[cell[0]] : cell;
  }

  #valueOfRow(row: Packed["rows"][number]): unknown {
    const keys = this.#shapes[row[0]];
    if (keys === undefined) {
      const array: unknown[] = new Array(row.length - 1);
      for (let i = 1; i < row.length; i++) array[i - 1] = this.#valueOf(row[i] as Cell);
      return array;
    }
    const object: Record<string, unknown> = {};
    for (let i = 0; i < keys.length; i++) object[keys[i] as string] = this.#valueOf(row[i + 1] as Cell);
    return object;
  }

  /** The value, when all lines were added. */
  get value(): unknown {
    return this.#valueOf(this.#root);
  }
}
