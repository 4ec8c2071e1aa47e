/** Names: families, order, refreshing, what a cluster makes of the answers, authorities resolved on demand. */
import { afterEach, expect, test } from "bun:test";
import { authorityKey } from "../../../src/waypoint/cluster/on_demand_hosts.ts";
import { type Family, interleave, orderAddresses } from "../../../src/waypoint/cluster/address_order.ts";
import { Resolver, type WatchOptions } from "../../../src/waypoint/cluster/resolver.ts";
import {
  ClusterSet,
  type ClusterSetOptions,
  type HostState,
  type Lookup,
  type PickContext,
  type ResolvedAddress,
  systemLookup,
} from "../../../src/waypoint/cluster/mod.ts";
import type { Cluster, Discovery } from "../../../src/waypoint/snapshot/mod.ts";
import { cluster, endpoint, locality, seeded, weighted } from "./fixtures.ts";

type Answer = readonly string[] | Error;

/** A name server whose answers can be changed, and that tells what it was asked. */
class NameServer {
  readonly answers = new Map<string, Answer>();
  readonly asked: string[] = [];
  ttl = 0;
  /** Answers wait for `release` while set. */
  held = false;
  #waiting: (() => void)[] = [];
  #watchers: { count: number; done: () => void }[] = [];

  readonly lookup: Lookup = async (name, family) => {
    this.asked.push(`${name}/${family}`);
    for (const watcher of this.#watchers) if (this.asked.length >= watcher.count) watcher.done();
    if (this.held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const answer = this.answers.get(`${name}/${family}`) ?? [];
    if (answer instanceof Error) throw answer;
    return answer.map((ip): ResolvedAddress => ({ ip, ttl: this.ttl }));
  };

  release(): void {
    this.held = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Until so many questions were asked in all. */
  untilAsked(count: number): Promise<void> {
    if (this.asked.length >= count) return Promise.resolve();
    return within(new Promise((done) => this.#watchers.push({ count, done })));
  }
}

function within<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(new Error("nothing happened within 20 s")), 20_000);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const WATCH: WatchOptions = { family: "v4", refreshMs: 20, respectTtl: false };

/** Collects what a watch tells, and waits for its nth word. */
class Heard {
  readonly words: string[] = [];
  #watchers: { count: number; done: () => void }[] = [];

  readonly listener = (ips: readonly string[]): void => {
    this.words.push(ips.join(" "));
    for (const { count, done } of this.#watchers) if (this.words.length >= count) done();
  };

  until(count: number): Promise<void> {
    if (this.words.length >= count) return Promise.resolve();
    return within(new Promise((done) => this.#watchers.push({ count, done })));
  }
}

function watch(server: NameServer, options: Partial<WatchOptions> = {}): Heard {
  const heard = new Heard();
  const resolver = new Resolver(server.lookup, seeded(1));
  const watched = resolver.watch("db.example", { ...WATCH, ...options }, heard.listener);
  closers.push(() => watched.stop());
  return heard;
}

test.each([
  [[], [], []],
  [["a"], [], ["a"]],
  [[], ["x", "y"], ["x", "y"]],
  [["a", "b", "c"], ["x"], ["a", "x", "b", "c"]],
  [["a"], ["x", "y", "z"], ["a", "x", "y", "z"]],
  [["a", "b"], ["x", "y"], ["a", "x", "b", "y"]],
])("RFC 8305 §4: %j and %j are tried as %j", (v6, v4, expected) => {
  expect(interleave<string>(v6, v4)).toEqual(expected);
});

const v6: readonly ResolvedAddress[] = [{ ip: "fd00::1", ttl: 0 }];
const v4: readonly ResolvedAddress[] = [{ ip: "10.0.0.1", ttl: 0 }, { ip: "10.0.0.2", ttl: 0 }];
test.each<[Family, string]>([["auto", "fd00::1"], ["all", "fd00::1 10.0.0.1 10.0.0.2"]])(
  "family %s: %s",
  (family, expected) => {
    expect(orderAddresses(family, v6, v4).map(({ ip }) => ip).join(" ")).toBe(expected);
    expect(orderAddresses(family, [], v4).map(({ ip }) => ip).join(" ")).toBe("10.0.0.1 10.0.0.2");
  },
);

test.each<[Family, string[], string]>([
  ["v4", ["db.example/4"], "10.0.0.1"],
  ["v6", ["db.example/6"], "fd00::1"],
  ["auto", ["db.example/6", "db.example/4"], "fd00::1"],
  ["all", ["db.example/6", "db.example/4"], "fd00::1 10.0.0.1"],
])("family %s asks for %j", async (family, asked, heard) => {
  const server = new NameServer();
  server.answers.set("db.example/4", ["10.0.0.1"]).set("db.example/6", ["fd00::1"]);
  const words = watch(server, { family, refreshMs: 60_000 });
  await words.until(1);
  expect(server.asked).toEqual(asked);
  expect(words.words).toEqual([heard]);
});

test("one family that fails does not take the other along", async () => {
  const server = new NameServer();
  server.answers.set("db.example/4", ["10.0.0.1"]).set("db.example/6", new Error("SERVFAIL"));
  const words = watch(server, { family: "all", refreshMs: 60_000 });
  await words.until(1);
  expect(words.words).toEqual(["10.0.0.1"]);
});

test("names are asked for again; only changes are told; the last good answer stays", async () => {
  const server = new NameServer();
  server.answers.set("db.example/4", ["10.0.0.1"]);
  const heard = watch(server);
  await server.untilAsked(3);
  expect(heard.words).toEqual(["10.0.0.1"]);
  server.answers.set("db.example/4", new Error("SERVFAIL"));
  await server.untilAsked(server.asked.length + 2);
  server.answers.set("db.example/4", []);
  await server.untilAsked(server.asked.length + 2);
  expect(heard.words).toEqual(["10.0.0.1"]);
  server.answers.set("db.example/4", ["10.0.0.2", "10.0.0.3"]);
  await heard.until(2);
  expect(heard.words).toEqual(["10.0.0.1", "10.0.0.2 10.0.0.3"]);
});

test("a name without any answer is told once as having none, and later as what it has", async () => {
  const server = new NameServer();
  const heard = watch(server);
  await server.untilAsked(4);
  expect(heard.words).toEqual([""]);
  server.answers.set("db.example/4", ["10.0.0.1"]);
  await heard.until(2);
  expect(heard.words).toEqual(["", "10.0.0.1"]);
});

test("the TTL of an answer takes the place of the refresh rate, where wanted", async () => {
  const server = new NameServer();
  server.answers.set("db.example/4", ["10.0.0.1"]);
  server.ttl = 3600;
  const patient = watch(server, { respectTtl: true });
  await patient.until(1);
  const eager = watch(server, { respectTtl: false });
  await eager.until(1);
  // Once for the first, then only for the second.
  await server.untilAsked(6);
  const counted = new NameServer();
  counted.answers.set("db.example/4", ["10.0.0.1"]);
  counted.ttl = 3600;
  const heard = watch(counted, { respectTtl: true });
  await heard.until(1);
  await server.untilAsked(server.asked.length + 3); // some refresh intervals go by
  expect(counted.asked).toHaveLength(1);
});

test("the same name is asked for once; it is let go with its last watcher", async () => {
  const server = new NameServer();
  server.answers.set("db.example/4", ["10.0.0.1"]);
  const resolver = new Resolver(server.lookup, seeded(1));
  const first = new Heard();
  const second = new Heard();
  const options = { ...WATCH, refreshMs: 60_000 };
  const one = resolver.watch("db.example", options, first.listener);
  await first.until(1);
  const two = resolver.watch("db.example", options, second.listener);
  expect(second.words).toEqual(["10.0.0.1"]);
  expect(server.asked).toHaveLength(1);
  one.stop();
  one.stop();
  expect(resolver.size).toBe(1);
  two.stop();
  expect(resolver.size).toBe(0);
});

test("an answer that comes after the watch was stopped is not told", async () => {
  const server = new NameServer();
  server.held = true;
  const heard = new Heard();
  const resolver = new Resolver(server.lookup, seeded(1));
  resolver.watch("db.example", WATCH, heard.listener).stop();
  server.release();
  await new Promise((resolve) => setImmediate(resolve));
  expect(heard.words).toEqual([]);
  expect(server.asked).toHaveLength(1);
});

// Clusters.

const STRICT: Discovery = { kind: "dns", logical: false, family: "v4", refreshMs: 20, respectTtl: false };
const NAME = "ext";

function set(server: NameServer, given: Cluster, options: ClusterSetOptions = {}): ClusterSet {
  const clusters = new ClusterSet({ random: seeded(1), lookup: server.lookup, ...options });
  closers.push(() => clusters.close());
  clusters.update({ [NAME]: given });
  return clusters;
}

function choose(clusters: ClusterSet, context: PickContext = {}): Promise<HostState | undefined> {
  return within(new Promise((resolve) => void clusters.choose(NAME, context, resolve)));
}

function addresses(clusters: ClusterSet): string[] {
  return [...clusters.get(NAME)!.hosts()].map(({ endpoint }) => endpoint.address).sort();
}

function named(discovery: Discovery, ...endpoints: string[]): Cluster {
  const tcp = endpoints.map((address) => endpoint(address, { kind: "tcp" }));
  return cluster([locality(tcp)], { name: NAME, discovery });
}

test("strict: every address of every name is a host; requests wait for the first answers", async () => {
  const server = new NameServer();
  server.held = true;
  server.answers.set("a.example/4", ["10.0.0.1", "10.0.0.2"]).set("b.example/4", ["10.0.0.3"]);
  const clusters = set(server, named(STRICT, "a.example:443", "b.example:80", "10.9.9.9:81"));
  const chosen = choose(clusters);
  expect(clusters.get(NAME)!.pick({})).toBeUndefined();
  server.release();
  expect((await chosen)?.endpoint.kind).toBe("tcp");
  expect(addresses(clusters)).toEqual(["10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:80", "10.9.9.9:81"]);
});

test("strict: hosts follow the answers, and those that stay are the same", async () => {
  const server = new NameServer();
  server.answers.set("a.example/4", ["10.0.0.1", "10.0.0.2"]);
  const removed = Promise.withResolvers<string>();
  const clusters = set(server, named(STRICT, "a.example:80"), { hostRemoved: ({ key }) => removed.resolve(key) });
  await choose(clusters);
  const [stays] = [...clusters.get(NAME)!.hosts()].filter(({ endpoint }) => endpoint.address === "10.0.0.2:80");
  server.answers.set("a.example/4", ["10.0.0.2", "10.0.0.3"]);
  expect(await within(removed.promise)).toBe("tcp|10.0.0.1:80");
  expect(addresses(clusters)).toEqual(["10.0.0.2:80", "10.0.0.3:80"]);
  expect([...clusters.get(NAME)!.hosts()]).toContain(stays!);
});

test("logical: one host, the first address; with all families the others in order behind it", async () => {
  const server = new NameServer();
  server.answers.set("a.example/4", ["10.0.0.1", "10.0.0.2"]).set("a.example/6", ["fd00::1", "fd00::2"]);
  const one = set(server, named({ ...STRICT, logical: true }, "a.example:443"));
  expect((await choose(one))!.endpoint).toMatchObject({ address: "10.0.0.1:443", additionalAddresses: [] });
  const all = set(server, named({ ...STRICT, logical: true, family: "all" }, "a.example:443"));
  expect((await choose(all))!.endpoint).toMatchObject({
    address: "[fd00::1]:443",
    additionalAddresses: ["10.0.0.1:443", "[fd00::2]:443", "10.0.0.2:443"],
  });
});

test("logical: the host stays the same when another address is first", async () => {
  const server = new NameServer();
  server.answers.set("a.example/4", ["10.0.0.1"]);
  const clusters = set(server, named({ ...STRICT, logical: true }, "a.example:443"));
  const before = (await choose(clusters))!;
  server.answers.set("a.example/4", ["10.0.0.7"]);
  while (before.endpoint.address !== "10.0.0.7:443") await server.untilAsked(server.asked.length + 1);
  expect(clusters.get(NAME)!.pick({})).toBe(before);
  expect(before.removed).toBe(false);
});

test("a name without addresses is no healthy upstream", async () => {
  const server = new NameServer();
  expect(await choose(set(server, named(STRICT, "gone.example:80")))).toBeUndefined();
});

test("a request that is given up while it waits hears nothing", async () => {
  const server = new NameServer();
  server.held = true;
  server.answers.set("a.example/4", ["10.0.0.1"]);
  const clusters = set(server, named(STRICT, "a.example:80"));
  let heard = 0;
  clusters.choose(NAME, {}, () => heard++)!.abandon();
  const other = choose(clusters);
  server.release();
  expect((await other)?.endpoint.address).toBe("10.0.0.1:80");
  expect(heard).toBe(0);
});

test("a cluster that is taken away while requests wait answers them", async () => {
  const server = new NameServer();
  server.held = true;
  const clusters = set(server, named(STRICT, "a.example:80"));
  const chosen = choose(clusters);
  clusters.update({});
  expect(await chosen).toBeUndefined();
  expect(clusters.get(NAME)).toBeUndefined();
  expect(await choose(clusters)).toBeUndefined();
});

test("new settings of a cluster keep its resolved hosts without asking again", async () => {
  const server = new NameServer();
  server.answers.set("a.example/4", ["10.0.0.1"]);
  const discovery = { ...STRICT, refreshMs: 60_000 };
  const clusters = set(server, named(discovery, "a.example:80"));
  const before = await choose(clusters);
  clusters.update({ [NAME]: { ...named(discovery, "a.example:80"), connectTimeoutMs: 1 } });
  expect(clusters.get(NAME)!.pick({})).toBe(before!);
  expect(clusters.get(NAME)!.cluster.connectTimeoutMs).toBe(1);
  expect(server.asked).toHaveLength(1);
  clusters.update({ [NAME]: cluster([locality(weighted([1]))], { name: NAME }) });
  expect(before!.removed).toBe(true);
  expect(addresses(clusters)).toEqual(["10.0.0.1:80"]);
});

test("clusters: those that are equal are not touched, others keep their hosts, the rest goes", () => {
  const removed: string[] = [];
  const clusters = new ClusterSet({
    random: seeded(1),
    hostRemoved: (host, { cluster }) => removed.push(`${cluster.name} ${host.key}`),
  });
  const of = (name: string, weights: number[]) => cluster([locality(weighted(weights))], { name });
  clusters.update({ a: of("a", [1, 1, 1]), b: of("b", [1]) });
  const order = () => clusters.get("a")!.pick({})!.endpoint.address;
  const first = order();
  // The turn goes on: an equal cluster does not begin anew.
  const seen = new Set([first]);
  for (let i = 0; i < 2; i++) {
    clusters.update({ a: of("a", [1, 1, 1]), b: of("b", [1]) });
    seen.add(order());
  }
  expect(seen.size).toBe(3);
  const a = clusters.get("a");
  clusters.update({ a: of("a", [1, 1]) });
  expect(clusters.get("a")).toBe(a!);
  expect(clusters.get("b")).toBeUndefined();
  expect(removed).toEqual(["a hbone|10.0.0.3:80", "b hbone|10.0.0.1:80"]);
  expect([...clusters.values()]).toEqual([a!]);
});

// Authorities.

const FORWARD: Discovery = { kind: "dynamic-forward-proxy", defaultPort: 443 };

test.each([
  ["example.org", "example.org:443"],
  ["Example.ORG:80", "example.org:80"],
  ["[fd00::1]", "[fd00::1]:443"],
  ["[fd00::1]:80", "[fd00::1]:80"],
  ["", undefined],
  [":80", undefined],
  ["example.org:", undefined],
  ["example.org:0", undefined],
  ["example.org:65536", undefined],
  ["example.org:080", undefined],
  ["example.org:1e3", undefined],
])("authority %p → %p", (authority, key) => {
  expect(authorityKey(authority, 443)).toBe(key!);
});

test("an authority is resolved when it is asked for, once, and kept", async () => {
  const server = new NameServer();
  server.answers.set("api.example/4", ["10.0.0.1"]).set("api.example/6", ["fd00::1"]);
  const clusters = set(server, named(FORWARD));
  expect(clusters.get(NAME)!.pick({ authority: "api.example" })).toBeUndefined();
  const both = [choose(clusters, { authority: "api.example" }), choose(clusters, { authority: "API.example:443" })];
  const [first, second] = await Promise.all(both);
  expect(first).toBe(second!);
  expect(first!.endpoint).toMatchObject({
    kind: "tcp",
    address: "[fd00::1]:443",
    additionalAddresses: ["10.0.0.1:443"],
  });
  expect(server.asked).toEqual(["api.example/6", "api.example/4"]);
  expect(clusters.get(NAME)!.pick({ authority: "api.example" })).toBe(first!);
  const other = await choose(clusters, { authority: "api.example:8443" });
  expect(other!.endpoint.address).toBe("[fd00::1]:8443");
});

test("an address as authority needs no name server", async () => {
  const server = new NameServer();
  const clusters = set(server, named(FORWARD));
  expect((await choose(clusters, { authority: "10.0.0.5:81" }))!.endpoint.address).toBe("10.0.0.5:81");
  expect((await choose(clusters, { authority: "[fd00::5]" }))!.endpoint.address).toBe("[fd00::5]:443");
  expect(server.asked).toEqual([]);
});

test.each<[string, Cluster]>([
  ["names", named(STRICT, "a.example:80")],
  ["authorities", named(FORWARD)],
])("%s: requests that wait go on when the cluster gets listed endpoints instead", async (_name, before) => {
  const server = new NameServer();
  server.held = true;
  const clusters = set(server, before);
  const chosen = choose(clusters, { authority: "a.example" });
  clusters.update({ [NAME]: cluster([locality(weighted([1]))], { name: NAME }) });
  expect((await chosen)?.endpoint.address).toBe("10.0.0.1:80");
});

test("an authority that does not exist is no upstream, and is asked for again by the next request", async () => {
  const server = new NameServer();
  const clusters = set(server, named(FORWARD));
  expect(await choose(clusters, { authority: "late.example" })).toBeUndefined();
  expect(await choose(clusters, {})).toBeUndefined();
  server.answers.set("late.example/4", ["10.0.0.1"]);
  expect((await choose(clusters, { authority: "late.example" }))!.endpoint.address).toBe("10.0.0.1:443");
});

test("authorities are bounded; those that had no request for a while make room", async () => {
  const server = new NameServer();
  let now = 0;
  const clusters = set(server, named(FORWARD), { now: () => now });
  const pick = (n: number) => choose(clusters, { authority: `10.0.${n >> 8}.${n & 255}` });
  const first = await pick(0);
  first!.activeRequests = 1;
  for (let n = 1; n < 1024; n++) expect(await pick(n)).toBeDefined();
  expect(await pick(5000)).toBeUndefined();
  now = 60_000;
  expect(await pick(5000)).toBeDefined();
  expect(addresses(clusters)).toEqual(["10.0.0.0:443", "10.0.19.136:443"]);
});

test("the resolver of the runtime", async () => {
  expect((await systemLookup("localhost", 4)).map(({ ip }) => ip)).toEqual(["127.0.0.1"]);
  expect((await systemLookup("localhost", 6)).every(({ ip }) => ip === "::1")).toBe(true);
});
