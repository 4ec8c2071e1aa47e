/** What a run of the bench is asked to do, and what it gives. */
import { resolve } from "node:path";
import type { Figures, Judgement } from "./figures.ts";

export interface Plan {
  /** What is looked at: a proxy, or the core without any socket. */
  readonly subject: "ztunnel" | "waypoint" | "core";
  readonly rounds: number;
  readonly quick: boolean;
  /** An executable of before: the path that ours is measured by, in place of strangers; undefined for those. */
  readonly before: string | undefined;
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

const VALUED = ["--before", "--json", "--rounds", "--only", "--parts"];
const PLAIN = ["--quick", "--waypoint", "--core"];

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
  const before = value("--before");
  const core = args.includes("--core");
  const waypoint = args.includes("--waypoint");
  const senseless = ["--waypoint", "--before", "--only"].find((name) => args.includes(name));
  if (core && senseless !== undefined) throw new Error(`bench: --core knows no ${senseless}`);
  return {
    subject: core ? "core" : waypoint ? "waypoint" : "ztunnel",
    rounds: Number(value("--rounds") ?? (quick ? 1 : 3)),
    quick,
    before: before === undefined ? undefined : resolve(before),
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
