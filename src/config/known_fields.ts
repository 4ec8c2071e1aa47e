/** What an unknown field was meant to be. Loads zod. */
import { z } from "zod/v3";
import type { ValuePath } from "./objects/mod.ts";

/** Edits that a slip of the pen has, of names long enough that not everything is near. */
const SLIPS = 2;
const SHORT = 3;

/** The known field that an unknown one at `path` is nearest to; undefined: none is near. */
export function nearestField(schema: z.ZodTypeAny, path: ValuePath, unknown: string): string | undefined {
  let nearest: string | undefined;
  let least = unknown.length <= SHORT ? 1 : SLIPS;
  for (const name of fieldsAt(schema, path)) {
    if (name === unknown) continue; // known to another form of a union
    const edits = editDistance(unknown.toLowerCase(), name.toLowerCase());
    if (edits > least || edits === least && nearest !== undefined) continue;
    nearest = name;
    least = edits;
  }
  return nearest;
}

/** Names of the fields that an object at a path may have. */
function fieldsAt(schema: z.ZodTypeAny, path: ValuePath): string[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return fieldsAt(schema.unwrap(), path);
  if (schema instanceof z.ZodEffects) return fieldsAt(schema.innerType(), path);
  if (schema instanceof z.ZodUnion) {
    return (schema.options as z.ZodTypeAny[]).flatMap((option) => fieldsAt(option, path));
  }
  const [first, ...rest] = path;
  if (schema instanceof z.ZodObject) {
    const shape = schema.shape as Readonly<Record<string, z.ZodTypeAny>>;
    if (first === undefined) return Object.keys(shape);
    const field = Object.hasOwn(shape, first) ? shape[first] : undefined;
    return field === undefined ? [] : fieldsAt(field, rest);
  }
  if (first === undefined) return [];
  if (schema instanceof z.ZodArray) return fieldsAt(schema.element as z.ZodTypeAny, rest);
  if (schema instanceof z.ZodRecord) return fieldsAt(schema.valueSchema as z.ZodTypeAny, rest);
  return [];
}

/** Insertions, removals and replacements from one text to the other (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
