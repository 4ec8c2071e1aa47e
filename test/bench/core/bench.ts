/** The core without any socket: what a large mesh, many policies and many series cost. */
import { Figures, judge, type Limit } from "../figures.ts";
import { machineLine } from "../machine.ts";
import { chosen, type Plan, type Results, type Say } from "../plan.ts";
import { type CoreFigure, measurePart, PARTS } from "./parts.ts";
import { renderCore } from "./report.ts";

export async function benchCore(plan: Plan, say: Say): Promise<Results> {
  const parts = chosen("part", plan.parts, PARTS);
  const figures = new Figures<"core">();
  const rows = new Map<string, CoreFigure>();
  for (let round = 1; round <= plan.rounds; round++) {
    for (const part of parts) {
      say(`round ${round} of ${plan.rounds}: ${part}`);
      for (const row of await measurePart(part)) {
        figures.add("core", row.figure, row.value);
        rows.set(row.figure, row);
      }
    }
  }
  return {
    environment: machineLine(),
    figures,
    table: renderCore([...rows.values()], figures),
    judgements: judge(figures, limitsOf(rows.values()), { own: "core", yardstick: "core" }),
  };
}

function limitsOf(rows: Iterable<CoreFigure>): Limit[] {
  return [...rows].flatMap(({ figure, label, most, unit }) =>
    most === undefined ? [] : [{ figure, label, most, relative: false, unit }]
  );
}
