/** What a process holds, counted from outside: memory, threads, descriptors by kind, sockets by namespace and state. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { inNamespace } from "../../src/linux/mod.ts";

export interface Census {
  readonly rssKb: number;
  /** Of it, what is no file's content. */
  readonly anonymousKb: number;
  readonly threads: number;
  /** How many descriptors of each kind, sockets by `namespace protocol STATE`. */
  readonly held: Readonly<Record<string, number>>;
  /** Connections to the control plane: they come and go on their own, one for discovery, one for certificates. */
  readonly controlPlane: number;
  /** Sockets of no state: made and not yet connected (the proxy has a few in stock), or of a namespace that is gone. */
  readonly loose: number;
}

/** Name of a network namespace in the census, and its descriptor. */
export interface Place {
  readonly label: string;
  readonly fd: number;
}

/** `st` of /proc/net/tcp (include/net/tcp_states.h). */
const STATES = [
  "",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
];
/** Columns of those tables. */
const REMOTE_COLUMN = 2;
const STATE_COLUMN = 3;
const INODE_COLUMN = 9;
const UNIX_INODE_COLUMN = 6;
/** Of schedstat, nanoseconds. */
const WAITED_FIELD = 1;

/** 15012, as those tables write it. */
const CONTROL_PLANE_PORT = ":3AA4";
const CONTROL_PLANE = "control plane";

/** What every socket of these namespaces is, by its inode. */
export function socketTable(places: readonly Place[]): Map<string, string> {
  const table = new Map<string, string>();
  for (const { label, fd } of places) {
    const read = (name: string) =>
      inNamespace(fd, () => readFileSync(`/proc/thread-self/net/${name}`, "utf8")).split("\n").slice(1);
    for (const protocol of ["tcp", "tcp6", "udp", "udp6"]) {
      for (const line of read(protocol)) {
        const columns = line.trim().split(/\s+/);
        const inode = columns[INODE_COLUMN];
        const state = STATES[Number.parseInt(columns[STATE_COLUMN] ?? "", 16)] ?? "";
        const toControlPlane = columns[REMOTE_COLUMN]?.endsWith(CONTROL_PLANE_PORT) === true;
        if (inode !== undefined) table.set(inode, toControlPlane ? CONTROL_PLANE : `${label} ${protocol} ${state}`);
      }
    }
    for (const line of read("unix")) {
      const inode = line.trim().split(/\s+/)[UNIX_INODE_COLUMN];
      if (inode !== undefined) table.set(inode, `${label} unix`);
    }
  }
  return table;
}

/** Counts a process from outside. @throws Error when it is gone */
export function takeCensus(pid: number, sockets: ReadonlyMap<string, string>): Census {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
  const held: Record<string, number> = {};
  let loose = 0;
  let controlPlane = 0;
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    let target: string;
    try {
      target = readlinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      continue; // closed since the listing
    }
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    const kind = inode === undefined ? kindOf(target) : sockets.get(inode);
    if (kind === undefined) loose++;
    else if (kind === CONTROL_PLANE) controlPlane++;
    else held[kind] = (held[kind] ?? 0) + 1;
  }
  return {
    rssKb: number("VmRSS"),
    anonymousKb: number("RssAnon"),
    threads: number("Threads"),
    held,
    controlPlane,
    loose,
  };
}

/** `pipe:[1234]` is a pipe; names of files stay. */
function kindOf(target: string): string {
  return target.replace(/:\[\d+\]$/, "").replace(/^\/run\/netns\/.*/, "net").replace("anon_inode:", "");
}

/** Time that the threads of a process were ready to run and had no core, ms. */
export function waitedMs(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[WAITED_FIELD]) / 1e6;
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return sum;
}

/** All but what is made in advance. */
export function descriptors({ held, controlPlane }: Pick<Census, "held" | "controlPlane">): number {
  return Object.values(held).reduce((sum, count) => sum + count, controlPlane);
}

/** What is not as before, as `kind: before → now`; empty: all is. */
export function changes(before: Census["held"], now: Census["held"]): string[] {
  const kinds = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return kinds
    .filter((kind) => (before[kind] ?? 0) !== (now[kind] ?? 0))
    .map((kind) => `${kind}: ${before[kind] ?? 0} → ${now[kind] ?? 0}`);
}
