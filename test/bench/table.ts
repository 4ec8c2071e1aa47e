/** Markdown tables, for the terminal and for BENCHMARKS.md alike. */
import type { Judgement } from "./figures.ts";

/** Limits on our own path, measured by the one beside it. */
export function renderJudgements(judgements: readonly Judgement[]): string {
  const rows = judgements.map(({ limit, yardstick, own, value, pass }) => [
    limit.label,
    yardstick === undefined ? "–" : `${format(yardstick)} ${limit.unit}`,
    `${format(own)} ${limit.unit}`,
    limit.relative ? `${value.toFixed(2)} ×` : `${format(value)} ${limit.unit}`,
    limit.relative ? `${limit.most} ×` : `${limit.most} ${limit.unit}`,
    pass ? "pass" : "MISS",
  ]);
  return table(["limit on (c)", "(b)", "(c)", "is", "may be", ""], rows);
}

/** Three digits that count. */
export function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? "")].length)));
  const line = (row: readonly string[]) => {
    const cells = row.map((cell, column) => {
      const room = " ".repeat((widths[column] ?? 0) - [...cell].length);
      return column === 0 ? cell + room : room + cell;
    });
    return `| ${cells.join(" | ")} |`;
  };
  const rule = `|${widths.map((width, column) => "-".repeat(width + 1) + (column === 0 ? "-" : ":")).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
