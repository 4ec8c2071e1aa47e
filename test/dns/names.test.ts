/** Names of the mesh: the cases of the original's unit tests (spec/ztunnel.md §12.3 dns/server), in our own words. */
import { describe, expect, test } from "bun:test";
import {
  aliases,
  clusterSearchDomains,
  expansions,
  lookupName,
  type NameFound,
  type NameSettings,
  wildcards,
} from "../../src/dns/mod.ts";
import type { Service } from "../../src/mesh/mod.ts";
import { mesh, pod, service } from "../mesh/fixtures.ts";
import { seeded } from "./records.ts";

const DOMAIN = "cluster.local";

describe("Kubernetes' short names written out", () => {
  test.each<[name: string, expected: string[]]>([
    ["name", ["name.ns1.svc.cluster.local"]],
    ["name.ns2", ["name.ns2.svc.cluster.local", "name.ns2.ns1.svc.cluster.local"]],
    ["name.ns2.svc", ["name.ns2.svc.cluster.local", "name.ns2.svc.svc.cluster.local"]],
    ["name.ns2.not-svc", ["name.ns2.not-svc.svc.cluster.local"]],
    ["pod.sub.ns.svc", ["pod.sub.ns.svc.cluster.local"]],
    ["pod.sub.ns.not-svc", []],
    ["name.ns2.svc.cluster", []],
    ["name.ns2.svc.cluster.local", []],
    ["www.google.com", ["www.google.com.svc.cluster.local"]],
    ["svc", ["svc.ns1.svc.cluster.local"]],
    ["a.b.xsvc", ["a.b.xsvc.svc.cluster.local"]],
  ])("%s", (name, expected) => {
    expect(expansions(name, "ns1", DOMAIN)).toEqual(expected);
  });
});

test.each<[string, string[]]>([
  ["svc1", []],
  ["a.b", ["*.b"]],
  ["svc1.ns1.svc.cluster.local", ["*.ns1.svc.cluster.local", "*.svc.cluster.local", "*.cluster.local", "*.local"]],
])("wildcards over %s", (name, expected) => {
  expect(wildcards(name)).toEqual(expected);
});

describe("aliases", () => {
  const list = (name: string, search = clusterSearchDomains(DOMAIN)("ns1")) =>
    aliases(name, "ns1", DOMAIN, search).map(({ name, stripped }) =>
      stripped === undefined ? name : `${name} (${stripped})`
    );

  test("the name itself, then written out", () => {
    expect(list("server")).toEqual(["server", "server.ns1.svc.cluster.local"]);
    expect(list("www.google.com")).toEqual(["www.google.com", "www.google.com.svc.cluster.local"]);
  });

  test("then without each search domain, longest first as they are, marked, each name once", () => {
    expect(list("server.ns1.svc.cluster.local")).toEqual([
      "server.ns1.svc.cluster.local",
      "server (server)",
      "server.ns1 (server.ns1)",
      "server.ns1.ns1.svc.cluster.local (server.ns1)",
      "server.ns1.svc (server.ns1.svc)",
      "server.ns1.svc.svc.cluster.local (server.ns1.svc)",
    ]);
    expect(list("www.google.com.ns1.svc.cluster.local").slice(0, 3)).toEqual([
      "www.google.com.ns1.svc.cluster.local",
      "www.google.com (www.google.com)",
      "www.google.com.svc.cluster.local (www.google.com)",
    ]);
  });

  test("a domain is stripped from longer names only, and at a dot", () => {
    expect(list("cluster.local", ["cluster.local"])).not.toContain(" ()");
    expect(list("xcluster.local", ["cluster.local"]).some((alias) => alias.includes("("))).toBe(false);
    expect(list("a.my.corp", ["my.corp"])).toContain("a (a)");
    expect(list("a.my.corp", [])).toEqual(["a.my.corp", "a.my.corp.svc.cluster.local"]);
  });
});

const client = pod("client", "10.0.0.1", { namespace: "ns1", network: "nw1" });
const elsewhere = pod("elsewhere", "10.0.0.2", { namespace: "ns2", network: "nw1" });

function named(hostname: string, vips: string[], given: Partial<Service> = {}): Service {
  const [name = "", namespace = "ns1"] = hostname.split(".");
  return service(name, "", {
    namespace,
    hostname,
    vips: vips.map((vip) => {
      const [network = "", ip = ""] = vip.includes("/") ? vip.split("/") : ["nw1", vip];
      return { network, ip };
    }),
    ...given,
  });
}

const headless = named("headless.ns1.svc.cluster.local", []);
const narrow = named("headless-v4.ns1.svc.cluster.local", [], { ipFamilies: "IPv4" });
const members = [
  pod("h1", ["30.30.30.30", "2001:db8::30"], { namespace: "ns1", network: "nw1" }),
  pod("h2", ["2001:db8::31", "31.31.31.31", "31.31.31.32"], { namespace: "ns1", network: "nw2" }),
];
const state = mesh({
  workloads: [client, elsewhere, ...members],
  services: [
    named("productpage.ns1.svc.cluster.local", ["9.9.9.9"]),
    named("example.ns2.svc.cluster.local", ["10.10.10.10"]),
    named("www.google.com", ["1.1.1.1"], { namespace: "ns1" }),
    named("details.ns2.svc.cluster.remote", ["11.11.11.11", "12.12.12.12", "13.13.13.13", "14.14.14.14"]),
    named("dual.localhost", ["2.2.2.2", "2001:db8::ff00:42:8329"], { namespace: "ns1" }),
    named("ipv4.localhost", ["3.3.3.3"], { namespace: "ns1" }),
    named("ipv6.localhost", ["2001:db8::1"], { namespace: "ns1" }),
    named("*.wildcard", ["10.10.10.10"], { namespace: "ns1" }),
    named("*.b.wildcard", ["11.11.11.11"], { namespace: "ns1" }),
    named("*.svc.mesh.company.net", ["10.1.2.3"], { namespace: "ns1" }),
    named("nw2-only.ns1.svc.cluster.local", ["nw2/21.21.21.22"]),
    named("both-networks.ns1.svc.cluster.local", ["21.21.21.21", "nw2/22.22.22.22"]),
    headless,
    narrow,
    named("hollow.ns1.svc.cluster.local", []),
    named("entry.without.vip", [], { namespace: "ns1" }),
    named("only-v4.ns1.svc.cluster.local", ["4.4.4.4", "2001:db8::4"], { ipFamilies: "IPv4" }),
    named("only-v6.ns1.svc.cluster.local", ["6.6.6.6", "2001:db8::6"], { ipFamilies: "IPv6" }),
    named("secret.ns2.svc.cluster.local", ["5.5.5.5"], { visibility: "Namespace" }),
    // The same host in many namespaces.
    named("shared.example", ["7.0.0.9"], { namespace: "ns9" }),
    named("shared.example", ["7.0.0.2"], { namespace: "ns2" }),
    named("shared.example", ["7.0.0.8"], { namespace: "preferred" }),
    named("ours.example", ["7.1.0.9"], { namespace: "ns9" }),
    named("ours.example", ["7.1.0.3"], { namespace: "ns3", canonical: true }),
    named("ours.example", ["7.1.0.1"], { namespace: "ns1" }),
    named("chosen.example", ["7.2.0.9"], { namespace: "preferred" }),
    named("chosen.example", ["7.2.0.3"], { namespace: "ns3", canonical: true }),
    named("hidden.example", ["7.3.0.9"], { namespace: "ns9", visibility: "Namespace" }),
    named("hidden.example", ["7.3.0.3"], { namespace: "ns3" }),
    named("vipless.example", [], { namespace: "ns1" }),
    named("vipless.example", ["7.4.0.3"], { namespace: "ns3" }),
  ],
  members: [headless, narrow].flatMap((of) => members.map((workload) => ({ of, workload }))),
});

const SETTINGS: NameSettings = {
  clusterDomain: DOMAIN,
  searchDomains: clusterSearchDomains(DOMAIN),
  preferredNamespace: undefined,
  ipv6: true,
};

function ask(name: string, family: "A" | "AAAA" = "A", over: Partial<NameSettings> = {}, from = client) {
  const random = seeded(1);
  return lookupName(state, from, name, family === "A" ? "IPv4" : "IPv6", { ...SETTINGS, ...over }, random);
}

describe("lookup", () => {
  type Expected = string[] | "forwarded" | { cname: string; addresses: string[] };
  const cases: readonly [why: string, name: string, family: "A" | "AAAA", expected: Expected][] = [
    ["a host outside Kubernetes", "www.google.com", "A", ["1.1.1.1"]],
    ["… with the search domain behind it", "www.google.com.ns1.svc.cluster.local", "A", {
      cname: "www.google.com",
      addresses: ["1.1.1.1"],
    }],
    ["a host nobody knows", "www.bing.com", "A", "forwarded"],
    ["a full name", "productpage.ns1.svc.cluster.local", "A", ["9.9.9.9"]],
    ["name.namespace", "productpage.ns1", "A", ["9.9.9.9"]],
    ["name.namespace.svc", "productpage.ns1.svc", "A", ["9.9.9.9"]],
    ["a short name", "productpage", "A", ["9.9.9.9"]],
    ["name.namespace with the search domain behind it", "productpage.ns1.ns1.svc.cluster.local", "A", {
      cname: "productpage.ns1",
      addresses: ["9.9.9.9"],
    }],
    ["… of the other family: nothing, and no CNAME", "productpage.ns1.ns1.svc.cluster.local", "AAAA", []],
    ["… with svc.DOMAIN behind it is the full name", "productpage.ns1.svc.cluster.local", "A", ["9.9.9.9"]],
    ["… with DOMAIN behind a full name", "productpage.ns1.svc.cluster.local.cluster.local", "A", {
      cname: "productpage.ns1.svc.cluster.local",
      addresses: ["9.9.9.9"],
    }],
    ["another namespace: name.namespace", "example.ns2", "A", ["10.10.10.10"]],
    ["another namespace: full name", "example.ns2.svc.cluster.local", "A", ["10.10.10.10"]],
    ["another namespace: name.namespace.svc", "example.ns2.svc", "A", ["10.10.10.10"]],
    ["another namespace: not by its short name", "example", "A", "forwarded"],
    ["a service of another domain: full name", "details.ns2.svc.cluster.remote", "A", [
      "11.11.11.11",
      "12.12.12.12",
      "13.13.13.13",
      "14.14.14.14",
    ]],
    ["… not by name.namespace", "details.ns2", "A", "forwarded"],
    ["A of a dual service", "dual.localhost", "A", ["2.2.2.2"]],
    ["AAAA of a dual service", "dual.localhost", "AAAA", ["2001:db8::ff00:42:8329"]],
    ["A where there is only AAAA", "ipv6.localhost", "A", []],
    ["AAAA where there is only A", "ipv4.localhost", "AAAA", []],
    ["a wildcard", "foo.wildcard", "A", ["10.10.10.10"]],
    ["a wildcard over several labels", "a.c.wildcard", "A", ["10.10.10.10"]],
    ["the closest wildcard", "a.b.wildcard", "A", ["11.11.11.11"]],
    ["a wildcard does not cover its own domain", "wildcard", "A", "forwarded"],
    ["a wildcard of a domain", "foo.svc.mesh.company.net", "A", ["10.1.2.3"]],
    ["… with a namespace", "foo.foons.svc.mesh.company.net", "A", ["10.1.2.3"]],
    ["… with a search domain: no CNAME", "foo.svc.mesh.company.net.ns1.svc.cluster.local", "A", ["10.1.2.3"]],
    ["VIPs of another network only", "nw2-only.ns1.svc.cluster.local", "A", []],
    ["VIPs of the client's network", "both-networks.ns1.svc.cluster.local", "A", ["21.21.21.21"]],
    ["a headless service: one address of each endpoint", "headless.ns1.svc.cluster.local", "A", [
      "30.30.30.30",
      "31.31.31.31",
    ]],
    ["… and AAAA", "headless.ns1.svc.cluster.local", "AAAA", ["2001:db8::30", "2001:db8::31"]],
    ["… of one family: A", "headless-v4.ns1.svc.cluster.local", "A", ["30.30.30.30", "31.31.31.31"]],
    ["… of one family: not the pods' other addresses", "headless-v4.ns1.svc.cluster.local", "AAAA", []],
    ["a headless service without endpoints", "hollow.ns1.svc.cluster.local", "A", []],
    ["a ServiceEntry without VIP is not answered here", "entry.without.vip", "A", "forwarded"],
    ["IPv4 only: A", "only-v4.ns1.svc.cluster.local", "A", ["4.4.4.4"]],
    ["IPv4 only: AAAA", "only-v4.ns1.svc.cluster.local", "AAAA", []],
    ["IPv6 only: A", "only-v6.ns1.svc.cluster.local", "A", []],
    ["IPv6 only: AAAA", "only-v6.ns1.svc.cluster.local", "AAAA", ["2001:db8::6"]],
    ["a service of another namespace alone", "secret.ns2.svc.cluster.local", "A", "forwarded"],
    ["one host, many namespaces: the first", "shared.example", "A", ["7.0.0.9"]],
    ["one host, many namespaces: the client's own before the canonical", "ours.example", "A", ["7.1.0.1"]],
    ["one host, many namespaces: the canonical", "chosen.example", "A", ["7.2.0.3"]],
    ["one host, many namespaces: what may be seen", "hidden.example", "A", ["7.3.0.3"]],
    ["one host, many namespaces: what has a VIP, even before the client's own", "vipless.example", "A", ["7.4.0.3"]],
    ["pods have no names", "h1.headless.ns1.svc.cluster.local", "A", "forwarded"],
  ];
  test.each(cases)("%s: %s %s", (_, name, family, expected) => {
    const result = ask(name, family);
    if (expected === "forwarded") {
      expect(result.found).toBe(false);
      return;
    }
    const { cname, addresses } = Array.isArray(expected) ? { cname: undefined, addresses: expected } : expected;
    expect(result.found).toBe(true);
    const found = result as NameFound;
    expect([...found.addresses].sort()).toEqual(addresses);
    if (addresses.length > 0) expect(found.canonicalName).toBe(cname);
  });

  test("the preferred namespace comes after the client's own and the canonical one, before the first", () => {
    const preferred = { preferredNamespace: "preferred" };
    expect(ask("shared.example", "A", preferred)).toMatchObject({ addresses: ["7.0.0.8"] });
    expect(ask("shared.example", "A", preferred, elsewhere)).toMatchObject({ addresses: ["7.0.0.2"] });
    expect(ask("ours.example", "A", preferred)).toMatchObject({ addresses: ["7.1.0.1"] });
    expect(ask("chosen.example", "A", preferred)).toMatchObject({ addresses: ["7.2.0.3"] });
  });

  test("without IPv6 there is never an AAAA", () => {
    const off = { ipv6: false };
    for (const name of ["dual.localhost", "ipv6.localhost", "headless.ns1.svc.cluster.local"]) {
      const empty = "service does not support this record type";
      expect(ask(name, "AAAA", off)).toMatchObject({ found: true, addresses: [], empty });
    }
    expect(ask("dual.localhost", "A", off)).toMatchObject({ addresses: ["2.2.2.2"] });
  });

  test("why there is nothing", () => {
    expect(ask("hollow.ns1.svc.cluster.local")).toMatchObject({ empty: "no records" });
    expect(ask("only-v4.ns1.svc.cluster.local", "AAAA")).toMatchObject({
      empty: "service does not support this record type",
    });
    expect(ask("productpage")).toMatchObject({ empty: undefined });
  });

  test("short names are those of the client's namespace", () => {
    expect(ask("example", "A", {}, elsewhere)).toMatchObject({ addresses: ["10.10.10.10"] });
    expect(ask("secret", "A", {}, elsewhere)).toMatchObject({ addresses: ["5.5.5.5"] });
    expect(ask("productpage", "A", {}, elsewhere).found).toBe(false);
  });

  test("search domains of the proxy's own resolv.conf", () => {
    const search = { searchDomains: () => ["corp.example"] };
    expect(ask("www.google.com.corp.example", "A", search)).toMatchObject({ canonicalName: "www.google.com" });
    expect(ask("www.google.com.ns1.svc.cluster.local", "A", search).found).toBe(false);
  });

  test("the order is random, every order the same", () => {
    const counts = new Map<string, number>();
    const random = seeded(7);
    for (let i = 0; i < 2400; i++) {
      const result = lookupName(state, client, "details.ns2.svc.cluster.remote", "IPv4", SETTINGS, random) as NameFound;
      const order = result.addresses.map((ip) => ip.slice(0, 2)).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(50);
  });
});
