/** The figures of the core with the limits beside them. */
import type { Figures } from "../figures.ts";
import { format, table } from "../table.ts";
import type { CoreFigure } from "./parts.ts";

export function renderCore(rows: readonly CoreFigure[], figures: Figures<"core">): string {
  return table(
    ["the core", "is", "may be", ""],
    rows.map(({ figure, label, unit, most }) => {
      const value = figures.median("core", figure) ?? Number.NaN;
      const limit = most === undefined ? ["", ""] : [`${most} ${unit}`, value <= most ? "pass" : "MISS"];
      return [label, `${format(value)} ${unit}`, ...limit];
    }),
  );
}
