function sorted(value: unknown): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(sorted);
  const source = value as Record<string, unknown>;
  const target: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(source).sort()) target[key] = sorted(source[key]);
  return target;
}

/** JSON with keys in alphabetical order at every level and two spaces of indentation. Takes plain data only. */
export function sortedJson(value: unknown): string {
  return JSON.stringify(sorted(value), null, 2);
}
