import { expect, test } from "bun:test";
import {
  HostnameResolver,
  type HostnameResolverOptions,
  type LookupAnswer,
  type ResolvedHostname,
} from "../../src/dns/mod.ts";
import { distinct } from "../../src/dns/system_lookup.ts";
import { seeded } from "./records.ts";

type Zone = Record<string, { readonly [family in 4 | 6]?: string[] | Error } & { readonly ttl?: number }>;

function resolverOf(zone: Zone, over: Partial<HostnameResolverOptions> = {}) {
  const asked: string[] = [];
  const clock = { ms: 0 };
  const resolver = new HostnameResolver({
    ipv6: true,
    random: seeded(3),
    now: () => clock.ms,
    lookup: (name, family): Promise<LookupAnswer> => {
      asked.push(`${name}/${family}`);
      const entry = zone[name];
      const found = entry?.[family];
      if (found instanceof Error) return Promise.reject(found);
      const addresses = (found ?? []).map((ip) => ({ ip, ttl: entry?.ttl ?? 60 }));
      return Promise.resolve({ addresses, exists: entry !== undefined });
    },
    ...over,
  });
  const resolve = (name: string, prefer: "IPv4" | "IPv6" = "IPv4") =>
    new Promise<ResolvedHostname>((done) => resolver.resolve(name, prefer, done));
  return { resolver, resolve, asked, clock };
}

test("an address of the preferred family, at random; the other family's where there is none", async () => {
  const { resolve } = resolverOf({
    both: { 4: ["1.1.1.1", "1.1.1.2"], 6: ["2001:db8::1"] },
    six: { 6: ["2001:db8::2", "2001:db8::3"] },
  });
  const seen = new Set<unknown>();
  for (let i = 0; i < 40; i++) seen.add(Object.values(await resolve("both"))[0]);
  expect([...seen].sort()).toEqual(["1.1.1.1", "1.1.1.2"]);
  expect(await resolve("both", "IPv6")).toEqual({ ip: "2001:db8::1" });
  seen.clear();
  for (let i = 0; i < 40; i++) seen.add(Object.values(await resolve("six"))[0]);
  expect([...seen].sort()).toEqual(["2001:db8::2", "2001:db8::3"]);
});

test("both families at once; one only without IPv6", async () => {
  const zone = { name: { 4: ["1.1.1.1"] } };
  const dual = resolverOf(zone);
  expect(await dual.resolve("name")).toEqual({ ip: "1.1.1.1" });
  expect(dual.asked).toEqual(["name/4", "name/6"]);
  const single = resolverOf(zone, { ipv6: false });
  await single.resolve("name");
  expect(single.asked).toEqual(["name/4"]);
});

test("one question under way for all who ask", async () => {
  const { resolve, asked } = resolverOf({ name: { 4: ["1.1.1.1"], 6: ["2001:db8::1"] } });
  const results = await Promise.all([resolve("name"), resolve("name", "IPv6"), resolve("name")]);
  expect(results).toEqual([{ ip: "1.1.1.1" }, { ip: "2001:db8::1" }, { ip: "1.1.1.1" }]);
  expect(asked.length).toBe(2);
});

test("kept for its TTL; five seconds where it is not known; failures a second", async () => {
  const { resolve, asked, clock } = resolverOf({
    name: { 4: ["1.1.1.1"], ttl: 20 },
    unknown: { 4: ["1.1.1.1"], ttl: 0 },
    empty: {},
  });
  const askedAgain = async (name: string, after: number) => {
    await resolve(name);
    const before = asked.length;
    clock.ms += after * 1000;
    await resolve(name);
    return asked.length > before;
  };
  expect(await askedAgain("name", 19)).toBe(false);
  expect(await askedAgain("name", 1)).toBe(true);
  expect(await askedAgain("unknown", 4)).toBe(false);
  expect(await askedAgain("unknown", 1)).toBe(true);
  expect(await askedAgain("empty", 0.9)).toBe(false);
  expect(await askedAgain("empty", 0.1)).toBe(true);
});

test("known names are answered at once", async () => {
  const { resolver, resolve } = resolverOf({ name: { 4: ["1.1.1.1"] } });
  await resolve("name");
  let answer: ResolvedHostname | undefined;
  resolver.resolve("name", "IPv4", (result) => answer = result);
  expect(answer).toEqual({ ip: "1.1.1.1" });
});

test("why there is none: no answer, or an answer without addresses", async () => {
  const { resolve } = resolverOf({
    empty: {},
    broken: { 4: new Error("DNS_ETIMEOUT"), 6: new Error("DNS_ETIMEOUT") },
    half: { 4: new Error("DNS_ESERVFAIL"), 6: ["2001:db8::1"] },
    quarter: { 4: new Error("DNS_ESERVFAIL") },
  });
  expect(await resolve("empty")).toEqual({ error: "empty", detail: "no A records, no AAAA records" });
  expect(await resolve("nowhere")).toEqual({ error: "none", detail: "no such name, or none with addresses" });
  expect(await resolve("broken")).toEqual({ error: "none", detail: "DNS_ETIMEOUT" });
  expect(await resolve("half")).toEqual({ ip: "2001:db8::1" });
  expect(await resolve("quarter")).toEqual({ error: "none", detail: "DNS_ESERVFAIL, no AAAA records" });
});

test("at most 4096 names, those used last", async () => {
  const { resolve, asked } = resolverOf(
    Object.fromEntries(Array.from({ length: 4100 }, (_, i) => [`n${i}`, { 4: ["1.1.1.1"] }])),
    { ipv6: false },
  );
  for (let i = 0; i < 4100; i++) {
    await resolve(`n${i}`);
    await resolve("n0");
  }
  expect(asked.length).toBe(4100);
  await resolve("n4099");
  expect(asked.length).toBe(4100);
  await resolve("n1");
  expect(asked.length).toBe(4101);
});

test("thousands of addresses of one name are told apart in no time", () => {
  const answers = Array.from({ length: 4000 }, (_, i) => ({ address: `10.0.${i >> 8}.${i & 255}`, ttl: i }));
  // The fastest of some: what else the machine does must not count.
  const took = Array.from({ length: 8 }, () => {
    const began = performance.now();
    distinct([...answers, ...answers]);
    return performance.now() - began;
  });
  expect(Math.min(...took)).toBeLessThan(12);
  const addresses = distinct([...answers, ...answers]);
  expect(addresses).toEqual(answers.map(({ address, ttl }) => ({ ip: address, ttl })));
  expect(
    distinct([{ address: "::ffff:10.0.0.1", ttl: 1 }, { address: "nonsense", ttl: 1 }, {
      address: "10.0.0.1",
      ttl: 2,
    }]),
  )
    .toEqual([{ ip: "10.0.0.1", ttl: 1 }]);
});

test("localhost, by the runtime's own resolver", async () => {
  const resolver = new HostnameResolver({ ipv6: false });
  const result = await new Promise<ResolvedHostname>((done) => resolver.resolve("localhost", "IPv4", done));
  expect(result).toEqual({ ip: "127.0.0.1" });
});
