/**
 * The parts of the core that are measured, each in a process of its own: the heap of one does not slow the next.
 *
 *     bun test/bench/core/parts.ts mesh      its figures as one line of JSON
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { measureExposition } from "./exposition.ts";
import { HELD_MS, LOOKUP_NS, MESH_MEMORY_MB, MESH_SIZE, POLICIES, SCRAPE_MS, SERIES } from "./limits.ts";
import { UNSELECTED_US, UPDATE_GROWTH, XDS_SIZE } from "./limits.ts";
import { meshFigures } from "./mesh.ts";
import { measurePolicies } from "./policy.ts";
import { measureXds, type XdsPhase } from "./xds.ts";

/** One measured figure, with its limit where it has one. */
export interface CoreFigure {
  /** E.g. `mesh.rss`. */
  readonly figure: string;
  readonly label: string;
  readonly value: number;
  readonly unit: string;
  readonly most?: number;
}

const MIB = 1 << 20;
/** Scrapes in each encoding. */
const SCRAPES = 7;

async function mesh(): Promise<CoreFigure[]> {
  const figures = await meshFigures(MESH_SIZE);
  const [small, large] = figures.update;
  if (small === undefined || large === undefined) throw new Error("bench: no updates were measured");
  const row = (name: string, label: string, value: number, unit: string, most?: number): CoreFigure => ({
    figure: `mesh.${name}`,
    label,
    value,
    unit,
    ...(most === undefined ? {} : { most }),
  });
  return [
    row(
      "rss",
      `RSS with ${thousands(MESH_SIZE.workloads)} workloads and ${thousands(MESH_SIZE.services)} services`,
      figures.rss / MIB,
      "MB",
      MESH_MEMORY_MB,
    ),
    row("empty", "– of the same process before", figures.baseRss / MIB, "MB"),
    row("peak", "– at most on the way", figures.peakRss / MIB, "MB"),
    row("load", "– to decode and take in", figures.load, "ms"),
    row("address", "look-up of a workload by IP", figures.byAddress, "ns", LOOKUP_NS),
    row("vip", "look-up of a service by VIP", figures.byVip, "ns", LOOKUP_NS),
    row("unknown", "– of an address that is neither", figures.unknownAddress, "ns", LOOKUP_NS),
    row("range.ipv4", "– among 8 000 ranges of VIPs, IPv4", figures.byRange, "ns", LOOKUP_NS),
    row("range.ipv6", "– among 8 000 ranges of VIPs, IPv6", figures.byRangeIpv6, "ns", LOOKUP_NS),
    row("range.outside", "– outside all of them", figures.outsideRanges, "ns", LOOKUP_NS),
    row("choose.any", "choice among 10 000 endpoints", figures.choose, "ns"),
    row("choose.closest", "– of a close one", figures.chooseClosest, "ns"),
    row("update.small", `update of one workload among ${thousands(small.workloads)}`, small.median, "µs"),
    row("update.large", `– among ${thousands(large.workloads)}`, large.median, "µs"),
    row("update.growth", "– the one by the other", large.median / small.median, "×", UPDATE_GROWTH),
    row("update.service", "– in a service of 10 000 endpoints", figures.updateLargeService, "µs"),
  ];
}

function policy(): CoreFigure[] {
  const figures = measurePolicies(POLICIES);
  const { unselected, selected, changes } = figures;
  const times = (kind: string, label: string, { median, p99 }: { median: number; p99: number }, most?: number) => [
    { figure: `policy.${kind}`, label, value: median, unit: "µs", ...(most === undefined ? {} : { most }) },
    { figure: `policy.${kind}.p99`, label: "– 99th percentile", value: p99, unit: "µs" },
  ];
  return [
    ...unselected.flatMap(({ what, ...rest }) =>
      times(
        `unselected.${what}`,
        `a connection that none of ${thousands(POLICIES)} policies selects: ${what}`,
        rest,
        UNSELECTED_US,
      )
    ),
    ...selected.flatMap(({ what, median }) => [
      {
        figure: `policy.selected.${what}`,
        label: `a connection that all of them select, and none matches: ${what}`,
        value: median,
        unit: "µs",
      },
    ]),
    ...changes.flatMap(({ policies, median }) => [
      {
        figure: `policy.change.${policies}`,
        label: `one policy of ${thousands(policies)} replaced, and the next connection`,
        value: median,
        unit: "µs",
      },
    ]),
    { figure: "policy.load", label: "all policies taken in", value: figures.load, unit: "ms" },
    { figure: "policy.memory", label: "– memory of them", value: figures.memory / MIB, unit: "MB" },
  ];
}

async function exposition(): Promise<CoreFigure[]> {
  const all = await measureExposition(SERIES, SCRAPES);
  return all.flatMap(({ encoding, bytes, wall, longestTurn, worstTurn }) => [
    {
      figure: `exposition.${encoding}.wall`,
      label: `scrape of ${thousands(SERIES)} series, ${encoding}`,
      value: wall,
      unit: "ms",
      most: SCRAPE_MS,
    },
    { figure: `exposition.${encoding}.held`, label: "– the loop held", value: longestTurn, unit: "ms", most: HELD_MS },
    { figure: `exposition.${encoding}.worst`, label: `– in the worst of ${SCRAPES}`, value: worstTurn, unit: "ms" },
    { figure: `exposition.${encoding}.size`, label: "– over the wire", value: bytes / 1e6, unit: "MB" },
  ]);
}

const XDS_LABELS: Readonly<Record<XdsPhase, string>> = {
  first: `${thousands(XDS_SIZE.workloads)} workloads come over the stream`,
  reconnect: "a new stream is told which versions are there",
  again: "all of them come once more, with changes",
};

async function xds(): Promise<CoreFigure[]> {
  const all = await measureXds(XDS_SIZE.workloads, XDS_SIZE.services);
  return all.flatMap(({ phase, wall, held, heldCpu, echoBefore, echoMeanwhile, bytes }) => [
    { figure: `xds.${phase}.wall`, label: XDS_LABELS[phase], value: wall, unit: "ms" },
    {
      figure: `xds.${phase}.computing`,
      label: "– most in one turn of the loop",
      value: heldCpu,
      unit: "ms",
      most: HELD_MS,
    },
    { figure: `xds.${phase}.held`, label: "– the loop held, others' time included", value: held, unit: "ms" },
    { figure: `xds.${phase}.echo.before`, label: "– p99 of an echo before", value: echoBefore, unit: "ms" },
    { figure: `xds.${phase}.echo.meanwhile`, label: "– meanwhile", value: echoMeanwhile, unit: "ms" },
    { figure: `xds.${phase}.size`, label: "– size of the message", value: bytes / 1e6, unit: "MB" },
  ]);
}

const MEASURES = { mesh, policy, exposition, xds } as const;
export type PartName = keyof typeof MEASURES;
export const PARTS = Object.keys(MEASURES) as readonly PartName[];

function thousands(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** @throws Error where the part's process ended without figures */
export async function measurePart(name: PartName): Promise<readonly CoreFigure[]> {
  const child = Bun.spawn([process.execPath, fileURLToPath(import.meta.url), name], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const output = await new Response(child.stdout).text();
  if (await child.exited !== 0) throw new Error(`bench: ${name} could not be measured`);
  return JSON.parse(output) as CoreFigure[];
}

if (import.meta.main) {
  const name = process.argv[2] as PartName;
  console.log(JSON.stringify(await MEASURES[name]()));
}
