/** The table of the original's tests is true: each test that it names is there. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LOCALHOST, NAMESPACED, type Recreation, UNITS } from "./originals.ts";

/** Whether a file has a text that begins so: the name of a test, or a part of a table that names tests. */
function has(file: string, name: string): boolean {
  const path = join(import.meta.dir, file);
  if (!existsSync(path)) return false;
  const source = readFileSync(path, "utf8");
  return ['"', "`"].some((quote) => source.includes(`${quote}${name}`));
}

const rows: readonly Recreation[] = [...NAMESPACED, ...LOCALHOST];

test("every row has a test or says what it needs, never both", () => {
  expect(rows.filter(({ test, needs }) => (test === undefined) === (needs === undefined))).toEqual([]);
});

test("every test that a row names is in its file", () => {
  const lost = rows.filter(({ test }) => test !== undefined && !has(...test)).map(({ test }) => test?.join(": "));
  expect(lost).toEqual([]);
});

test("no name stands for two rows of the original's", () => {
  const names = rows.map(({ original }) => original);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

test("every unit table has files that are there, or says what it needs", () => {
  const lost = UNITS.flatMap(({ files }) => files.filter((file) => !existsSync(join(dirname(import.meta.dir), file))));
  expect(lost).toEqual([]);
  expect(UNITS.filter(({ files, needs }) => files.length === 0 && needs === undefined)).toEqual([]);
});
