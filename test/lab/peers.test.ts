/** The echo application and its callers, pod to pod without any proxy: what the waypoint's suites measure with. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { labSuite, PREPARATION_MS, TEST_MS } from "./fixture.ts";
import { EchoApplication, type EchoedRequest, Nameserver, PodCaller, PodResolver, ResolverError } from "./peers/mod.ts";
import { eventually, inspectHost, Lab } from "./topology/mod.ts";
import { fieldOf, http1, Http1Client, jsonOf } from "./traffic/mod.ts";

const HTTP = 8080;
const GRPC = 7070;

labSuite("the lab's own applications", () => {
  let lab: Lab;
  let echo: EchoApplication;
  let caller: PodCaller;
  const destination = () => ({ ip: lab.pod("server").ip, port: HTTP });
  const origin = () => `http://${lab.pod("server").ip}:${HTTP}`;
  const client = () => lab.pod("client").namespace;

  beforeAll(async () => {
    const host = inspectHost();
    if (host.kind !== "available") throw new Error("no namespaces");
    lab = new Lab({
      redirector: host.redirector,
      nodes: ["a"],
      pods: [
        { name: "client", node: 0, captured: false },
        { name: "server", node: 0, captured: false },
      ],
    });
    echo = await EchoApplication.start(lab.pod("server"), { http: [HTTP], grpc: [GRPC] });
    caller = await PodCaller.start(lab.pod("client"));
  }, PREPARATION_MS);
  afterAll(async () => {
    await Promise.all([echo?.stop(), caller?.stop()]);
    lab?.close();
  });

  test("an HTTP/1.1 request is told back as it was seen", async () => {
    const answer = await http1(client(), destination(), {
      method: "POST",
      path: "/some/path?q=1",
      host: "name.example",
      fields: [["X-Case", "Kept"], ["x-twice", "a"], ["x-twice", "b"]],
      body: "hello",
    });
    expect(answer.status).toBe(200);
    const seen = jsonOf<EchoedRequest>(answer);
    expect(seen).toMatchObject({
      method: "POST",
      path: "/some/path?q=1",
      host: "name.example",
      protocol: "HTTP/1.1",
      pod: "server",
      namespace: "demo",
      remote: lab.pod("client").ip,
      bytes: 5,
    });
    expect(seen.headers).toContainEqual(["X-Case", "Kept"]);
    expect(fieldOf(seen.headers, "x-twice")).toBe("a,b");
  }, TEST_MS);

  test("chunks, trailers both ways, 100-continue, statuses and sizes as asked for", async () => {
    const chunked = await http1(client(), destination(), {
      method: "POST",
      path: "/?trailer=x-sum:42&status=201",
      fields: [["TE", "trailers"]],
      chunks: ["one", "two"],
      trailers: [["x-end", "yes"]],
    });
    expect(chunked).toMatchObject({ status: 201, framing: "chunked", trailers: [["x-sum", "42"]] });
    expect(jsonOf<EchoedRequest>(chunked)).toMatchObject({ bytes: 6, trailers: [["x-end", "yes"]] });

    const continued = await Http1Client.open(client(), destination());
    continued.send({ method: "POST", fields: [["Expect", "100-continue"], ["Content-Length", "2"]] });
    expect(await continued.conversation.readUntil("\r\n\r\n")).toStartWith("HTTP/1.1 100 ");
    continued.conversation.write("ok");
    expect(jsonOf<EchoedRequest>(await continued.answer())).toMatchObject({ bytes: 2, expectation: "100-continue" });
    continued.close();

    const large = await http1(client(), destination(), { path: "/?size=3000000" });
    expect(large.body.length).toBe(3_000_000);
    const none = await http1(client(), destination(), { method: "HEAD", path: "/?size=77" });
    expect([none.framing, fieldOf(none.fields, "content-length")]).toEqual(["none", "77"]);
  }, TEST_MS);

  test("failures as asked for", async () => {
    const statuses: number[] = [];
    for (let at = 0; at < 3; at++) {
      statuses.push((await http1(client(), destination(), { path: "/?fail=some:2" })).status);
    }
    expect(statuses).toEqual([503, 503, 200]);
    const reset = http1(client(), destination(), { path: "/?reset=1" });
    expect(await reset.then(() => "answered", (error) => error.code)).toMatch(/EOF|ECONNRESET/);
  }, TEST_MS);

  test("HTTP/2 with prior knowledge", async () => {
    const answer = await caller.http2({
      origin: origin(),
      headers: { ":method": "POST", ":path": "/two?trailer=x-sum:7", ":authority": "name.example" },
      body: "hello",
      trailers: { "x-end": "yes" },
    });
    expect(answer.headers[":status"]).toBe(200);
    expect(answer.trailers).toMatchObject({ "x-sum": "7" });
    expect(JSON.parse(answer.body)).toMatchObject({
      protocol: "HTTP/2.0",
      host: "name.example",
      bytes: 5,
      trailers: [["x-end", "yes"]],
    });
    const curl = client().run(["curl", "-s", "--http2-prior-knowledge", `${origin()}/curl`]);
    expect(JSON.parse(curl)).toMatchObject({ protocol: "HTTP/2.0", path: "/curl" });
  }, TEST_MS);

  test("gRPC in its four kinds, with status and trailers", async () => {
    const target = `${lab.pod("server").ip}:${GRPC}`;
    const unary = await caller.grpc({
      target,
      method: "Echo",
      messages: [{ text: "hi" }],
      metadata: { "x-mine": "1" },
    });
    expect(unary).toMatchObject({ code: 0, trailers: { "x-trailer": "server" } });
    expect(unary.responses[0]).toMatchObject({ pod: "server", message: { text: "hi" } });
    const failing = await caller.grpc({ target, method: "Echo", messages: [{ code: 5, details: "gone" }] });
    expect(failing).toMatchObject({ code: 5, details: "gone", responses: [] });
    const texts = ["a", "b", "c"].map((text) => ({ text }));
    const collected = await caller.grpc({ target, method: "Collect", messages: texts });
    expect(collected.responses[0]).toMatchObject({ texts: ["a", "b", "c"] });
    const spread = await caller.grpc({ target, method: "Spread", messages: [{ count: 3 }] });
    expect(spread.responses.map(({ index }) => index)).toEqual([0, 1, 2]);
    const chat = await caller.grpc({ target, method: "Chat", messages: texts });
    expect(chat.responses.map(({ text }) => text)).toEqual(["re: a", "re: b", "re: c"]);
    const late = await caller.grpc({ target, method: "Echo", messages: [{ waitMs: 30_000 }], deadlineMs: 2_000 });
    expect(late.code).toBe(4);
    await echo.process.line((line) => line === "grpc cancelled 30000");
  }, TEST_MS);

  test("WebSocket", async () => {
    const url = `ws://${lab.pod("server").ip}:${HTTP}/socket`;
    const answer = await caller.websocket({ url, protocols: ["chat"], messages: ["one", "two"] });
    expect(answer).toMatchObject({ status: 101, code: 1000, protocol: "chat" });
    expect(answer.received.slice(1)).toEqual(["one", "two"]);
    expect(JSON.parse(answer.received[0] ?? "")).toMatchObject({ path: "/socket", pod: "server" });
  }, TEST_MS);

  test("names: both ends, over UDP and TCP", async () => {
    const many = Array.from({ length: 100 }, (_, index) => `192.0.2.${index}`);
    const nameserver = await Nameserver.start(lab.pod("server"), {
      "known.test.": { a: ["192.0.2.1"], aaaa: ["2001:db8::1"], ttl: 7 },
      "many.test.": { a: many },
      "silent.test.": null,
    });
    const resolver = await PodResolver.start(lab.pod("client"), lab.pod("server").ip);
    try {
      expect(await resolver.ask("known.test")).toMatchObject({
        code: "NOERROR",
        question: { name: "known.test.", type: 1 },
        answers: [{ name: "known.test.", ttl: 7, data: "192.0.2.1" }],
      });
      const six = await resolver.ask({ name: "known.test", type: "AAAA" }, { protocol: "tcp" });
      expect(six.answers.map(({ data }) => data)).toEqual(["2001:db8::1"]);
      expect((await resolver.ask("unknown.test")).code).toBe("NXDOMAIN");
      expect(await resolver.ask("many.test")).toMatchObject({ truncated: true, answers: [] });
      const whole = await resolver.ask("many.test", { protocol: "tcp" });
      expect(whole.answers.map(({ data }) => data)).toEqual(many);
      const silence = resolver.ask("silent.test", { deadlineMs: 100 });
      expect(await silence.catch((error: Error) => error)).toEqual(new ResolverError("timeout"));
      await eventually("both questions", () => nameserver.questions.length >= 2);
      expect(nameserver.questions.slice(0, 2)).toEqual([
        `udp a known.test. from ${lab.pod("client").ip}`,
        `tcp aaaa known.test. from ${lab.pod("client").ip}`,
      ]);
    } finally {
      await Promise.all([resolver.stop(), nameserver.stop()]);
    }
  }, TEST_MS);
});
