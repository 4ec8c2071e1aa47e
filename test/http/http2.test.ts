import { describe, expect, test } from "bun:test";
import { http2Client, type HttpClientEndpoint, serveHttp2 } from "../../src/http/mod.ts";
import { ErrorCode, type HeaderList } from "../../src/http2/mod.ts";
import { RecordingHandler, requestOf, responseOf, SeenResponse } from "./exchanges.ts";
import { Owner } from "./owner.ts";
import { link, type MemoryEndpoint, octets, settled } from "./memory_endpoint.ts";

interface Rig {
  readonly client: HttpClientEndpoint;
  readonly server: ReturnType<typeof serveHttp2>;
  readonly handler: RecordingHandler;
  readonly owner: Owner;
  readonly wire: { client: MemoryEndpoint; server: MemoryEndpoint };
}

async function rig(handler: RecordingHandler, options: Parameters<typeof serveHttp2>[0] = {}): Promise<Rig> {
  const owner = new Owner();
  const client = http2Client({}, owner);
  const server = serveHttp2(options, handler);
  const wire = link(client, server);
  await settled();
  return { client, server, handler, owner, wire };
}

function send(client: HttpClientEndpoint, head = requestOf("GET", "/"), body?: string): SeenResponse {
  const seen = new SeenResponse();
  const stream = client.request(head, body === undefined, seen);
  if (stream === undefined) throw new Error("no stream");
  seen.stream = stream;
  if (body !== undefined) stream.sendData(octets(body), true);
  return seen;
}

describe("HTTP/2 on byte streams", () => {
  test("a request and its response, with bodies", async () => {
    const { client, handler, server } = await rig(
      new RecordingHandler((request) => {
        request.onBody = (_, end) => {
          if (end) request.respond(201, `got ${request.body}`, [["x-a", "1"]]);
        };
      }),
    );
    const seen = send(client, requestOf("POST", "/p?q", [["content-length", "5"], ["x-b", "2"]]), "hello");
    expect(server.active).toBe(0);
    await settled();
    const head = handler.requests[0]!.head;
    expect([head.method, head.path, head.authority, head.scheme, head.protocol]).toEqual([
      "POST",
      "/p?q",
      "web.shop",
      "http",
      "HTTP/2",
    ]);
    expect(head.fields).toEqual([["content-length", "5"], ["x-b", "2"]]);
    expect(seen.head?.status).toBe(201);
    expect(seen.head?.fields).toEqual([["x-a", "1"], ["content-length", "9"]]);
    expect(seen.body).toBe("got hello");
    expect(seen.ended).toBe(true);
    expect([server.active, client.active]).toEqual([0, 0]);
  });

  test("head and small body leave in one piece", async () => {
    const { client, wire } = await rig(new RecordingHandler((request) => request.respond(200, "small")));
    wire.server.take();
    send(client);
    await settled();
    expect(wire.server.pieces.length).toBe(1);
  });

  test("many streams over one connection, bytes cut anywhere", async () => {
    const handler = new RecordingHandler((request) => request.respond(200, request.head.path));
    const owner = new Owner();
    const client = http2Client({}, owner);
    const server = serveHttp2({}, handler);
    const wire = link(client, server);
    let seed = 7;
    const split = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % 13 + 1;
    wire.client.split = split;
    wire.server.split = split;
    const seen = Array.from({ length: 50 }, (_, i) => send(client, requestOf("GET", `/${i}`)));
    await settled();
    await settled();
    expect(seen.map(({ body }) => body)).toEqual(Array.from({ length: 50 }, (_, i) => `/${i}`));
  });

  test("cookie crumbs are joined, host yields to :authority, connection fields stay behind", async () => {
    const { client, handler } = await rig(
      new RecordingHandler((request) => request.respond(200, "", [["connection", "x"], ["keep-alive", "1"]])),
    );
    const seen = send(
      client,
      requestOf("GET", "/", [
        ["cookie", "a=1"],
        ["te", "trailers"],
        ["cookie", "b=2"],
        ["connection", "close"],
        ["upgrade", "h2c"],
        ["transfer-encoding", "chunked"],
        ["proxy-connection", "close"],
        ["te", "gzip"],
      ]),
    );
    await settled();
    expect(handler.requests[0]!.head.fields).toEqual([["cookie", "a=1; b=2"], ["te", "trailers"]]);
    expect(seen.head?.fields).toEqual([["content-length", "0"]]);
  });

  test("trailers both ways, and 103 before the response", async () => {
    const { client, handler } = await rig(
      new RecordingHandler((request) => request.stream.respond(responseOf(103, [["link", "x"]]), false)),
    );
    const seen = new SeenResponse();
    seen.stream = client.request(requestOf("POST", "/"), false, seen)!;
    seen.stream.sendTrailers([["x-t", "1"]]);
    await settled();
    const { stream, trailers } = handler.requests[0]!;
    expect(trailers).toEqual([["x-t", "1"]]);
    stream.respond(responseOf(200), false);
    stream.sendData(octets("body"), false);
    stream.sendTrailers([["grpc-status", "0"]]);
    await settled();
    expect(seen.informational.map(({ status }) => status)).toEqual([103]);
    expect(seen.body).toBe("body");
    expect(seen.trailers).toEqual([["grpc-status", "0"]]);
    expect(handler.requests[0]!.ended).toBe(true);
  });

  test("Expect is answered with one 100 and stays in the request", async () => {
    const { client, handler } = await rig(
      new RecordingHandler((request) => request.stream.respond(responseOf(100), false)),
    );
    const seen = new SeenResponse();
    seen.stream = client.request(requestOf("POST", "/", [["expect", "100-continue"]]), false, seen)!;
    await settled();
    expect(seen.informational.map(({ status }) => status)).toEqual([100]);
    expect(handler.requests[0]!.head.expectContinue).toBe(true);
    expect(handler.requests[0]!.head.fields).toEqual([["expect", "100-continue"]]);
  });

  test("HEAD, 204 and 304 have no body whatever is sent", async () => {
    const { client } = await rig(
      new RecordingHandler((request) => {
        const status = Number(request.head.path.slice(1));
        request.stream.respond(responseOf(status, [["content-length", "4"]]), false);
        request.stream.sendData(octets("body"), true);
      }),
    );
    const seen = [["HEAD", "/200"], ["GET", "/204"], ["GET", "/304"]].map(([method, path]) =>
      send(client, requestOf(method!, path!))
    );
    await settled();
    expect(seen.map(({ head, ended, body }) => [head?.status, ended, body])).toEqual([
      [200, true, ""],
      [204, true, ""],
      [304, true, ""],
    ]);
  });

  test("limits: beyond 60 KiB of fields, or 100 fields → RST_STREAM", async () => {
    const { client, handler } = await rig(new RecordingHandler((request) => request.respond(200)));
    const large = send(client, requestOf("GET", "/large", [["x", "y".repeat(70_000)]]));
    const fits = send(client, requestOf("GET", "/fits", [["x", "y".repeat(60_000)]]));
    const many: HeaderList = Array.from({ length: 101 }, (_, i) => [`x-${i}`, "1"]);
    const crowded = send(client, requestOf("GET", "/many", many));
    await settled();
    expect(fits.head?.status).toBe(200);
    expect([large.reset?.reason, crowded.reset?.reason]).toEqual(["remote-reset", "remote-reset"]);
    expect(handler.refused.map(({ status, details }) => [status, details])).toEqual([
      [0, "http2.header_list_too_large"],
      [0, "http2.too_many_headers"],
    ]);
    expect(handler.requests.length).toBe(1);
  });

  test("what HTTP/1 would not take as Host, and fields that would be read in two ways, are reset", async () => {
    const { client, handler } = await rig(new RecordingHandler((request) => request.respond(200)));
    const bad = ["", "a/b", "a?b"].map((authority) => send(client, requestOf("GET", "/", [], { authority })));
    bad.push(send(client, requestOf("GET", "/", [["x-a", "a\x01b"]])));
    bad.push(send(client, requestOf("GET", "/", [["content-length", "0"], ["content-length", "0"]])));
    await settled();
    expect(bad.map((seen) => seen.reset?.reason)).toEqual(bad.map(() => "remote-reset"));
    expect(handler.requests.length).toBe(0);
  });

  test("a slow reader of a response stops its source within the budget", async () => {
    const { client, handler, wire } = await rig(new RecordingHandler());
    const seen = send(client);
    seen.consumes = false;
    await settled();
    const { stream } = handler.requests[0]!;
    stream.respond(responseOf(200), false);
    const chunk = new Uint8Array(64 << 10);
    let sent = 0;
    while (sent < 64 << 20) {
      sent += chunk.length;
      if (!stream.sendData(chunk, false)) break;
      await settled();
    }
    expect(sent).toBeLessThan(1536 << 10); // window 512 KiB, queue 256 KiB, some on the way
    expect(handler.requests[0]!.writable).toBe(0);
    seen.consumes = true;
    while (handler.requests[0]!.writable === 0) {
      const owed = seen.owed;
      if (owed === 0) break;
      seen.owed = 0;
      seen.stream!.consume(owed);
      await settled();
    }
    expect(handler.requests[0]!.writable).toBe(1);
    expect(wire.server.unread).toBe(0);
  });

  test("a stream that does not leave stops the source too", async () => {
    const { client, handler, wire } = await rig(new RecordingHandler());
    wire.server.automatic = false;
    send(client);
    await settled();
    const { stream } = handler.requests[0]!;
    stream.respond(responseOf(200), false);
    let sent = 0;
    while (sent < 64 << 20 && stream.sendData(new Uint8Array(64 << 10), false)) {
      sent += 64 << 10;
      await settled();
    }
    expect(sent).toBeLessThan(1 << 20);
    expect(wire.server.held).toBeLessThan(512 << 10);
    wire.server.automatic = true;
    wire.server.release();
    await settled();
    expect(handler.requests[0]!.writable).toBe(1);
  });

  test("a slow reader of a request body holds one window", async () => {
    const { client, handler } = await rig(
      new RecordingHandler((request) => request.consumes = false),
    );
    const seen = new SeenResponse();
    const stream = seen.stream = client.request(requestOf("POST", "/"), false, seen)!;
    let sent = 0;
    while (sent < 64 << 20 && stream.sendData(new Uint8Array(64 << 10), false)) {
      sent += 64 << 10;
      await settled();
    }
    await settled();
    const request = handler.requests[0]!;
    expect(request.owed).toBe(512 << 10);
    request.stream.consume(request.owed);
    request.consumes = true;
    await settled();
    expect(seen.writable).toBe(1);
  });

  test("a response before the end of the request ends it with NO_ERROR", async () => {
    const { client, handler } = await rig(new RecordingHandler((request) => request.respond(413, "no")));
    const seen = new SeenResponse();
    seen.stream = client.request(requestOf("POST", "/"), false, seen)!;
    seen.stream.sendData(octets("part"), false);
    await settled();
    expect([seen.head?.status, seen.body, seen.ended, seen.reset]).toEqual([413, "no", true, undefined]);
    expect(handler.requests[0]!.reset).toBeUndefined();
    expect(client.active).toBe(0);
  });

  test("resets in both directions", async () => {
    const { client, handler } = await rig(new RecordingHandler());
    const taken = send(client);
    const given = send(client, requestOf("GET", "/2"));
    await settled();
    taken.stream!.reset();
    handler.requests[1]!.stream.reset(ErrorCode.REFUSED_STREAM);
    await settled();
    expect(handler.requests[0]!.reset).toEqual({ reason: "remote-reset", detail: "CANCEL", unsent: false });
    expect(taken.reset).toBeUndefined();
    expect(given.reset).toEqual({ reason: "remote-refused-stream", detail: "REFUSED_STREAM", unsent: false });
  });

  test("drain: requests on their way are served, then the connection ends", async () => {
    const { client, server, handler, owner, wire } = await rig(new RecordingHandler());
    const seen = send(client);
    await settled();
    server.drain();
    await settled();
    expect(owner.draining).toBe(1);
    expect(client.available).toBe(false);
    (server as unknown as { tick(now: number): void }).tick(performance.now() + 1_500);
    await settled();
    expect(handler.closed).toBe(0);
    handler.requests[0]!.respond(200, "late");
    await settled();
    expect(seen.body).toBe("late");
    expect([handler.closed, owner.closed]).toEqual([1, 1]);
    expect(wire.server.finished).toBe(true);
  });

  test("a client that has ended its side still gets its answers", async () => {
    const { client, handler, wire } = await rig(new RecordingHandler());
    const whole = send(client);
    const part = new SeenResponse();
    part.stream = client.request(requestOf("POST", "/part"), false, part)!;
    await settled();
    wire.server.arriveEnd();
    await settled();
    expect(handler.requests[1]!.reset?.reason).toBe("connection-termination");
    handler.requests[0]!.respond(200, "answer");
    await settled();
    expect(whole.body).toBe("answer");
    expect(handler.closed).toBe(1);
  });

  test("the end of the wire ends all streams; unsent is true only for what never left", async () => {
    const owner = new Owner();
    const client = http2Client({}, owner);
    const early = send(client);
    client.close();
    expect(early.reset).toEqual({ reason: "connection-termination", detail: "connection closed", unsent: true });

    const { client: second, handler, wire } = await rig(new RecordingHandler());
    const sent = send(second);
    await settled();
    wire.client.vanish();
    expect(sent.reset?.unsent).toBe(false);
    await settled();
    wire.server.vanish();
    expect(handler.requests[0]!.reset?.reason).toBe("connection-termination");
    expect(handler.closed).toBe(1);
  });

  test("the server's stream limit bounds the client, which hears of room", async () => {
    const { client, owner, handler } = await rig(new RecordingHandler(), { maxConcurrentStreams: 2 });
    const seen = [send(client), send(client)];
    expect(client.available).toBe(false);
    expect(client.request(requestOf("GET", "/"), true, new SeenResponse())).toBeUndefined();
    await settled();
    const before = owner.available;
    handler.requests[0]!.respond(200);
    await settled();
    expect(owner.available).toBeGreaterThan(before);
    expect(client.available).toBe(true);
    expect(seen[0]!.ended).toBe(true);
  });

  test("WebSocket: extended CONNECT looks like an upgrade on both sides", async () => {
    const { client, handler } = await rig(
      new RecordingHandler((request) => {
        request.stream.respond(responseOf(101, [], "websocket"), false);
        request.onBody = (chunk) => request.stream.sendData(chunk.slice(), false);
      }),
    );
    const seen = new SeenResponse();
    const key: HeaderList = [["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="], ["sec-websocket-version", "13"]];
    seen.stream = client.request(requestOf("GET", "/chat", key, { upgrade: "websocket" }), true, seen)!;
    await settled();
    const { head } = handler.requests[0]!;
    expect([head.method, head.upgrade, head.path]).toEqual(["GET", "websocket", "/chat"]);
    expect([seen.head?.status, seen.head?.upgrade]).toEqual([101, "websocket"]);
    expect(seen.head?.fields).toEqual([["sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]]); // RFC 6455 §1.3
    seen.stream.sendData(octets("ping"), false);
    await settled();
    expect(seen.body).toBe("ping");
  });

  test("idle connections end after their time", async () => {
    const { server, handler, owner } = await rig(new RecordingHandler(), { idleTimeoutMs: 5_000 });
    const ticking = server as unknown as { tick(now: number): void };
    ticking.tick(performance.now() + 4_000);
    await settled();
    expect(owner.draining).toBe(0);
    ticking.tick(performance.now() + 6_000);
    await settled();
    expect([handler.closed, owner.closed]).toEqual([1, 1]);
  });
});
