import { expect, test } from "bun:test";
import { parseResolvConf, type ResolverConfig, withoutResolvConf } from "../../src/dns/mod.ts";

test.each<[name: string, text: string, expected: Partial<ResolverConfig>]>([
  ["a pod's", "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n", {
    nameservers: ["10.96.0.10"],
    search: ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"],
    ndots: 5,
    timeoutMs: 5000,
    attempts: 2,
    problems: [],
  }],
  ["nothing", "", { nameservers: [], search: [], ndots: 1, timeoutMs: 5000, attempts: 2, problems: [] }],
  [
    "comments, tabs, CR, no last newline",
    "# x\n; nameserver 1.1.1.1\r\nnameserver\t2001:DB8::1 # \r\nnameserver 9.9.9.9",
    {
      nameservers: ["2001:db8::1", "9.9.9.9"],
    },
  ],
  [
    "at most three, each once",
    "nameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4",
    {
      nameservers: ["1.1.1.1", "2.2.2.2", "3.3.3.3"],
    },
  ],
  ["the last of search and domain", "domain a.example\nsearch B.Example. c.example .\n", {
    search: ["b.example", "c.example"],
  }],
  ["domain", "search b\ndomain A.example other\n", { search: ["a.example"] }],
  ["options", "options timeout:2 attempts:4 rotate edns0\noptions ndots:3", { timeoutMs: 2000, attempts: 4, ndots: 3 }],
  ["bounds of options", "options timeout:900 attempts:99 ndots:99", { timeoutMs: 30_000, attempts: 5, ndots: 15 }],
  ["options that say nothing", "options timeout:0 attempts:0 ndots:x timeout:", {
    timeoutMs: 1000,
    attempts: 1,
    ndots: 1,
  }],
  ["no address", "nameserver dns.example\nnameserver fe80::1%eth0\nnameserver\nnameserver 1.1.1.1", {
    nameservers: ["1.1.1.1"],
    problems: [
      'line 1: not an IP address: "dns.example"',
      'line 2: not an IP address: "fe80::1%eth0"',
      'line 3: not an IP address: ""',
    ],
  }],
])("%s", (_, text, expected) => {
  expect(parseResolvConf(text)).toMatchObject(expected);
});

test("without a file nobody can be asked, and why is known", () => {
  expect(withoutResolvConf("/etc/resolv.conf", "ENOENT")).toMatchObject({
    nameservers: [],
    problems: ["/etc/resolv.conf: ENOENT"],
  });
});
