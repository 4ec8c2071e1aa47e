/** What passes a waypoint and how: HTTP/1, HTTP/2, gRPC, WebSocket and plain TCP, each with its ends and its exceptions. */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "../fixture.ts";
import { hostnameOf } from "../mesh/mod.ts";
import type { EchoedRequest } from "../peers/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation, doubling, fieldOf, http1, jsonOf } from "../traffic/mod.ts";
import {
  type Applications,
  ask,
  DETECTION_MS,
  GREETING,
  GREETING_TARGET,
  GRPC,
  HTTP,
  open,
  SNIFFED,
  SNIFFED_GRPC,
  startApplications,
  TCP,
  TCP_GREETING,
  TCP_TARGET,
  VIP,
  waypointMesh,
} from "./mesh.ts";

const MB = 1 << 20;
const HOST = hostnameOf("web");
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

labSuite("protocols through a waypoint", () => {
  let applications: Applications;
  const shared = sharedMesh(waypointMesh, async (mesh) => {
    applications = await startApplications(mesh);
    for (const pod of ["v1", "v2", "direct"]) {
      mesh.serve(pod, TCP_TARGET, doubling);
      mesh.serve(pod, GREETING_TARGET, (conversation) => {
        conversation.write("220 hello\r\n");
      });
    }
  });
  const client = () => shared().lab.pod("client").namespace;

  test("HTTP/1.1: what the waypoint adds, and what it leaves alone", async () => {
    const answer = await ask(shared(), {
      method: "PUT",
      path: "/a/b?x=1&y=%20",
      host: "shop.example:8080",
      fields: [["X-Custom", "kept"], ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]],
      body: "hello",
    });
    const seen = jsonOf<EchoedRequest>(answer);
    expect(seen).toMatchObject({ method: "PUT", path: "/a/b?x=1&y=%20", host: "shop.example:8080", bytes: 5 });
    expect(seen.protocol).toBe("HTTP/1.1");
    expect(fieldOf(seen.headers, "x-custom")).toBe("kept");
    expect(fieldOf(seen.headers, "traceparent")).toStartWith("00-0af7651916cd43dd");
    expect(fieldOf(seen.headers, "x-request-id")).toMatch(UUID);
    expect(fieldOf(seen.headers, "x-forwarded-proto")).toBe("http");
    // The waypoint calls the application: it is whose address is seen.
    expect(seen.remote).toBe(shared().lab.pod("waypoint").ip);
    expect(fieldOf(answer.fields, "server")).toBe("istio-envoy");
    expect(fieldOf(answer.fields, "x-envoy-upstream-service-time")).toMatch(/^\d+$/);
    expect(fieldOf(answer.fields, "date")).toBeDefined();
    // Headers of the tunnels are not those of what is in them.
    expect(seen.headers.map(([name]) => name.toLowerCase())).not.toContain("forwarded");
    expect(seen.headers.map(([name]) => name.toLowerCase())).not.toContain("baggage");
  }, TEST_MS);

  test("a request id that is there stays", async () => {
    const answer = await ask(shared(), { fields: [["x-request-id", "mine-1"]] });
    expect(fieldOf(jsonOf<EchoedRequest>(answer).headers, "x-request-id")).toBe("mine-1");
  }, TEST_MS);

  test("keep-alive: every request of a connection is balanced by itself", async () => {
    const connection = await open(shared());
    const pods = new Set<string>();
    for (let sent = 0; sent < 60; sent++) {
      pods.add(jsonOf<EchoedRequest>(await connection.exchange({ host: HOST })).pod);
    }
    connection.close();
    expect([...pods].sort()).toEqual(["v1", "v2"]);
  }, TEST_MS);

  test("pipelined requests are answered in order", async () => {
    const connection = await open(shared());
    const paths = ["/1?delay=200", "/2", "/3?delay=50", "/4"];
    for (const path of paths) connection.send({ path, host: HOST });
    const seen: string[] = [];
    for (let at = 0; at < paths.length; at++) seen.push(jsonOf<EchoedRequest>(await connection.answer()).path);
    connection.close();
    expect(seen).toEqual(paths);
  }, TEST_MS);

  test("HEAD and 204 have no body, and the connection goes on", async () => {
    const connection = await open(shared());
    const head = await connection.exchange({ method: "HEAD", path: "/?size=1234", host: HOST });
    expect([head.status, fieldOf(head.fields, "content-length")]).toEqual([200, "1234"]);
    const none = await connection.exchange({ path: "/?status=204", host: HOST });
    expect([none.status, none.body.length]).toEqual([204, 0]);
    expect((await connection.exchange({ host: HOST })).status).toBe(200);
    connection.close();
  }, TEST_MS);

  test("chunked both ways, response trailers for who announced TE: trailers", async () => {
    const answer = await ask(shared(), {
      method: "POST",
      path: "/?trailer=x-sum:42",
      fields: [["TE", "trailers"], ["Connection", "TE"]],
      chunks: ["one", "two", "three"],
    });
    expect(answer).toMatchObject({ status: 200, framing: "chunked", trailers: [["x-sum", "42"]] });
    expect(jsonOf<EchoedRequest>(answer).bytes).toBe(11);
  }, TEST_MS);

  test("100-continue: the client is told to go on", async () => {
    const connection = await open(shared());
    connection.send({ method: "POST", host: HOST, fields: [["Expect", "100-continue"], ["Content-Length", "5"]] });
    expect(await connection.conversation.readUntil("\r\n\r\n")).toStartWith("HTTP/1.1 100 ");
    connection.conversation.write("hello");
    const answer = await connection.answer();
    expect([answer.status, jsonOf<EchoedRequest>(answer).bytes]).toEqual([200, 5]);
    connection.close();
  }, TEST_MS);

  test("HTTP/1.0: 426 on a port declared HTTP, passes as TCP on an undeclared one", async () => {
    const declared = await ask(shared(), { version: "HTTP/1.0" });
    expect(declared.status).toBe(426);
    const undeclared = await ask(shared(), { version: "HTTP/1.0", port: SNIFFED });
    expect([undeclared.status, jsonOf<EchoedRequest>(undeclared).protocol]).toEqual([200, "HTTP/1.0"]);
    expect(fieldOf(undeclared.fields, "server")).toBeUndefined();
  }, TEST_MS);

  test("a client that half-closes after its request is answered", async () => {
    const connection = await open(shared());
    connection.send({ path: "/?delay=100", host: HOST });
    connection.conversation.finish();
    expect((await connection.answer()).status).toBe(200);
    connection.close();
  }, TEST_MS);

  test("HTTP/2 with prior knowledge, by Node and by curl, on declared and undeclared ports", async () => {
    for (const port of [HTTP, SNIFFED]) {
      const answer = await applications.caller.http2({
        origin: `http://${VIP}:${port}`,
        headers: { ":method": "POST", ":path": "/two?trailer=x-sum:7", ":authority": HOST, te: "trailers" },
        body: "hello",
      });
      expect(answer.headers).toMatchObject({ ":status": 200, server: "istio-envoy" });
      expect(answer.trailers).toMatchObject({ "x-sum": "7" });
      expect(JSON.parse(answer.body)).toMatchObject({ path: "/two?trailer=x-sum:7", host: HOST, bytes: 5 });
      const curl = client().run(["curl", "-s", "--http2-prior-knowledge", `http://${VIP}:${port}/curl`]);
      expect(JSON.parse(curl)).toMatchObject({ path: "/curl" });
    }
  }, TEST_MS);

  for (const port of [GRPC, SNIFFED_GRPC]) {
    const target = `${VIP}:${port}`;
    const kind = port === GRPC ? "declared" : "undeclared";

    test(`gRPC in its four kinds on a port that is ${kind}`, async () => {
      const { caller } = applications;
      const texts = ["a", "b", "c"].map((text) => ({ text }));
      const metadata = { "x-mine": "1" };
      const unary = await caller.grpc({ target, method: "Echo", messages: [{ text: "hi" }], metadata });
      expect(unary).toMatchObject({ code: 0, headers: { server: "istio-envoy" } });
      expect(unary.trailers["x-trailer"]).toMatch(/^v[12]$/);
      expect(unary.responses[0]).toMatchObject({ message: { text: "hi" } });
      expect(unary.responses[0]?.["metadata"]).toContainEqual(["x-mine", "1"]);
      const collected = await caller.grpc({ target, method: "Collect", messages: texts });
      expect(collected.responses[0]).toMatchObject({ texts: ["a", "b", "c"] });
      const spread = await caller.grpc({ target, method: "Spread", messages: [{ count: 200, size: 10_000 }] });
      expect([spread.code, spread.responses.length]).toEqual([0, 200]);
      const chat = await caller.grpc({ target, method: "Chat", messages: texts });
      expect(chat.responses.map(({ text }) => text)).toEqual(["re: a", "re: b", "re: c"]);
    }, TEST_MS);
  }

  test("gRPC: an error in trailers only, with details and metadata", async () => {
    const target = `${VIP}:${GRPC}`;
    const order = { target, method: "Echo" as const, messages: [{ code: 5, details: "no such thing" }] };
    const answer = await applications.caller.grpc(order);
    expect(answer).toMatchObject({ code: 5, details: "no such thing", responses: [] });
    expect(answer.trailers["x-trailer"]).toMatch(/^v[12]$/);
  }, TEST_MS);

  test("gRPC: the waypoint keeps the client's deadline and the application is cancelled", async () => {
    // By hand, since a gRPC client keeps its deadlines itself and would not wait for the proxy's word.
    const answer = await applications.caller.http2({
      origin: `http://${VIP}:${GRPC}`,
      headers: {
        ":method": "POST",
        ":path": "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo",
        ":authority": HOST,
        "content-type": "application/grpc",
        "grpc-timeout": "2S",
        te: "trailers",
      },
      body: grpcFrame({ waitMs: 20_000 }),
    });
    // The application is told the same deadline, so either of the two may be first to say that it is over.
    const told = { ...answer.headers, ...answer.trailers };
    expect(told).toMatchObject({ ":status": 200, "grpc-status": "4" });
    expect(["upstream request timeout", "Deadline%20exceeded"]).toContain(String(told["grpc-message"]));
    const cancelled = (line: string) => line === "grpc cancelled 20000";
    await Promise.any([applications.v1.process.line(cancelled), applications.v2.process.line(cancelled)]);
  }, TEST_MS);

  test("gRPC: a client that cancels cancels the application", async () => {
    const target = `${VIP}:${GRPC}`;
    const late = { target, method: "Echo" as const, messages: [{ waitMs: 21_000 }], deadlineMs: 2_000 };
    expect((await applications.caller.grpc(late)).code).toBe(4);
    const cancelled = (line: string) => line === "grpc cancelled 21000";
    await Promise.any([applications.v1.process.line(cancelled), applications.v2.process.line(cancelled)]);
    const spread = { target, method: "Spread" as const, messages: [{ count: 5000, size: 1000 }], cancelAfter: 3 };
    expect((await applications.caller.grpc(spread)).code).toBe(1);
  }, TEST_MS);

  test("WebSocket: upgraded, both ways, closed in order", async () => {
    for (const port of [HTTP, SNIFFED]) {
      const messages = ["one", "two", "x".repeat(MB)];
      const url = `ws://${VIP}:${port}/socket?q=1`;
      const answer = await applications.caller.websocket({ url, protocols: ["chat"], messages });
      expect(answer).toMatchObject({ status: 101, code: 1000, protocol: "chat" });
      expect(answer.received.slice(1)).toEqual(messages);
      expect(JSON.parse(answer.received[0] ?? "")).toMatchObject({ path: "/socket?q=1" });
    }
  }, TEST_MS);

  test("an upgrade that is not configured is refused", async () => {
    const fields = [["Connection", "Upgrade"], ["Upgrade", "irc/6.9"]] as const;
    expect((await ask(shared(), { fields })).status).toBe(403);
  }, TEST_MS);

  test("undeclared port: HTTP is recognised and treated as such", async () => {
    const answer = await ask(shared(), { port: SNIFFED });
    expect([answer.status, fieldOf(answer.fields, "server")]).toEqual([200, "istio-envoy"]);
  }, TEST_MS);

  for (const [kind, port] of [["declared TCP", TCP], ["undeclared", GREETING]] as const) {
    test(`bytes that are not HTTP pass, half-close included, on a port that is ${kind}`, async () => {
      const conversation = await Conversation.open(client(), { ip: VIP, port });
      if (port === GREETING) {
        // Its application greets; what we say is not HTTP, so the waypoint need not wait for more.
        conversation.write("EHLO me\r\n");
        expect(await conversation.read(11)).toBe("220 hello\r\n");
        return conversation.close();
      }
      conversation.write("hello world");
      expect((await conversation.read(22)).length).toBe(22);
      conversation.finish();
      expect(await conversation.readToEnd()).toBe("");
      conversation.close();
    }, TEST_MS);
  }

  test(
    "a server that speaks first is heard: at once on a TCP port, after the detection time on an undeclared one",
    async () => {
      const hear = async (port: number) => {
        const start = performance.now();
        const conversation = await Conversation.open(client(), { ip: VIP, port });
        expect(await conversation.read(11)).toBe("220 hello\r\n");
        conversation.close();
        return performance.now() - start;
      };
      expect(await hear(TCP_GREETING)).toBeLessThan(DETECTION_MS);
      const waited = await hear(GREETING);
      expect(waited).toBeGreaterThan(DETECTION_MS * 0.9);
      expect(waited).toBeLessThan(DETECTION_MS * 10);
    },
    TEST_MS,
  );

  test("a pod behind the waypoint by its own address: HTTP and TCP", async () => {
    const direct = shared().lab.pod("direct");
    const answer = await http1(client(), { ip: direct.ip, port: 8080 }, { path: "/direct" });
    expect([answer.status, fieldOf(answer.fields, "server")]).toEqual([200, "istio-envoy"]);
    expect(jsonOf<EchoedRequest>(answer)).toMatchObject({
      pod: "direct",
      path: "/direct",
      remote: shared().lab.pod("waypoint").ip,
    });
    const conversation = await Conversation.open(client(), { ip: direct.ip, port: TCP_TARGET });
    conversation.write("abc");
    expect((await conversation.read(6)).length).toBe(6);
    conversation.close();
    expect(shared().lab.pod("waypoint").ip).toBe(jsonOf<EchoedRequest>(answer).remote);
  }, TEST_MS);

  test("a client that goes away cancels the application's work", async () => {
    const path = `/?delay=20000&id=${crypto.randomUUID()}`;
    const since = shared().waypoint().process.lines.length;
    const connection = await open(shared());
    connection.send({ path, host: HOST });
    await Promise.any([applications.v1.delaying(path), applications.v2.delaying(path)]);
    connection.close();
    const cancelled = (line: string) => line === `cancelled ${path}`;
    await Promise.any([applications.v1.process.line(cancelled), applications.v2.process.line(cancelled)]);
    const record = await shared().waypoint().record((entry) => entry.path === path, since);
    expect([record.code, record.flags]).toEqual([0, "DC"]);
  }, TEST_MS);

  const bad: readonly (readonly [what: string, request: string, status: number])[] = [
    [
      "Content-Length and Transfer-Encoding",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    ["two Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400],
    ["two Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX-Long: a\r\n b\r\n\r\n", 400],
    ["a bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400],
    ["a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400],
    ["an unknown transfer coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501],
    ["an unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400],
    ["70 kB of fields", `GET / HTTP/1.1\r\nHost: a\r\nX-Large: ${"x".repeat(70_000)}\r\n\r\n`, 431],
    [
      "more than 100 fields",
      `GET / HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 110 }, (_, at) => `x-${at}: y\r\n`).join("")}\r\n`,
      431,
    ],
  ];
  for (const [what, request, status] of bad) {
    test(`refused: ${what}`, async () => {
      const connection = await open(shared());
      connection.conversation.write(request.replace(" / HTTP/", " /refused HTTP/"));
      expect((await connection.answer()).status).toBe(status);
      await eventually("the end of the connection", () => connection.conversation.ended);
      connection.close();
      const path = `/behind-${crypto.randomUUID()}`;
      expect((await ask(shared(), { path })).status).toBe(200);
      await Promise.any([applications.v1, applications.v2].map((application) => application.told(path, 1)));
      const told = [...applications.v1.requests, ...applications.v2.requests];
      expect(told.filter((line) => line.includes(" /refused"))).toEqual([]);
    }, TEST_MS);
  }
});

/** One message with its prefix (gRPC over HTTP/2, "Length-Prefixed-Message"); short enough to be ASCII throughout. */
function grpcFrame(message: Record<string, unknown>): string {
  const text = JSON.stringify(message);
  return `\0\0\0\0${String.fromCharCode(text.length)}${text}`;
}
