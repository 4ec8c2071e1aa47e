/** What the client says and when, over a stream that is up to the test (spec/ztunnel.md §3.2). */
import { describe, expect, test } from "bun:test";
import { GrpcError, GrpcStatus } from "../../../src/grpc/mod.ts";
import { exposition } from "../../../src/telemetry/mod.ts";
import { type FakeResource, responseBytes } from "./fake_channel.ts";
import { connected, FIRST, NODE, SECOND, setting, settled, TextType } from "./setting.ts";

const named = (...names: string[]): FakeResource[] => names.map((name) => ({ name }));
/** Of very long names, what tells them apart. */
const short = (name: string) => name.slice(0, 2);
const lost = () => new GrpcError("protocol", GrpcStatus.unavailable, "lost the connection");

describe("first requests", () => {
  test("one for each type in their order, with the node, asking for everything", () => {
    const { client, channel, clock } = setting([new TextType(FIRST), new TextType(SECOND)]);
    client.start();
    expect(channel.paths).toEqual(["/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"]);
    expect(channel.last.sent()).toEqual([]);
    channel.last.open();
    clock.settle();
    const { id, metadata } = NODE;
    const node = { id, metadata: metadata as Record<string, string> };
    expect(channel.last.sent()).toEqual([{ node, typeUrl: FIRST }, { node, typeUrl: SECOND }]);
  });

  test("on demand: a subscription to nothing", () => {
    const { client, channel, clock } = setting([new TextType(FIRST, "on-demand")]);
    client.start();
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([
      { node: { id: NODE.id }, typeUrl: FIRST, resourceNamesSubscribe: ["*"], resourceNamesUnsubscribe: ["*"] },
    ]);
  });

  test("by names: nothing is said until there is one, as a request without names would ask for all", () => {
    const { client, channel } = connected([new TextType(FIRST, "names")]);
    client.subscribe(FIRST, []);
    expect(channel.last.sent()).toEqual([]);
    client.subscribe(FIRST, ["a", "b"]);
    expect(channel.last.sent()).toMatchObject([
      { node: { id: NODE.id }, typeUrl: FIRST, resourceNamesSubscribe: ["a", "b"] },
    ]);
  });
});

describe("answers", () => {
  test("a push is taken and acknowledged in the turn in which it came", () => {
    const type = new TextType(FIRST);
    const { channel } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n1", named("a", "b")));
    expect(type.names).toEqual(["a", "b"]);
    expect(type.parts.map(({ first, last }) => [first, last])).toEqual([[true, true]]);
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, responseNonce: "n1" }]);
    channel.last.push(responseBytes(FIRST, "n2", named("c"), ["a"]));
    expect(type.names).toEqual(["b", "c"]);
    expect(type.parts.at(-1)).toMatchObject({ removed: ["a"], first: false, last: true });
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, responseNonce: "n2" }]);
  });

  test("refused resources are told, the others and what is gone are in force", () => {
    const type = new TextType(FIRST);
    const { channel, lines, registry } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n1", named("a", "gone")));
    lines();
    type.refuse = (text) => text.startsWith("bad") ? "of no use" : undefined;
    channel.last.push(
      responseBytes(FIRST, "n2", [
        { name: "odd", typeUrl: SECOND },
        ...named("bad1", "b", "bad2"),
        { name: "hollow", typeUrl: "" },
        { name: "" },
      ], ["gone"]),
    );
    expect(type.names).toEqual(["a", "b"]);
    const message = "bad1: of no use; bad2: of no use; " +
      `odd: its type is ${SECOND}, not ${FIRST}; hollow: nothing in it; resource 5: no name`;
    expect(channel.last.sent()).toEqual([
      { typeUrl: FIRST, responseNonce: "n1" },
      { typeUrl: FIRST, responseNonce: "n2", errorDetail: { message } },
    ]);
    expect(lines()).toEqual([
      "warn\txds::client\trefused a part of a push, all else of it is in force\t" +
      `type="test.First" refused=5 resources=6 error="${message}"`,
    ]);
    expect([...exposition(registry)].join("")).toContain(`ambient_xds_resources_refused_total{url="${FIRST}"} 5\n`);
  });

  test("of very many refused ones the first are told, and how many more", () => {
    const type = new TextType(FIRST);
    const { channel, clock } = connected([type]);
    type.refuse = () => "x".repeat(1_000);
    channel.last.push(responseBytes(FIRST, "n1", named(...Array.from({ length: 1_000 }, (_, i) => `r${i}`))));
    clock.settle();
    const message = channel.last.sent()[0]?.errorDetail?.message ?? "";
    expect(message.length).toBeLessThan(6_000);
    expect(message).toStartWith("r0: xxx");
    expect(message).toMatch(/…; and 99\d more$/);
  });

  test("a type that nobody registered is acknowledged and told in the log", () => {
    const type = new TextType(FIRST);
    const { channel, lines, registry } = connected([type]);
    lines();
    channel.last.push(responseBytes(SECOND, "n1", named("a")));
    expect(channel.last.sent()).toEqual([{ typeUrl: SECOND, responseNonce: "n1" }]);
    expect(lines()).toEqual([
      `error\txds::client\tresponse of a type that nobody asked for\ttype="${SECOND}" resources=1`,
    ]);
    expect([...exposition(registry)].join("")).toContain('istio_xds_message_total{url="unknown"} 1\n');
    channel.last.push(responseBytes(FIRST, "n2", named("a")));
    expect(type.names).toEqual(["a"]);
  });

  test("… once for each type of a stream, and for no more than a few types, their names cut", () => {
    const { channel, clock, lines } = connected([new TextType(FIRST)]);
    lines();
    for (let i = 0; i < 50; i++) channel.last.push(responseBytes(SECOND, `n${i}`));
    expect(lines()).toHaveLength(1);
    for (let i = 0; i < 50; i++) channel.last.push(responseBytes(`type\n${i}${"x".repeat(1_000)}`, "n"));
    const told = lines();
    expect(told).toHaveLength(15);
    expect(told[0]).toMatch(/\ttype="type\\n0x{249}…" resources=0$/);
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    lines();
    channel.last.push(responseBytes(SECOND, "n1"));
    expect(lines()).toHaveLength(1);
  });

  test("an empty push is one empty part", () => {
    const type = new TextType(FIRST);
    const { channel } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n1"));
    expect(type.parts).toEqual([{ resources: [], removed: [], first: true, last: true }]);
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, responseNonce: "n1" }]);
  });

  test("of a name that is there twice the last counts; one that is there and gone is there", () => {
    const type = new TextType(FIRST);
    const { channel, clock } = connected([type]);
    const again = new TextEncoder().encode("again");
    channel.last.push(
      responseBytes(FIRST, "n1", [{ name: "a", version: "1" }, { name: "a", version: "2", value: again }], ["a"]),
    );
    expect(type.texts.get("a")).toBe("again");
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, responseNonce: "n1" }]);
    channel.last.end();
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([{ initialResourceVersions: { a: "2" } }]);
  });

  test("what is refused among many times the same name is not known, whatever else was in force", () => {
    const type = new TextType(FIRST);
    const { channel, client } = connected([type]);
    type.refuse = (text) => text === "bad" ? "no" : undefined;
    const bad = new TextEncoder().encode("bad");
    channel.last.push(responseBytes(FIRST, "n1", [{ name: "a" }, { name: "a", value: bad }]));
    expect(client.status().types[0]?.resources).toBe(0);
    expect(channel.last.sent()).toMatchObject([{ errorDetail: { message: "a: no" } }]);
  });
});

describe("a handler that throws", () => {
  test("what is all right in the part comes into service; the rest is refused", () => {
    const type = new TextType(FIRST);
    const { channel, lines } = connected([type]);
    lines();
    type.before = ({ resources }) => {
      if (resources.some(({ name }) => name === "b")) throw new TypeError("undefined is not a function");
    };
    channel.last.push(responseBytes(FIRST, "n1", named("a", "b", "c"), ["d"]));
    expect(type.names).toEqual(["a", "c"]);
    expect(channel.last.sent()).toEqual([{
      typeUrl: FIRST,
      responseNonce: "n1",
      errorDetail: { message: "b: internal error: undefined is not a function" },
    }]);
    const [bug, refused] = lines();
    expect(bug).toStartWith('error\txds::client\tinternal error\terror="undefined is not a function" stack="TypeError');
    expect(refused).toContain("refused=1 resources=3");
    // The flags come all the same, once each.
    expect(type.parts.filter(({ first }) => first).length).toBe(1);
    expect(type.parts.filter(({ last }) => last).length).toBe(1);
    type.before = () => {};
    channel.last.push(responseBytes(FIRST, "n2", named("b")));
    expect(type.names).toEqual(["a", "c", "b"]);
  });

  test("one that always throws keeps nobody from the other types", () => {
    const [broken, type] = [new TextType(FIRST), new TextType(SECOND)];
    const { channel, client } = connected([broken, type]);
    broken.before = () => {
      throw new Error("no");
    };
    channel.last.push(responseBytes(FIRST, "n1", named("a"), ["b"]));
    channel.last.push(responseBytes(SECOND, "n2", named("c")));
    expect(type.names).toEqual(["c"]);
    expect(channel.last.sent().map(({ errorDetail }) => errorDetail?.message?.split("; ").length)).toEqual([
      4,
      undefined,
    ]);
    expect(client.status().types.map(({ resources }) => resources)).toEqual([0, 1]);
  });
});

describe("synced", () => {
  test("when every expected type had a push with nothing refused", async () => {
    const types = [new TextType(FIRST), new TextType(SECOND), new TextType("third", "wildcard", false)];
    const { channel, client, clock, lines } = connected(types);
    lines();
    types[1]!.refuse = () => "no";
    channel.last.push(responseBytes(FIRST, "n1", named("a", "b")));
    channel.last.push(responseBytes(SECOND, "n2", named("c")));
    expect(await settled(client.synced)).toBe(false);
    expect(client.status()).toMatchObject({
      synced: false,
      types: [{ refused: undefined }, { refused: { error: "c: no" } }, {}],
    });
    types[1]!.refuse = () => undefined;
    clock.time += 1_500;
    lines();
    channel.last.push(responseBytes(SECOND, "n3", named("c")));
    expect(await settled(client.synced)).toBe(true);
    expect(lines()).toEqual([
      "info\txds::client\tsynced with the control plane\ttest.First=2 test.Second=1 third=0 took=1.5s",
    ]);
    expect(client.status()).toMatchObject({
      synced: true,
      types: [{ resources: 2 }, { resources: 1, refused: undefined }, {}],
    });
  });

  test("a type hears the names of what could not be read, so that it can stand in for that too", async () => {
    const type = Object.assign(new TextType(FIRST), { standsIn: true });
    const { channel, client } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n0", []));
    const bytes = responseBytes(FIRST, "n1", [
      { name: "other", typeUrl: SECOND },
      { name: "empty", typeUrl: "" },
      { name: "good" },
      { name: "broken", value: new TextEncoder().encode("payload") },
    ]);
    const at = new TextDecoder("latin1").decode(bytes).indexOf("payload");
    bytes[at - 2] = 0x10; // a varint now
    channel.last.push(bytes);
    const [answer] = channel.last.sent().slice(-1);
    const error = answer?.errorDetail?.message;
    expect(type.names).toEqual(["good"]);
    expect(type.parts.at(-1)?.unreadable?.map(({ name }) => name)).toEqual(["other", "empty", "broken"]);
    expect(error).toStartWith(`other: its type is ${SECOND}, not ${FIRST}; empty: nothing in it; resource broken: `);
    expect(await settled(client.synced)).toBe(true);
  });

  test("a type that stands in for what it refuses counts though it is refused, unless nothing stands for a resource", async () => {
    const make = () => Object.assign(new TextType(FIRST), { standsIn: true });
    const refusing = make();
    refusing.refuse = () => "no";
    const one = connected([refusing]);
    one.channel.last.push(responseBytes(FIRST, "n1", named("a")));
    expect(one.channel.last.sent()).toMatchObject([{ errorDetail: { message: "a: no" } }]);
    expect(await settled(one.client.synced)).toBe(true);
    expect(one.client.status().types[0]).toMatchObject({ resources: 0, refused: { error: "a: no" } });
    const other = make();
    const two = connected([other]);
    two.channel.last.push(responseBytes(FIRST, "n1", [{ name: "" }]));
    other.before = () => {
      throw new Error("a bug");
    };
    two.channel.last.push(responseBytes(FIRST, "n2", named("a")));
    expect(await settled(two.client.synced)).toBe(false);
  });

  test("where nothing is expected, from the start", async () => {
    const { client } = setting([new TextType(FIRST, "on-demand", false)]);
    client.start();
    expect(await settled(client.synced)).toBe(true);
  });
});

describe("reconnection", () => {
  test("what is in force is told with its versions: neither what was refused nor what is gone", () => {
    const [first, second] = [new TextType(FIRST), new TextType(SECOND)];
    const { channel, client, clock } = connected([first, second]);
    first.refuse = (text) => text.includes("bad") ? "no" : undefined;
    channel.last.push(
      responseBytes(FIRST, "n1", [{ name: "a", version: "1" }, { name: "b", version: "1" }, { name: "bad" }]),
    );
    const worse = new TextEncoder().encode("bad");
    channel.last.push(responseBytes(FIRST, "n2", [{ name: "a", version: "2", value: worse }], ["b", "unknown"]));
    channel.last.push(responseBytes(SECOND, "n3", [{ name: "p", version: "7" }]));
    channel.last.end(lost());
    expect(client.status()).toMatchObject({ connected: false, lastError: "lost the connection" });
    expect(first.names).toEqual(["a"]);
    clock.pass(20);
    expect(channel.streams.length).toBe(2);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([
      // The version that is in force still.
      { node: { id: NODE.id }, typeUrl: FIRST, initialResourceVersions: { a: "1" } },
      { node: { id: NODE.id }, typeUrl: SECOND, initialResourceVersions: { p: "7" } },
    ]);
    channel.last.push(responseBytes(FIRST, "n1", named("c"), ["a"]));
    expect(first.names).toEqual(["c"]);
    expect(first.parts.at(-1)).toMatchObject({ first: true, last: true });
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, responseNonce: "n1" }]);
  });

  test("on a connection of its own: a replica that refuses is not asked again while others could answer", () => {
    const { channel, clock } = connected([new TextType(FIRST)]);
    expect(channel.renewals).toBe(0);
    for (const [i, code] of [GrpcStatus.unavailable, GrpcStatus.resourceExhausted].entries()) {
      channel.last.end(new GrpcError("status", code, "server is not ready"));
      expect(channel.renewals).toBe(i + 1);
      clock.pass(15_000);
      expect(channel.streams.length).toBe(i + 2);
    }
  });

  test("a response that cannot be read ends the stream; another begins, and what is in force stays", async () => {
    const type = new TextType(FIRST);
    const { channel, client, clock, lines, registry } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n1", named("a")));
    channel.last.sent();
    lines();
    channel.last.push(Uint8Array.of(0x12, 0x7f, 1));
    expect(channel.last.cancelled).toBe(true);
    await Promise.resolve();
    const error = "DeltaDiscoveryResponse: resources: truncated: 127 bytes announced, 1 left";
    expect(lines()).toEqual([
      `error\txds::client\tresponse of the control plane cannot be read\terror="${error}"`,
      `warn\txds::client\tdisconnected from the control plane\treason=Error error="${error}" next_try="in 20ms"`,
    ]);
    expect(channel.last.sent()).toEqual([]);
    expect(client.status()).toMatchObject({ connected: false, lastError: error, nextTry: clock.time + 20 });
    expect([...exposition(registry)].join("")).toContain('istio_xds_connection_terminations_total{reason="Error"} 1\n');
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([{ initialResourceVersions: { a: "v-a" } }]);
    expect(type.names).toEqual(["a"]);
  });

  test("a stream that ends while a push is taken: it is taken to its end, and answered to nobody", () => {
    const type = new TextType(FIRST);
    const { channel, clock } = connected([type]);
    type.before = () => clock.work(1);
    const names = Array.from({ length: 500 }, (_, i) => `r${i}`);
    channel.last.push(responseBytes(FIRST, "n1", named(...names)));
    expect(type.texts.size).toBeGreaterThan(0);
    expect(type.texts.size).toBeLessThan(500);
    const before = channel.last;
    before.end(lost());
    // The next stream is there before the push is at its end.
    clock.pass(20);
    channel.last.open();
    expect(channel.last.sent()).toEqual([]);
    expect(clock.settle()).toBeGreaterThan(3);
    expect(type.names).toEqual(names);
    expect(type.parts.filter(({ first }) => first).length).toBe(1);
    expect(before.sent()).toEqual([]);
    const [request] = channel.last.sent();
    expect(Object.keys(request?.initialResourceVersions ?? {}).sort()).toEqual(names.toSorted());
  });

  test("names in force beyond what istiod can be told come again; those that do not are gone", () => {
    const type = new TextType(FIRST);
    const { channel, clock } = connected([type]);
    // 64 names of 128 KiB each are twice what there is room for.
    const names = Array.from({ length: 64 }, (_, i) => `${String(i).padStart(2, "0")}${"x".repeat(128 << 10)}`);
    channel.last.push(
      responseBytes(FIRST, "n1", names.map((name) => ({ name, version: "1", value: new Uint8Array(0) }))),
    );
    clock.settle();
    expect(type.names.map(short)).toEqual(names.map(short));
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.raw[0]!.length).toBeLessThan(4 << 20);
    const told = Object.keys(channel.last.sent()[0]?.initialResourceVersions ?? {});
    expect(told.length).toBeGreaterThan(25);
    expect(told.length).toBeLessThan(32);
    // Of those that were not told two are there still; of those that were, one is said to be gone.
    const untold = names.filter((name) => !told.includes(name));
    channel.last.push(responseBytes(FIRST, "n2", named(untold[0]!, untold[9]!), [told[0]!]));
    clock.settle();
    expect(type.names.map(short).sort()).toEqual([...told.slice(1), untold[0]!, untold[9]!].map(short).sort());
    // From now on what is not mentioned stays.
    channel.last.push(responseBytes(FIRST, "n3", named("new")));
    expect(type.texts.size).toBe(told.length + 2);
  });

  test("nothing is taken for gone where a resource could not be read", () => {
    const type = new TextType(FIRST);
    const { channel, clock } = connected([type]);
    const names = Array.from({ length: 64 }, (_, i) => `${String(i).padStart(2, "0")}${"x".repeat(128 << 10)}`);
    channel.last.push(responseBytes(FIRST, "n1", named(...names)));
    clock.settle();
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    const bytes = responseBytes(FIRST, "n2", [{ name: "worse", version: "1", value: new Uint8Array(0) }]);
    const at = bytes.findIndex((_, i) => new TextDecoder().decode(bytes.subarray(i, i + 5)) === "worse");
    bytes[at - 2] = 0x18;
    channel.last.push(bytes);
    clock.settle();
    expect(channel.last.sent().at(-1)?.errorDetail?.message).toBe("resource 0: name: wire type 0, not 2");
    expect(type.names.map(short)).toEqual(names.map(short));
  });

  test("a message that was under way when we gave up the stream is not looked at", () => {
    const type = new TextType(FIRST);
    const { channel } = connected([type]);
    channel.last.push(Uint8Array.of(0xff));
    channel.last.push(responseBytes(FIRST, "n1", named("a")));
    expect(type.parts).toEqual([]);
  });
});

describe("on demand", () => {
  const on = () => {
    const type = new TextType(FIRST, "on-demand", false);
    return { type, ...connected([type, new TextType(SECOND)]) };
  };

  test("a name is asked for; who waits for it goes on when it is in force", async () => {
    const { type, channel, client } = on();
    const answer = client.demand(FIRST, "/10.0.0.1");
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, resourceNamesSubscribe: ["/10.0.0.1"] }]);
    channel.last.push(responseBytes(FIRST, "n1", named("other")));
    expect(await settled(answer)).toBe(false);
    channel.last.push(responseBytes(FIRST, "n2", named("/10.0.0.1")));
    expect(type.names).toEqual(["other", "/10.0.0.1"]);
    expect(await settled(answer)).toBe(true);
  });

  test("its removal is an answer, its refusal too, and a resource that has it for an alias", async () => {
    const { type, channel, client } = on();
    const [none, refused, alias] = ["none", "refused", "/10.0.0.2"].map((name) => client.demand(FIRST, name));
    type.refuse = (text) => text === "refused" ? "no" : undefined;
    channel.last.push(responseBytes(FIRST, "n1", [], ["none"]));
    expect([await settled(none!), await settled(refused!), await settled(alias!)]).toEqual([true, false, false]);
    channel.last.push(responseBytes(FIRST, "n2", named("refused")));
    expect([await settled(refused!), await settled(alias!)]).toEqual([true, false]);
    channel.last.push(responseBytes(FIRST, "n3", [{ name: "uid", aliases: ["/10.0.0.2", "shop/host"] }]));
    expect(await settled(alias!)).toBe(true);
  });

  test("a second demand lets go of the first", async () => {
    const { channel, client } = on();
    const [first, second] = [client.demand(FIRST, "a"), client.demand(FIRST, "a")];
    expect([await settled(first), await settled(second)]).toEqual([true, false]);
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, resourceNamesSubscribe: ["a"] }]);
    channel.last.push(responseBytes(FIRST, "n1", named("a")));
    expect(await settled(second)).toBe(true);
  });

  test("a name that nobody has is taken back after the answer, so that it can be asked for again", async () => {
    const { channel, client } = on();
    void client.demand(FIRST, "none");
    channel.last.sent();
    channel.last.push(responseBytes(FIRST, "n1", [], ["none"]));
    expect(channel.last.sent()).toEqual([
      { typeUrl: FIRST, responseNonce: "n1" },
      { typeUrl: FIRST, resourceNamesUnsubscribe: ["none"] },
    ]);
    const again = client.demand(FIRST, "none");
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, resourceNamesSubscribe: ["none"] }]);
    channel.last.push(responseBytes(FIRST, "n2", named("none")));
    expect(await settled(again)).toBe(true);
  });

  test("a name whose owner has gone under another name is taken back before it is asked for again", () => {
    const { channel, client } = on();
    void client.demand(FIRST, "/10.0.0.2");
    channel.last.push(responseBytes(FIRST, "n1", [{ name: "uid", aliases: ["/10.0.0.2"] }]));
    channel.last.push(responseBytes(FIRST, "n2", [], ["uid"]));
    channel.last.sent();
    void client.demand(FIRST, "/10.0.0.2");
    expect(channel.last.sent()).toEqual([
      { typeUrl: FIRST, resourceNamesUnsubscribe: ["/10.0.0.2"] },
      { typeUrl: FIRST, resourceNamesSubscribe: ["/10.0.0.2"] },
    ]);
  });

  test("after a reconnect names without an answer are asked for again, those that do not exist are not", async () => {
    const { channel, client, clock } = on();
    void client.demand(FIRST, "none");
    channel.last.push(responseBytes(FIRST, "n1", [], ["none"]));
    const waiting = client.demand(FIRST, "missing");
    channel.last.push(responseBytes(FIRST, "n2", [{ name: "known", version: "3" }]));
    channel.last.end(lost());
    // While there is no stream, and while the next one is not ready.
    const late = client.demand(FIRST, "late");
    clock.pass(20);
    channel.last.open();
    const later = client.demand(FIRST, "later");
    clock.settle();
    const sent = channel.last.sent();
    expect(sent[0]).toMatchObject({
      typeUrl: FIRST,
      resourceNamesSubscribe: ["*"],
      resourceNamesUnsubscribe: ["*"],
      initialResourceVersions: { missing: "", late: "", known: "3" },
    });
    expect(
      sent.some(({ initialResourceVersions, resourceNamesSubscribe }) =>
        initialResourceVersions?.["later"] === "" || resourceNamesSubscribe?.includes("later")
      ),
    ).toBe(true);
    channel.last.push(responseBytes(FIRST, "n1", named("missing", "late", "later")));
    expect([await settled(waiting), await settled(late), await settled(later)]).toEqual([true, true, true]);
  });

  test("names can be given back", async () => {
    const { channel, client, clock } = on();
    channel.last.push(responseBytes(FIRST, "n1", named("a", "b")));
    const waiting = client.demand(FIRST, "c");
    channel.last.sent();
    client.unsubscribe(FIRST, ["a", "c", "never"]);
    expect(channel.last.sent()).toEqual([{ typeUrl: FIRST, resourceNamesUnsubscribe: ["a", "c"] }]);
    expect(await settled(waiting)).toBe(true);
    client.unsubscribe(FIRST, ["a"]);
    expect(channel.last.sent()).toEqual([]);
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([{ initialResourceVersions: { b: "v-b" } }, {}]);
  });

  test("other types cannot be asked for so", () => {
    const { client } = on();
    expect(() => client.demand(SECOND, "a")).toThrow(`${SECOND} is asked for as wildcard, not on-demand`);
    expect(() => client.demand("none", "a")).toThrow("no type none is registered");
    expect(() => client.subscribe(FIRST, ["a"])).toThrow(`${FIRST} is asked for as on-demand, not names`);
    expect(() => client.unsubscribe(SECOND, ["a"])).toThrow("not names or on-demand");
  });

  test("closing lets go of all who wait", async () => {
    const { client } = on();
    const waiting = client.demand(FIRST, "a");
    client.close();
    expect([await settled(waiting), await settled(client.demand(FIRST, "b"))]).toEqual([true, true]);
  });
});

describe("by names", () => {
  test("names come and go, apart from the answers", () => {
    const type = new TextType(FIRST, "names");
    const { channel, client, clock } = connected([type]);
    client.subscribe(FIRST, ["a", "b"]);
    channel.last.push(responseBytes(FIRST, "n1", named("a", "b")));
    channel.last.sent();
    client.subscribe(FIRST, ["b", "c", "c"]);
    client.unsubscribe(FIRST, ["a", "z"]);
    expect(channel.last.sent()).toEqual([
      { typeUrl: FIRST, resourceNamesSubscribe: ["c"] },
      { typeUrl: FIRST, resourceNamesUnsubscribe: ["a"] },
    ]);
    // Was under way.
    channel.last.push(responseBytes(FIRST, "n2", named("a")));
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toMatchObject([
      { node: { id: NODE.id }, resourceNamesSubscribe: ["b", "c"], initialResourceVersions: { b: "v-b" } },
    ]);
  });

  test("with the last name given back, nothing is asked on the next stream", () => {
    const { channel, client, clock } = connected([new TextType(FIRST, "names")]);
    client.subscribe(FIRST, ["a"]);
    client.unsubscribe(FIRST, ["a"]);
    channel.last.end(lost());
    clock.pass(20);
    channel.last.open();
    clock.settle();
    expect(channel.last.sent()).toEqual([]);
  });
});

describe("an outage", () => {
  test("tries come at 20 ms, 40 ms, … 15 s; what they failed by is told, and what is in force stays", () => {
    const type = new TextType(FIRST);
    const { channel, client, clock, lines, registry } = connected([type]);
    channel.last.push(responseBytes(FIRST, "n1", named("a")));
    clock.pass(60_000);
    lines();
    channel.last.end(
      new GrpcError("status", GrpcStatus.unavailable, "UNAVAILABLE: received prior goaway: code: NO_ERROR"),
    );
    expect(lines()).toEqual([
      "info\txds::client\tdisconnected from the control plane\treason=Reconnect " +
      'error="UNAVAILABLE: received prior goaway: code: NO_ERROR" next_try="in 10ms"',
    ]);
    clock.pass(10);
    const waits: number[] = [];
    for (let i = 0; i < 14; i++) {
      channel.last.end(new GrpcError("connect", GrpcStatus.unavailable, "10.0.0.9:15012: refused"));
      const [wait = NaN] = clock.waits;
      waits.push(wait);
      clock.pass(wait);
    }
    expect(waits).toEqual([20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000, 15000, 15000]);
    expect(lines()[0]).toBe(
      "warn\txds::client\tcannot connect to the control plane\treason=ConnectionError " +
        'error="10.0.0.9:15012: refused" next_try="in 20ms"',
    );
    expect(type.names).toEqual(["a"]);
    channel.last.open();
    clock.settle();
    expect(lines()[0]).toBe("info\txds::client\tconnected to the control plane\tknown_resources=1");
    expect(client.status()).toMatchObject({ connected: true, since: clock.time, nextTry: undefined });
    const text = [...exposition(registry)].join("");
    expect(text).toContain('istio_xds_connection_terminations_total{reason="Reconnect"} 1\n');
    expect(text).toContain('istio_xds_connection_terminations_total{reason="ConnectionError"} 14\n');
    expect(text).toContain("ambient_xds_connected 1\n");
  });

  test("a try that is due later can be made at once; the back-off goes on", () => {
    const { channel, client, clock } = connected([new TextType(FIRST)]);
    client.retryNow();
    expect(channel.streams.length).toBe(1);
    for (let i = 0; i < 10; i++) {
      channel.last.end(lost());
      if (i < 9) clock.pass(15_000);
    }
    expect(channel.streams.length).toBe(10);
    client.retryNow();
    expect([channel.streams.length, clock.waits, client.status().nextTry]).toEqual([11, [], undefined]);
    client.retryNow();
    expect(channel.streams.length).toBe(11);
    channel.last.end(lost());
    expect(clock.waits).toEqual([15_000]);
    client.close();
    client.retryNow();
    expect(channel.streams.length).toBe(11);
  });

  test("a server that takes the request and refuses it was never connected with", () => {
    let reached = 0;
    const { channel, client, clock, lines, registry } = setting([new TextType(FIRST)], {
      onConnected: () => reached++,
    });
    client.start();
    const waits: number[] = [];
    for (let i = 0; i < 3; i++) {
      channel.last.reach();
      clock.settle();
      expect(channel.last.sent()).toHaveLength(1);
      expect(client.status()).toMatchObject({ connected: false, since: undefined });
      expect([...exposition(registry)].join("")).toContain("ambient_xds_connected 0\n");
      channel.last.end(new GrpcError("status", GrpcStatus.unauthenticated, "UNAUTHENTICATED: no"));
      waits.push((client.status().nextTry ?? 0) - clock.time);
      clock.pass(waits.at(-1)!);
    }
    expect(waits).toEqual([20, 40, 80]);
    expect(lines()[0]).toBe(
      "warn\txds::client\tcannot connect to the control plane\treason=ConnectionError " +
        'error="UNAUTHENTICATED: no" next_try="in 20ms"',
    );
    expect([...exposition(registry)].join("")).toContain(
      'istio_xds_connection_terminations_total{reason="ConnectionError"} 3\n',
    );
    expect(reached).toBe(0);
    // One that says nothing but a message has taken it, too.
    channel.last.reach();
    clock.settle();
    channel.last.push(responseBytes(FIRST, "n1"));
    expect([client.status().connected, reached]).toEqual([true, 1]);
  });

  test("after close nothing is tried any more, and what comes late is nobody's", () => {
    const type = new TextType(FIRST);
    const { channel, client, clock } = connected([type]);
    const stream = channel.last;
    client.close();
    expect(stream.cancelled).toBe(true);
    stream.open();
    stream.end(lost());
    expect(clock.waits).toEqual([]);
    client.start();
    expect(channel.streams.length).toBe(1);
    const waiting = setting([type]);
    waiting.client.start();
    waiting.channel.last.end(lost());
    waiting.client.close();
    expect(waiting.clock.waits).toEqual([]);
  });

  test("a push beside busy connections makes haste as soon as another one is behind it", () => {
    const busy = (behind: boolean): number => {
      const [type, other] = [new TextType(FIRST), new TextType(SECOND)];
      const { channel, clock } = connected([type, other]);
      type.before = () => clock.work(0.3);
      const began = clock.elapsed();
      channel.last.push(responseBytes(FIRST, "n1", named(...Array.from({ length: 2_000 }, (_, i) => `r${i}`))));
      if (behind) channel.last.push(responseBytes(SECOND, "n2", named("policy")));
      while (type.texts.size < 2_000) {
        clock.work(1);
        if (clock.turn()) continue;
        const [wait = 0] = clock.waits;
        clock.work(wait);
        clock.pass(wait);
      }
      clock.settle();
      expect(other.texts.size).toBe(behind ? 1 : 0);
      return clock.elapsed() - began;
    };
    expect(busy(false)).toBeGreaterThan(busy(true) * 1.5);
  });

  test("close in the midst of a push", () => {
    const type = new TextType(FIRST);
    const { channel, client, clock } = connected([type]);
    type.before = () => clock.work(1);
    channel.last.push(responseBytes(FIRST, "n1", named(...Array.from({ length: 500 }, (_, i) => `r${i}`))));
    const { size } = type.texts;
    client.close();
    clock.settle();
    expect(type.texts.size).toBe(size);
  });
});

describe("metrics and log", () => {
  test("messages and the bytes of their resources, by type", () => {
    const { channel, registry, lines } = connected([new TextType(FIRST)], { debug: true });
    lines();
    channel.last.push(responseBytes(FIRST, "n1", named("abc", "de")));
    channel.last.push(responseBytes(FIRST, "n2", [], ["abc"]));
    const text = [...exposition(registry)].join("");
    expect(text).toContain(`istio_xds_message_total{url="${FIRST}"} 2\n`);
    expect(text).toContain(`istio_xds_message_bytes_total{url="${FIRST}"} 5\n`);
    expect(lines().filter((line) => line.startsWith("debug"))).toEqual([
      'debug\txds::client\ttook a push\ttype="test.First" resources=2 removed=0 bytes=5 took=0.0ms',
      'debug\txds::client\ttook a push\ttype="test.First" resources=0 removed=1 bytes=0 took=0.0ms',
    ]);
  });
});
