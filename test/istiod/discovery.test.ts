/** Discovery of the istiod for tests, against recorded answers of a real one and with a gRPC client of other hands. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { fromBinary } from "@bufbuild/protobuf";
import { DeltaDiscoveryResponseSchema } from "../../proto/gen/discovery_pb.ts";
import { AddressSchema } from "../../proto/gen/workload_pb.ts";
import { Caller, type Channel, type Received } from "./caller.ts";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  type Istiod,
  podWorkload,
  policyText,
  serviceText,
  startIstiod,
  WORKLOAD_TYPE,
} from "./mod.ts";

const CAPTURES = join(import.meta.dirname, "..", "xds", "captures");
const FIRST = ["delta-001-Address.pb", "delta-002-Authorization.pb"];
const LATER = [
  "delta-003-Address.pb",
  "delta-004-Authorization.pb",
  "delta-005-Address.pb",
  "delta-006-Address.pb",
  "delta-007-Authorization.pb",
];
const CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

const file = (folder: string, name: string) => join(CAPTURES, folder, name);
const recorded = (folder: string, name: string) => new Uint8Array(readFileSync(file(folder, name)));
const namesOf = ({ response }: Received) => response.resources.map(({ name }) => name).sort();

/** The bytes of each Resource in a response, sorted: their order is of no meaning. */
function rawResources(bytes: Uint8Array): string[] {
  const reader = new BinaryReader(bytes);
  const raw: string[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 2) raw.push(Buffer.from(reader.bytes()).toString("hex"));
    else reader.skip(wireType);
  }
  return raw.sort();
}

const pod = (name: string, ip: string, node = "node-a") => ({ name, ips: [ip], node: { name: node } });
const policy = (name: string) => policyText({ namespace: "default", name });

describe("discovery", () => {
  let istiod: Istiod;
  let caller: Caller;
  let channel: Channel;
  beforeAll(async () => {
    caller = new Caller();
    istiod = await startIstiod();
    channel = caller.channel({ port: istiod.port, roots: readFileSync(istiod.rootPath, "utf8") });
  });
  afterAll(async () => {
    await istiod?.close();
    await caller?.stop();
  });

  async function synced(versions: Readonly<Record<string, string>> = {}) {
    const stream = channel.discover();
    stream.begin(ADDRESS_TYPE, { initialResourceVersions: { ...versions } });
    stream.begin(AUTHORIZATION_TYPE);
    const addresses = await stream.take();
    const policies = await stream.take();
    return { stream, addresses, policies };
  }

  test("sends the recorded resources byte by byte, and their later changes", async () => {
    await istiod.load(FIRST.map((name) => file("wds-live", name)));
    const { stream, addresses, policies } = await synced();
    expect(addresses.response.typeUrl).toBe(ADDRESS_TYPE);
    expect(rawResources(addresses.bytes)).toEqual(rawResources(recorded("wds-live", FIRST[0] ?? "")));
    expect(rawResources(policies.bytes)).toEqual(rawResources(recorded("wds-live", FIRST[1] ?? "")));
    for (const name of LATER) {
      const push = await istiod.load([file("wds-live", name)]);
      const change = await stream.take();
      const expected = fromBinary(DeltaDiscoveryResponseSchema, recorded("wds-live", name));
      expect(change.response.typeUrl).toBe(expected.typeUrl);
      expect(rawResources(change.bytes)).toEqual(rawResources(recorded("wds-live", name)));
      expect(change.response.removedResources).toEqual(expected.removedResources);
      expect(change.response.systemVersionInfo).toBe(push.version);
      expect((await istiod.answers(push)).map(({ meaning }) => meaning)).toEqual(["ack"]);
    }
    stream.end();
    expect(await stream.ended).toMatchObject({ code: 0 });
    await istiod.clear();
  });

  test("a reconnect is told what changed and what has gone; policies, which have no versions, come again", async () => {
    await istiod.put({
      put: [podWorkload(pod("a", "10.1.0.1")), podWorkload(pod("b", "10.1.0.2")), policy("p"), policy("q")],
    });
    const first = await synced();
    const versions = Object.fromEntries(first.addresses.response.resources.map(({ name, version }) => [name, version]));
    expect(Object.values(versions).every((version) => /^[0-9a-f]+$/.test(version))).toBeTrue();
    first.stream.cancel();
    await istiod.put({
      put: [podWorkload(pod("b", "10.1.0.3"))],
      removedAddresses: ["Kubernetes//Pod/default/a"],
      removedPolicies: ["default/q"],
    });
    const stream = channel.discover();
    stream.begin(ADDRESS_TYPE, { initialResourceVersions: { ...versions } });
    stream.begin(AUTHORIZATION_TYPE, { initialResourceVersions: { "default/p": "", "default/q": "" } });
    const addresses = await stream.take();
    expect(namesOf(addresses)).toEqual(["Kubernetes//Pod/default/b"]);
    expect(addresses.response.removedResources).toEqual(["Kubernetes//Pod/default/a"]);
    const policies = await stream.take();
    expect(namesOf(policies)).toEqual(["default/p"]);
    expect(policies.response.removedResources).toEqual(["default/q"]);
    stream.cancel();
    await istiod.clear();
  });

  test("the first request says who it is, or the stream is refused", async () => {
    const nobody = channel.discover();
    nobody.send({ typeUrl: ADDRESS_TYPE });
    expect(await nobody.ended).toEqual({ code: 3, details: "missing node information" });
    const odd = channel.discover();
    odd.send({ node: { id: "ztunnel~10.1.2.3~name" }, typeUrl: ADDRESS_TYPE });
    expect(await odd.ended).toMatchObject({ code: 3 });
    const later = channel.discover();
    later.begin(ADDRESS_TYPE);
    await later.take();
    later.send({ typeUrl: AUTHORIZATION_TYPE });
    expect((await later.take()).response.typeUrl).toBe(AUTHORIZATION_TYPE);
    later.cancel();
  });

  test("an answer to anything but the latest push is dropped; a NACK is noted and changes nothing", async () => {
    const { stream } = await synced();
    const mark = await istiod.caughtUp();
    const one = await istiod.put({ put: [podWorkload(pod("a", "10.1.0.1"))] });
    const two = await istiod.put({ put: [podWorkload(pod("b", "10.1.0.2"))] });
    const [first, second] = [await stream.next(), await stream.next()];
    stream.ack(first);
    stream.ack(second, "Kubernetes//Pod/default/b: no good");
    expect((await istiod.answers(one)).map(({ meaning }) => meaning)).toEqual(["stale"]);
    const [nack] = await istiod.answers(two);
    expect(nack?.meaning).toBe("nack");
    expect(nack?.error).toEqual({ code: 0, message: "Kubernetes//Pod/default/b: no good" });
    expect(istiod.seen.nacks(ADDRESS_TYPE)).toContainEqual(nack as never);
    // What comes next is the next change, and not that once more.
    await istiod.put({ put: [podWorkload(pod("c", "10.1.0.3"))] });
    expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/c"]);
    expect(istiod.seen.events.length).toBeGreaterThan(mark);
    stream.cancel();
    await istiod.clear();
  });

  test("addresses are pushed before policies, to every client", async () => {
    const clients = [await synced(), await synced(), await synced()];
    const push = await istiod.put({ put: [policy("p"), podWorkload(pod("a", "10.1.0.1"))] });
    expect(push.sent).toHaveLength(6);
    for (const { stream } of clients) {
      expect((await stream.take()).response.typeUrl).toBe(ADDRESS_TYPE);
      expect((await stream.take()).response.typeUrl).toBe(AUTHORIZATION_TYPE);
    }
    expect((await istiod.answers(push)).every(({ meaning }) => meaning === "ack")).toBeTrue();
    const all = await istiod.pushAll();
    expect(all.sent).toHaveLength(6);
    for (const { stream } of clients) {
      expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/a"]);
      stream.cancel();
    }
    await istiod.clear();
  });

  test("Envoy's types are empty sets, and workloads a view of the addresses", async () => {
    await istiod.put({
      put: [
        podWorkload(pod("a", "10.1.0.1")),
        serviceText({ name: "s", addresses: ["10.96.0.1"], ports: { 80: 8080 } }),
      ],
    });
    const stream = channel.discover();
    stream.begin(CLUSTER_TYPE, { resourceNamesSubscribe: ["*"] });
    const clusters = await stream.take();
    expect(clusters.response.typeUrl).toBe(CLUSTER_TYPE);
    expect(clusters.response.resources).toEqual([]);
    stream.begin(WORKLOAD_TYPE);
    const workloads = await stream.take();
    expect(namesOf(workloads)).toEqual(["Kubernetes//Pod/default/a"]);
    expect(workloads.response.resources[0]?.resource?.typeUrl).toBe(WORKLOAD_TYPE);
    stream.cancel();
    await istiod.clear();
  });

  describe("on demand", () => {
    const HOST = "default/s.default.svc.cluster.local";

    async function asking(nodeName = "elsewhere") {
      const stream = channel.discover();
      const none = { resourceNamesSubscribe: ["*"], resourceNamesUnsubscribe: ["*"] };
      stream.begin(ADDRESS_TYPE, none, nodeName);
      return { stream, begin: await stream.take() };
    }

    test("keys are addresses, uids and hostnames; unknown ones are removals", async () => {
      await istiod.put({
        put: [
          podWorkload(pod("a", "10.1.0.1"), { services: { [HOST]: { 80: 8080 } } }),
          podWorkload(pod("b", "fd00::b")),
          serviceText({ name: "s", addresses: ["10.96.0.1"], ports: { 80: 8080 } }),
        ],
      });
      const { stream, begin } = await asking();
      expect(begin.response.resources).toEqual([]);
      const ask = (...names: string[]) => stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: names });
      ask("/10.1.0.1");
      const byAddress = await stream.take();
      expect(namesOf(byAddress)).toEqual(["Kubernetes//Pod/default/a"]);
      expect(byAddress.response.resources[0]?.aliases).toEqual(["/10.1.0.1"]);
      expect(byAddress.response.removedResources).toEqual([]);
      ask("/fd00::b");
      expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/b"]);
      ask("/10.9.9.9");
      const unknown = await stream.take();
      expect(unknown.response.resources).toEqual([]);
      expect(unknown.response.removedResources).toEqual(["/10.9.9.9"]);
      ask(HOST);
      expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/a", HOST]);
      ask("/10.96.0.1");
      expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/a", HOST]);
      stream.cancel();
      await istiod.clear();
    });

    test("changes come for what was asked for, and for workloads of services that were", async () => {
      await istiod.put({
        put: [
          podWorkload(pod("a", "10.1.0.1")),
          serviceText({ name: "s", addresses: ["10.96.0.1"], ports: { 80: 8080 } }),
        ],
      });
      const { stream } = await asking();
      stream.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: [HOST] });
      expect(namesOf(await stream.take())).toEqual([HOST]);
      const push = await istiod.put({ put: [podWorkload(pod("c", "10.1.0.9"))] });
      expect(push.sent).toEqual([]);
      await istiod.put({ put: [podWorkload(pod("d", "10.1.0.4"), { services: { [HOST]: { 80: 8080 } } })] });
      expect(namesOf(await stream.take())).toEqual(["Kubernetes//Pod/default/d"]);
      await istiod.put({ removedAddresses: ["Kubernetes//Pod/default/d"] });
      expect((await stream.take()).response.removedResources).toEqual(["Kubernetes//Pod/default/d"]);
      stream.cancel();
      await istiod.clear();
    });

    test("the node's own workloads come along unasked", async () => {
      await istiod.put({ put: [podWorkload(pod("a", "10.1.0.1", "here")), podWorkload(pod("b", "10.1.0.2"))] });
      const { stream, begin } = await asking("here");
      expect(namesOf(begin)).toEqual(["Kubernetes//Pod/default/a"]);
      stream.cancel();
      await istiod.clear();
    });
  });

  test("what a request held is in the log", async () => {
    const { stream } = await synced({ "default/gone": "7" });
    await istiod.caughtUp();
    const request = istiod.seen.requests(ADDRESS_TYPE).findLast(({ node }) => node !== undefined);
    expect(request?.node?.id).toBe("ztunnel~10.1.2.3~ztunnel-x.istio-system~istio-system.svc.cluster.local");
    expect(request?.node?.metadata).toMatchObject({ NODE_NAME: "node-x" });
    expect(request?.initialVersions).toEqual({ "default/gone": "7" });
    expect(request?.meaning).toBe("first");
    const call = istiod.seen.all("stream").find(({ stream }) => stream === request?.stream);
    expect(call?.headers).toMatchObject({ authorization: "Bearer good", clusterid: "Kubernetes" });
    const tls = istiod.seen.all("tls").find(({ connection }) => connection === call?.connection);
    expect(tls).toMatchObject({ serverName: "istiod.istio-system.svc", protocol: "TLSv1.3", alpn: "h2" });
    await istiod.synced();
    stream.cancel();
  });

  test(
    "a mesh of 70 000 workloads goes out in one push, and a reconnect of its size is refused as istiod does",
    async () => {
      const { stream } = await synced();
      await istiod.generate({ workloads: 70_000, policies: 20 });
      const { response } = await stream.take();
      expect(response.resources).toHaveLength(77_000);
      const last = fromBinary(AddressSchema, response.resources.at(-1)?.resource?.value ?? new Uint8Array());
      expect(last.type.case).toBe("workload");
      expect((await stream.take()).response.resources).toHaveLength(20);
      const versions = Object.fromEntries(response.resources.map(({ name, version }) => [name, version]));
      stream.cancel();
      const refused = channel.discover();
      refused.begin(ADDRESS_TYPE, { initialResourceVersions: versions });
      const ended = await refused.ended;
      expect(ended.code).toBe(8);
      expect(ended.details).toContain("larger than max");
      await istiod.setDiscovery({ maxRequestBytes: 32 << 20 });
      const granted = channel.discover();
      granted.begin(ADDRESS_TYPE, { initialResourceVersions: versions });
      expect((await granted.take()).response.resources).toEqual([]);
      granted.cancel();
      await istiod.clear();
    },
    60_000,
  );
});
