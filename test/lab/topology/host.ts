/**
 * What this machine lets a lab do. Root makes namespaces directly; others get a user namespace of their own, in which
 * they are root; where both are forbidden the reason is told, never guessed.
 */
import { existsSync } from "node:fs";
import process from "node:process";
import { attempt, commandEnvironment, findProgram } from "./commands.ts";
import { NAMESPACE_PREFIX } from "./ledger.ts";

/** Set for a process which was started again inside a user namespace. */
const INSIDE = "AMBIENT_LAB_USER_NAMESPACE";

export type Redirector = "nftables" | "iptables";

export type Host =
  | { readonly kind: "available"; readonly redirector: Redirector; readonly userNamespace: boolean }
  | { readonly kind: "wants user namespace"; readonly command: readonly string[] }
  | { readonly kind: "unavailable"; readonly reason: string };

/** Debian packages by the program they bring. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2",
  nft: "nftables",
  iptables: "iptables",
  nsenter: "util-linux",
  tcpdump: "tcpdump",
  nginx: "nginx-light",
  wrk: "wrk",
  openssl: "openssl",
  curl: "curl",
  python3: "python3-minimal",
  pip3: "python3-pip",
  h2load: "nghttp2-client",
  nghttpd: "nghttp2-server",
  go: "golang-go",
};

/**
 * Installs from Debian those of the programs that are missing; only root can, others go without.
 * @returns the programs that are still missing
 */
export function installPrograms(programs: readonly string[]): string[] {
  const missing = () => programs.filter((program) => findProgram(program) === undefined);
  const wanted = missing();
  if (wanted.length === 0 || process.getuid?.() !== 0 || process.env[INSIDE] !== undefined) return wanted;
  if (findProgram("apt-get") === undefined) return wanted;
  const packages = wanted.map((program) => PACKAGES[program]).filter((name) => name !== undefined);
  const quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "-o", "Dpkg::Use-Pty=0"];
  attempt([...quiet, "update"]);
  // One by one after a common failure: a package this distribution lacks must not take the others with it.
  if (!withoutServiceStart([...quiet, "install", "--no-install-recommends", ...packages])) {
    for (const name of packages) withoutServiceStart([...quiet, "install", "--no-install-recommends", name]);
  }
  return missing();
}

/** Installs without letting packages start their services: a web server on port 80 of the host is not ours to open. */
function withoutServiceStart(command: readonly string[]): boolean {
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return attempt(command).ok;
  const script =
    `printf '#!/bin/sh\\nexit 101\\n' > ${policy} && chmod 755 ${policy}; "$@"; s=$?; rm -f ${policy}; exit $s`;
  return attempt(["sh", "-c", script, "sh", ...command]).ok;
}

/** Finds out, by trying, whether namespaces and redirection rules can be made here. */
export function inspectHost(): Host {
  const missing = installPrograms(["ip", "nsenter"]);
  if (missing.length > 0) return { kind: "unavailable", reason: `missing programs: ${missing.join(", ")}` };
  if (findProgram("nft") === undefined && findProgram("iptables") === undefined) installPrograms(["nft"]);
  const userNamespace = process.env[INSIDE] !== undefined;
  if (userNamespace) prepareUserNamespace();
  const direct = probe();
  if (direct.redirector !== undefined) return { kind: "available", redirector: direct.redirector, userNamespace };
  if (userNamespace) return { kind: "unavailable", reason: direct.reason };
  const unshare = findProgram("unshare");
  if (unshare === undefined) return { kind: "unavailable", reason: `${direct.reason}; and there is no unshare` };
  const wrapped = attempt([unshare, "-Urnm", "true"]);
  if (!wrapped.ok) {
    return { kind: "unavailable", reason: `${direct.reason}; user namespaces are forbidden: ${wrapped.stderr.trim()}` };
  }
  // A new network namespace begins with its loopback down, and some suites talk over that.
  const enter = `ip link set lo up && exec env ${INSIDE}=1 "$@"`;
  return { kind: "wants user namespace", command: [unshare, "-Urnm", "sh", "-c", enter, "sh"] };
}

/** Runs this very program again inside a user namespace and ends with its status. */
export async function rerunIn(command: readonly string[]): Promise<never> {
  const child = Bun.spawn([...command, process.execPath, ...process.argv.slice(1)], {
    stdio: ["inherit", "inherit", "inherit"],
    env: commandEnvironment(),
  });
  // Ctrl-C reaches the child by itself (same terminal, same group): wait for its clean-up.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.exit(await child.exited);
}

/** Inside a fresh user namespace /run still belongs to the real root: cover it, in our mount namespace only. */
function prepareUserNamespace(): void {
  if (existsSync("/run/.ambient-lab")) return;
  attempt(["mount", "-t", "tmpfs", "tmpfs", "/run"]);
  attempt(["sh", "-c", "mkdir -p /run/netns && touch /run/.ambient-lab"]);
}

function probe(): { redirector: Redirector | undefined; reason: string } {
  const name = `${NAMESPACE_PREFIX}-${process.pid}-probe`;
  const made = attempt(["ip", "netns", "add", name]);
  if (!made.ok) return { redirector: undefined, reason: `cannot make a network namespace: ${made.stderr.trim()}` };
  try {
    const inside = (command: readonly string[], input?: string) =>
      attempt(["nsenter", `--net=/run/netns/${name}`, ...command], input);
    const nft = inside(
      ["nft", "-f", "-"],
      "table inet probe { chain output { type nat hook output priority -100; tcp dport 1 redirect to :2; }\n }\n",
    );
    if (nft.ok) return { redirector: "nftables", reason: "" };
    const iptables = inside([
      "iptables",
      "-t",
      "nat",
      "-A",
      "OUTPUT",
      "-p",
      "tcp",
      "-j",
      "REDIRECT",
      "--to-ports",
      "2",
    ]);
    if (iptables.ok) return { redirector: "iptables", reason: "" };
    return {
      redirector: undefined,
      reason: `no redirection rules: nft: ${nft.stderr.trim()}; iptables: ${iptables.stderr.trim()}`,
    };
  } finally {
    attempt(["ip", "netns", "del", name]);
  }
}
