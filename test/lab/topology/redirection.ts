/**
 * The rules with which istio-cni captures a pod's traffic in its own network namespace, in-pod mode: an nftables and an
 * iptables rendering of the same order and meaning. DNS capture is an option, as for the original (`dns-capture`).
 */
import type { Redirector } from "./host.ts";
import { attempt, must } from "./commands.ts";

/** Mark on every socket of ztunnel, and of connections it opened toward the application. */
export const INPOD_MARK = 0x539;
export const TPROXY_MARK = 0x111;
const MARK_MASK = 0xfff;
const ROUTE_TABLE = 100;
const RULE_PREFERENCE = 32764;
/** Source address of the kubelet's probes after the host's SNAT: they bypass the proxy. */
export const PROBE_IPV4 = "169.254.7.127";
export const PROBE_IPV6 = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff";

export interface RedirectionOptions {
  readonly redirector: Redirector;
  readonly ipv6: boolean;
  readonly dnsCapture: boolean;
}

/** Applies the rules, and the routing of marked packets to `lo`, in the namespace at `path`. @throws CommandError */
export function redirectPod(path: string, options: RedirectionOptions): void {
  const inside = (command: readonly string[], input?: string) => must(["nsenter", `--net=${path}`, ...command], input);
  for (const family of options.ipv6 ? ["-4", "-6"] : ["-4"]) {
    const mark = `${hex(TPROXY_MARK)}/${hex(MARK_MASK)}`;
    inside(["ip", family, "rule", "add", "fwmark", mark, "pref", `${RULE_PREFERENCE}`, "lookup", `${ROUTE_TABLE}`]);
    const everything = family === "-4" ? "0.0.0.0/0" : "::/0";
    inside(["ip", family, "route", "add", "local", everything, "dev", "lo", "table", `${ROUTE_TABLE}`]);
  }
  if (options.redirector === "nftables") {
    inside(["nft", "-f", "-"], nftRules(options));
    return;
  }
  inside(["iptables-restore", "--noflush"], iptablesRules("127.0.0.1/32", PROBE_IPV4, options));
  if (options.ipv6) inside(["ip6tables-restore", "--noflush"], iptablesRules("::1/128", PROBE_IPV6, options));
}

/** Packets seen by each redirecting rule, for a lab that wants to show that capture happened. */
export function redirectionListing(path: string): string {
  const nft = attempt(["nsenter", `--net=${path}`, "nft", "list", "ruleset"]);
  return nft.ok ? nft.stdout : attempt(["nsenter", `--net=${path}`, "iptables-save", "-c"]).stdout;
}

/** One table each for nat and mangle (and raw for DNS), family inet, as the nftables variant of istio-cni. */
export function nftRules(options: RedirectionOptions): string {
  const unmarked = `meta mark & ${hex(MARK_MASK)} != ${hex(INPOD_MARK)}`;
  const families = options.ipv6
    ? [{ ip: "ip", loopback: "127.0.0.1", probe: PROBE_IPV4 }, { ip: "ip6", loopback: "::1", probe: PROBE_IPV6 }]
    : [{ ip: "ip", loopback: "127.0.0.1", probe: PROBE_IPV4 }];
  const each = (rule: (f: { ip: string; loopback: string; probe: string }) => string) => families.map(rule);
  const prerouting = [
    ...each((f) => `${f.ip} saddr ${f.probe} meta l4proto tcp counter accept`),
    ...each((f) => `${f.ip} daddr != ${f.loopback} tcp dport != 15008 ${unmarked} counter redirect to :15006`),
  ];
  const dns = options.dnsCapture
    ? [
      `oifname != "lo" udp dport 53 ${unmarked} counter redirect to :15053`,
      ...each((f) => `${f.ip} daddr != ${f.loopback} tcp dport 53 ${unmarked} counter redirect to :15053`),
    ]
    : [];
  const output = [
    ...each((f) => `${f.ip} daddr ${f.probe} meta l4proto tcp counter accept`),
    ...dns,
    `meta l4proto tcp meta mark & ${hex(MARK_MASK)} == ${hex(TPROXY_MARK)} counter accept`,
    ...each((f) => `${f.ip} daddr != ${f.loopback} oifname "lo" counter accept`),
    ...each((f) => `${f.ip} daddr != ${f.loopback} meta l4proto tcp ${unmarked} counter redirect to :15001`),
  ];
  const inverse = hex(~MARK_MASK >>> 0);
  const connectionMark = `ct mark set ct mark & ${inverse} | ${hex(TPROXY_MARK)}`;
  return [
    table("nat", [
      chain("istio-prerouting", prerouting),
      chain("prerouting", ["type nat hook prerouting priority -100;", "jump istio-prerouting"]),
      chain("istio-output", output),
      chain("output", ["type nat hook output priority -100;", "jump istio-output"]),
    ]),
    table("mangle", [
      chain("istio-prerouting", [
        `meta mark & ${hex(MARK_MASK)} == ${hex(INPOD_MARK)} counter ${connectionMark}`,
      ]),
      chain("prerouting", ["type filter hook prerouting priority -150;", "jump istio-prerouting"]),
      chain("istio-output", [
        `ct mark & ${hex(MARK_MASK)} == ${hex(TPROXY_MARK)} counter meta mark set ct mark`,
      ]),
      chain("output", ["type route hook output priority -150;", "jump istio-output"]),
    ]),
    ...(options.dnsCapture
      ? [table("raw", [
        chain("output", [
          "type filter hook output priority -300;",
          `udp dport 53 meta mark & ${hex(MARK_MASK)} == ${hex(INPOD_MARK)} counter ct zone set 1`,
        ]),
        chain("prerouting", [
          "type filter hook prerouting priority -300;",
          `udp sport 53 ${unmarked} counter ct zone set 1`,
        ]),
      ])]
      : []),
  ].join("\n");
}

/** Input of iptables-restore for one address family. */
export function iptablesRules(loopback: string, probe: string, options: RedirectionOptions): string {
  const mark = `${hex(INPOD_MARK)}/${hex(MARK_MASK)}`;
  const tproxy = `${hex(TPROXY_MARK)}/${hex(MARK_MASK)}`;
  const unmarked = `-m mark ! --mark ${mark}`;
  const dns = options.dnsCapture
    ? [
      `-A ISTIO_OUTPUT ! -o lo -p udp ${unmarked} -m udp --dport 53 -j REDIRECT --to-ports 15053`,
      `-A ISTIO_OUTPUT ! -d ${loopback} -p tcp -m tcp --dport 53 ${unmarked} -j REDIRECT --to-ports 15053`,
    ]
    : [];
  return [
    "*mangle",
    ":ISTIO_PRERT - [0:0]",
    ":ISTIO_OUTPUT - [0:0]",
    "-A PREROUTING -j ISTIO_PRERT",
    "-A OUTPUT -j ISTIO_OUTPUT",
    `-A ISTIO_PRERT -m mark --mark ${mark} -j CONNMARK --set-xmark ${tproxy}`,
    `-A ISTIO_OUTPUT -m connmark --mark ${tproxy} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`,
    "COMMIT",
    "*nat",
    ":ISTIO_PRERT - [0:0]",
    ":ISTIO_OUTPUT - [0:0]",
    "-A PREROUTING -j ISTIO_PRERT",
    "-A OUTPUT -j ISTIO_OUTPUT",
    `-A ISTIO_PRERT -s ${probe} -p tcp -j ACCEPT`,
    `-A ISTIO_PRERT ! -d ${loopback} -p tcp -m tcp ! --dport 15008 ${unmarked} -j REDIRECT --to-ports 15006`,
    `-A ISTIO_OUTPUT -d ${probe} -p tcp -j ACCEPT`,
    ...dns,
    `-A ISTIO_OUTPUT -p tcp -m mark --mark ${tproxy} -j ACCEPT`,
    `-A ISTIO_OUTPUT ! -d ${loopback} -o lo -j ACCEPT`,
    `-A ISTIO_OUTPUT ! -d ${loopback} -p tcp ${unmarked} -j REDIRECT --to-ports 15001`,
    "COMMIT",
    "",
  ].join("\n");
}

function table(name: string, chains: readonly string[]): string {
  return `table inet istio-ambient-${name} {\n${chains.join("\n")}\n}\n`;
}

function chain(name: string, rules: readonly string[]): string {
  return `  chain ${name} {\n${rules.map((rule) => `    ${rule}`).join("\n")}\n  }`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
