import { describe, expect, test } from "bun:test";
import { compose, cut, type Picture, wrap } from "./screen.ts";

describe("a line", () => {
  test("is cut by characters, not by bytes or UTF-16 units", () => {
    expect(cut("bytes → 😀😀", 9)).toBe("bytes → 😀");
  });

  test("keeps its colour's end", () => {
    expect(cut("\x1b[1mtitle\x1b[0m", 3)).toBe("\x1b[1mtit\x1b[0m");
    expect(cut("\x1b[1mtitle\x1b[0m", 5)).toBe("\x1b[1mtitle\x1b[0m");
  });

  test("is wrapped between words", () => {
    expect(wrap("refused: no such policy", 16)).toEqual(["refused: no such", "  policy"]);
    expect(wrap("a/very/long/path", 10)).toEqual(["a/very/lon", "  g/path"]);
    expect(wrap("short", 10)).toEqual(["short"]);
  });
});

describe("a picture", () => {
  const many = (label: string, count: number) => Array.from({ length: count }, (_, index) => `${label} ${index}`);
  const picture: Picture = {
    title: ["title"],
    table: many("row", 5),
    log: { title: "log", entries: many("access", 8) },
    notes: { title: "notes", entries: many("note", 3) },
    hints: many("hint", 6),
  };

  test("is all there where there is no terminal", () => {
    const lines = compose(picture, { columns: Infinity, rows: Infinity });
    expect(lines).toEqual(expect.arrayContaining([...picture.log.entries, ...picture.notes.entries, ...picture.hints]));
    expect(lines.filter((line) => line === "")).toHaveLength(4);
  });

  test("gives up the oldest of the log first", () => {
    const lines = compose(picture, { columns: 80, rows: 24 });
    expect(lines).toHaveLength(23);
    expect(lines.slice(0, 6)).toEqual(["title", ...picture.table]);
    expect(lines.slice(6, 13)).toEqual(["log", ...picture.log.entries.slice(-6)]);
    expect(lines.slice(13)).toEqual(["notes", ...picture.notes.entries, ...picture.hints]);
  });

  test("keeps title, table and hints in the smallest terminal", () => {
    for (const rows of [13, 14]) {
      expect(compose(picture, { columns: 80, rows })).toEqual(["title", ...picture.table, ...picture.hints]);
    }
  });

  test("shows the newest note whole rather than two in part", () => {
    const entries = ["older ".repeat(4).trim(), "newer ".repeat(4).trim()];
    const lines = compose({ ...picture, notes: { title: "notes", entries } }, { columns: 12, rows: 24 });
    const notes = lines.slice(lines.indexOf("notes") + 1, lines.indexOf("hint 0"));
    expect(notes).toEqual(["newer newer", "  newer", "  newer"]);
  });
});
