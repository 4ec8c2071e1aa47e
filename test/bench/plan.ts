/** What a run of the bench is asked to do, and what it gives. */
import type { Figures, Judgement } from "./figures.ts";

export interface Plan {
  /** Which proxy is looked at. */
  readonly subject: "ztunnel" | "waypoint";
  readonly rounds: number;
  readonly quick: boolean;
  /** Names of paths; undefined for all. */
  readonly only: readonly string[] | undefined;
  /** Names of parts; undefined for all. */
  readonly parts: readonly string[] | undefined;
  /** Where the figures with all samples go. */
  readonly json: string | undefined;
}

export interface Results {
  /** Machine and programs. */
  readonly environment: string;
  readonly figures: Figures<string>;
  readonly table: string;
  readonly judgements: readonly Judgement[];
}

/** Tells what is being done. */
export type Say = (text: string) => void;

const VALUED = ["--json", "--rounds", "--only", "--parts"];
const PLAIN = ["--quick", "--waypoint"];

/** @throws Error for what is not known */
export function readPlan(args: readonly string[]): Plan {
  const value = (name: string) => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const known = [...PLAIN, ...VALUED];
  const stray = args.find((arg, at) =>
    arg.startsWith("--") ? !known.includes(arg) : !VALUED.includes(args[at - 1] ?? "")
  );
  if (stray !== undefined) throw new Error(`bench: unknown argument ${stray}; there are ${known.join(", ")}`);
  const quick = args.includes("--quick");
  return {
    subject: args.includes("--waypoint") ? "waypoint" : "ztunnel",
    rounds: Number(value("--rounds") ?? (quick ? 1 : 3)),
    quick,
    only: value("--only")?.split(","),
    parts: value("--parts")?.split(","),
    json: value("--json"),
  };
}

/** Those of the names that are wanted, in their own order. @throws Error for a wanted name that is none of them */
export function chosen<Name extends string>(
  what: string,
  wanted: readonly string[] | undefined,
  names: readonly Name[],
): readonly Name[] {
  const stray = wanted?.find((name) => !(names as readonly string[]).includes(name));
  if (stray !== undefined) throw new Error(`bench: there is no ${what} ${stray}; there are ${names.join(", ")}`);
  return names.filter((name) => wanted === undefined || wanted.includes(name));
}
