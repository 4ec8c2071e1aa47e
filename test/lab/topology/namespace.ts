/** One network namespace of a lab, by name under /run/netns, with `lo` up. */
import { existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { closeFd, openNamespace } from "../../../src/linux/mod.ts";
import { attempt, type CommandResult, must } from "./commands.ts";
import { NAMESPACE_DIRECTORY, NAMESPACE_PREFIX, recordNamespace, removeNamespace } from "./ledger.ts";
import { LabProcess, type ProcessOptions } from "./process.ts";

let made = 0;

/** Ephemeral ports stay clear of the proxy's own (15000–15090), so that a busy client can use nearly all of them. */
const LOCAL_PORTS = "20000 65000";

export class NetworkNamespace {
  readonly name: string;
  readonly path: string;
  #fd: number | undefined;

  /** @throws CommandError when it cannot be made */
  constructor(label: string) {
    made++;
    this.name = `${NAMESPACE_PREFIX}-${process.pid}-${made}-${label}`;
    this.path = `${NAMESPACE_DIRECTORY}/${this.name}`;
    recordNamespace(this.name);
    must(["ip", "netns", "add", this.name]);
  }

  /** Brings `lo` up and sets the sysctls that every lab namespace shares. */
  configure(sysctls: Readonly<Record<string, string>> = {}): void {
    const settings: Record<string, string> = {
      "net/ipv4/conf/all/rp_filter": "0",
      "net/ipv4/conf/default/rp_filter": "0",
      "net/ipv4/ip_local_port_range": LOCAL_PORTS,
      "net/ipv4/tcp_tw_reuse": "1",
      "net/core/somaxconn": "4096",
      "net/ipv6/conf/all/disable_ipv6": "0",
      "net/ipv6/conf/all/accept_dad": "0",
      "net/ipv6/conf/default/accept_dad": "0",
      ...sysctls,
    };
    const lines = ["ip link set lo up"];
    for (const [key, value] of Object.entries(settings)) {
      lines.push(`[ ! -w /proc/sys/${key} ] || echo '${value}' > /proc/sys/${key}`);
    }
    must(this.command(["sh", "-c", lines.join("\n")]));
  }

  /** The command line that runs `command` in this namespace; the program keeps the pid that nsenter was started with. */
  command(command: readonly string[]): string[] {
    return ["nsenter", `--net=${this.path}`, "--", ...command];
  }

  run(command: readonly string[], input?: string): string {
    return must(this.command(command), input);
  }

  attempt(command: readonly string[], input?: string): CommandResult {
    return attempt(this.command(command), input);
  }

  spawn(command: readonly string[], options: ProcessOptions = {}): LabProcess {
    return new LabProcess(this.command(command), options);
  }

  /** A descriptor of the namespace, for sockets made in it by this process; open until the namespace is removed. */
  get fd(): number {
    this.#fd ??= openNamespace(this.path);
    return this.#fd;
  }

  remove(): void {
    if (this.#fd !== undefined) closeFd(this.#fd);
    this.#fd = undefined;
    removeNamespace(this.name);
  }
}

export function hasIpv6(): boolean {
  return existsSync("/proc/sys/net/ipv6");
}

/** Lets the kernel track as many connections as the largest test of the lab opens at once; only the first namespace may. */
export function raiseConntrackLimit(connections: number): void {
  try {
    writeFileSync("/proc/sys/net/netfilter/nf_conntrack_max", `${connections}\n`);
  } catch {
    // Not ours to change here; the default (a quarter million with a few GB of memory) is enough for the short runs.
  }
}
