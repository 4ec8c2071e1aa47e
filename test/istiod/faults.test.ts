/** What the istiod for tests does wrong when told to, and how it stops and comes back. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { Caller, type Channel, type Conversation } from "./caller.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, badResources, type Istiod, podWorkload, startIstiod } from "./mod.ts";

const pod = (name: string, ip: string) => podWorkload({ name, ips: [ip], node: { name: "node-a" } });
const A = "Kubernetes//Pod/default/a";

describe("faults", () => {
  let istiod: Istiod;
  let caller: Caller;
  let channel: Channel;
  const open = (options: { serverName?: string; limit?: number } = {}) =>
    caller.channel({ port: istiod.port, roots: readFileSync(istiod.rootPath, "utf8"), ...options });
  beforeAll(() => {
    caller = new Caller();
  });
  beforeEach(async () => {
    istiod = await startIstiod();
    await istiod.put({ put: [pod("a", "10.1.0.1")] });
    channel = open();
  });
  afterEach(() => istiod.close());
  afterAll(() => caller.stop());

  async function running(on = channel): Promise<Conversation> {
    const stream = on.discover();
    stream.begin(ADDRESS_TYPE);
    expect((await stream.take()).response.resources.map(({ name }) => name)).toEqual([A]);
    return stream;
  }

  test("streams end with a status, a reset, a GOAWAY, and the connection's end or reset", async () => {
    const stream = await running();
    const connections = async () => {
      await istiod.caughtUp();
      return istiod.seen.all("connection").length;
    };
    const before = await connections();
    expect(await istiod.breakStreams({ how: "status", code: 14, message: "going – away" })).toBe(1);
    expect(await stream.ended).toEqual({ code: 14, details: "going – away" });
    const second = await running();
    await istiod.breakStreams({ how: "reset stream", code: 8 });
    expect((await second.ended).code).toBe(1);
    const third = await running();
    expect(await connections()).toBe(before);
    // What runs goes on; what is new takes another connection.
    await istiod.breakStreams({ how: "goaway", code: 0, end: false });
    const fourth = await running();
    expect(await connections()).toBe(before + 1);
    await istiod.put({ put: [pod("b", "10.1.0.2")] });
    expect((await third.take()).response.resources).toHaveLength(1);
    expect((await fourth.take()).response.resources).toHaveLength(1);
    await istiod.put({ removedAddresses: ["Kubernetes//Pod/default/b"] });
    await istiod.breakStreams({ how: "tcp reset" });
    // A reset connection is UNAVAILABLE, or INTERNAL, as it hits this client while reading.
    expect([13, 14]).toContain((await third.ended).code);
    expect([13, 14]).toContain((await fourth.ended).code);
    const fifth = await running();
    await istiod.breakStreams({ how: "tcp end" });
    expect((await fifth.ended).code).toBe(14);
    const sixth = await running();
    await istiod.breakStreams({ how: "half a message" });
    expect([13, 14]).toContain((await sixth.ended).code);
    expect(sixth.waiting).toBe(0);
    const seventh = await running();
    await istiod.breakStreams({ how: "goaway", code: 11, end: true });
    expect((await seventh.ended).code).not.toBe(0);
  });

  test("new streams are refused, answered without gRPC, or not at all", async () => {
    await istiod.setDiscovery({ refuse: { code: 8, message: "too many" } });
    expect(await channel.discover().ended).toEqual({ code: 8, details: "too many" });
    await istiod.setDiscovery({ refuse: undefined, httpStatus: 503 });
    expect((await channel.discover().ended).code).toBe(14);
    await istiod.setDiscovery({ httpStatus: undefined, silent: true });
    const stream = channel.discover();
    stream.begin(ADDRESS_TYPE);
    await istiod.seen.until("request");
    await istiod.setDiscovery({ silent: false });
    stream.begin(AUTHORIZATION_TYPE);
    expect((await stream.take()).response.typeUrl).toBe(AUTHORIZATION_TYPE);
    stream.cancel();
  });

  test("answers come late, in their order, and in pieces", async () => {
    await istiod.setDiscovery({ delayMs: 100, pieceBytes: 7 });
    const start = performance.now();
    const stream = channel.discover();
    stream.begin(ADDRESS_TYPE);
    stream.begin(AUTHORIZATION_TYPE);
    expect((await stream.take()).response.typeUrl).toBe(ADDRESS_TYPE);
    expect((await stream.take()).response.typeUrl).toBe(AUTHORIZATION_TYPE);
    expect(performance.now() - start).toBeGreaterThan(190);
    stream.cancel();
  });

  test("resources worth a NACK come beside good ones", async () => {
    const stream = await running();
    await istiod.put({ put: [...Object.values(badResources()), pod("good", "10.1.0.7")] });
    const { response } = await stream.take();
    expect(response.resources).toHaveLength(Object.keys(badResources()).length + 1);
    expect(response.resources.at(-1)?.name).toBe("Kubernetes//Pod/default/good");
    stream.cancel();
  });

  test("a message of 250 MiB", async () => {
    const small = open({ limit: 200 << 20 });
    const stream = await running(small);
    const push = await istiod.pushLarge(ADDRESS_TYPE, 250 << 20);
    expect(push.sent).toHaveLength(1);
    const ended = await stream.ended;
    expect(ended.code).toBe(8);
    const told = istiod.seen.all("response").at(-1)?.bytes ?? 0;
    expect(Math.abs(told - (250 << 20))).toBeLessThan(2);
    // One that is just allowed is well formed.
    const other = await running();
    await istiod.pushLarge(ADDRESS_TYPE, 3 << 20);
    expect((await other.take()).response.systemVersionInfo.length).toBeGreaterThan(3_000_000);
    other.cancel();
    small.close();
  }, 60_000);

  /** What a plain connection sees within a moment: "open" is neither bytes nor an end. */
  function knock(): Promise<"refused" | "reset" | "open" | "answered"> {
    return new Promise((resolve) => {
      const socket: Socket = connect(istiod.port, "127.0.0.1");
      const done = (what: "refused" | "reset" | "open" | "answered") => {
        resolve(what);
        socket.destroy();
      };
      socket.on(
        "error",
        (error: Error & { code?: string }) => done(error.code === "ECONNREFUSED" ? "refused" : "reset"),
      );
      socket.on("data", () => done("answered"));
      socket.on("end", () => done("answered"));
      // A ClientHello that is none: TLS answers it with an alert.
      socket.on("connect", () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
      setTimeout(() => done("open"), 500);
    });
  }

  test("the port refuses, resets, or is a black hole; running connections can be stalled", async () => {
    expect(await knock()).toBe("answered");
    await istiod.setPort({ connections: "refuse" });
    expect(await knock()).toBe("refused");
    await istiod.setPort({ connections: "reset" });
    expect(await knock()).toBe("reset");
    await istiod.setPort({ connections: "black hole" });
    expect(await knock()).toBe("open");
    await istiod.setPort({ connections: "accept" });
    const stream = await running();
    await istiod.setPort({ connections: "stall" });
    const push = await istiod.put({ put: [pod("b", "10.1.0.2")] });
    expect(await knock()).toBe("open");
    expect(stream.waiting).toBe(0);
    await istiod.setPort({ connections: "accept" });
    expect((await stream.take()).response.nonce).toBe(push.sent[0]?.nonce ?? "");
    stream.cancel();
  });

  test("the server's certificate is for other names, of another root, or has run out", async () => {
    const fails = async (serverName?: string) => {
      const stream = open(serverName === undefined ? {} : { serverName }).discover();
      return (await stream.ended).code;
    };
    expect(await fails("other.example.org")).toBe(14);
    await istiod.setPort({ serverNames: ["other.example.org"] });
    expect(await fails()).toBe(14);
    await running(open({ serverName: "other.example.org" })).then((stream) => stream.cancel());
    await istiod.setPort({ serverNames: ["istiod.istio-system.svc"], serverExpired: true });
    expect(await fails()).toBe(14);
    await istiod.setPort({ serverExpired: false, serverIssuer: await istiod.newRoot() });
    expect(await fails()).toBe(14);
    await istiod.trustServer([1]);
    const stream = await running(open());
    stream.cancel();
  });

  test("killed and started again with its state, and without", async () => {
    const stream = await running();
    const { port } = istiod;
    const root = readFileSync(istiod.rootPath, "utf8");
    await istiod.setDiscovery({ delayMs: 1 });
    await istiod.kill("kept");
    expect([13, 14]).toContain((await stream.ended).code);
    expect(await knock()).toBe("refused");
    await istiod.start(() => istiod.put({ put: [pod("b", "10.1.0.2")] }));
    expect(istiod.port).toBe(port);
    expect(readFileSync(istiod.rootPath, "utf8")).toBe(root);
    expect(await istiod.setDiscovery({})).toMatchObject({ delayMs: 1 });
    const again = channel.discover();
    again.begin(ADDRESS_TYPE);
    expect((await again.take()).response.resources).toHaveLength(2);
    again.begin(AUTHORIZATION_TYPE);
    await again.take();
    await istiod.synced();
    await istiod.kill("lost");
    const numbers = istiod.seen.all("stream").map(({ stream }) => stream);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(istiod.seen.all("ended")).toHaveLength(numbers.length);
    await istiod.start();
    expect(istiod.port).toBe(port);
    expect(readFileSync(istiod.rootPath, "utf8")).not.toBe(root);
    const empty = open().discover();
    empty.begin(ADDRESS_TYPE);
    expect((await empty.take()).response.resources).toEqual([]);
    empty.cancel();
  });
});
