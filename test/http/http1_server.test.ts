import { describe, expect, test } from "bun:test";
import { type Http1ServerOptions, serveHttp1 } from "../../src/http/mod.ts";
import { RecordingHandler, responseOf } from "./exchanges.ts";
import { MemoryEndpoint, octets, settled } from "./memory_endpoint.ts";

function serve(
  react?: ConstructorParameters<typeof RecordingHandler>[0],
  options: Http1ServerOptions = {},
) {
  const handler = new RecordingHandler(react);
  const server = serveHttp1(options, handler);
  const wire = new MemoryEndpoint().join(server);
  return { handler, server, wire, tick: (ms: number) => (server as unknown as { tick(now: number): void }).tick(ms) };
}

const GET = "GET /a?b HTTP/1.1\r\nhost: web.shop\r\n\r\n";

/** An answer without what changes from second to second. */
function plain(text: string): string {
  return text.replace(/date: [^\r]+\r\n/, "");
}

describe("HTTP/1 server", () => {
  test("a request and its response: head and body leave in one piece, the connection stays", async () => {
    const { handler, server, wire } = serve((request) => request.respond(200, "hello", [["x-a", "1"]]));
    wire.arrive(GET);
    await settled();
    expect(wire.pieces.length).toBe(1);
    expect(wire.take()).toBe("HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello");
    const { head, ended } = handler.requests[0]!;
    expect([head.method, head.path, head.authority, head.scheme, head.protocol, ended]).toEqual([
      "GET",
      "/a?b",
      "web.shop",
      "http",
      "HTTP/1.1",
      true,
    ]);
    expect([server.active, wire.unread, wire.ended]).toEqual([0, 0, false]);
    wire.arrive(GET);
    await settled();
    expect(handler.requests.length).toBe(2);
  });

  test("bytes cut anywhere", async () => {
    const text =
      "POST /p HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + GET;
    for (let size = 1; size < 40; size++) {
      const { handler, wire } = serve((request) => {
        if (request.ended) request.respond(200, "x");
        else request.onBody = (_, end) => end && request.respond(200, request.body);
      });
      wire.split = () => size;
      wire.arrive(text);
      await settled();
      expect(handler.requests.map(({ body }) => body)).toEqual(["hello world", ""]);
      expect(wire.text).toContain("\r\n\r\nhello world");
      expect(wire.text).toEndWith("\r\n\r\nx");
      expect(wire.unread).toBe(0);
    }
  });

  test("the last piece of a counted body carries the end", () => {
    const { handler, wire } = serve();
    const ends: [number, boolean][] = [];
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 6\r\n\r\n");
    handler.requests[0]!.onBody = (chunk, end) => ends.push([chunk.length, end]);
    wire.arrive("abc");
    wire.arrive("def");
    expect(ends).toEqual([[3, false], [3, true]]);
  });

  test("pipelining: the next request is looked at when the one before is answered", async () => {
    const { handler, wire } = serve();
    wire.arrive(GET + "GET /2 HTTP/1.1\r\nhost: w\r\n\r\n");
    expect(handler.requests.length).toBe(1);
    expect(wire.unread).toBeGreaterThan(0);
    handler.requests[0]!.respond(200, "one");
    await settled();
    expect(handler.requests.length).toBe(2);
    expect(wire.unread).toBe(0);
    handler.requests[1]!.respond(200, "two");
    await settled();
    expect(wire.text.match(/one|two/g)).toEqual(["one", "two"]);
  });

  test("a thousand pipelined requests that are answered at once", async () => {
    const { handler, wire } = serve((request) => request.respond(200, "."));
    wire.arrive(GET.repeat(1000));
    await settled();
    expect(handler.requests.length).toBe(1000);
    expect(wire.text.match(/\r\n\r\n\./g)?.length).toBe(1000);
    expect(wire.unread).toBe(0);
  });

  test("a response without a length is chunked; large pieces go by reference", async () => {
    const { wire } = serve((request) => {
      request.stream.respond(responseOf(200), false);
      request.stream.sendData(octets("small"), false);
      request.stream.sendData(new Uint8Array(20_000).fill(97), true);
    });
    wire.arrive(GET);
    await settled();
    expect(wire.pieces.length).toBe(3);
    expect(wire.take()).toBe(
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsmall\r\n4e20\r\n${"a".repeat(20_000)}\r\n0\r\n\r\n`,
    );
  });

  test("trailers go to a client that announced them, and are dropped otherwise", async () => {
    const { wire, handler } = serve((request) => {
      request.stream.respond(responseOf(200), false);
      request.stream.sendTrailers([["grpc-status", "0"]]);
    });
    wire.arrive(GET);
    await settled();
    expect(wire.take()).toEndWith("\r\n\r\n0\r\n\r\n");
    wire.arrive("GET / HTTP/1.1\r\nhost: w\r\nte: trailers\r\nconnection: te\r\n\r\n");
    await settled();
    expect(handler.requests[1]!.head.fields).toEqual([["te", "trailers"]]);
    expect(wire.take()).toEndWith("\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n");
  });

  test("request trailers arrive", () => {
    const { wire, handler } = serve();
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 9\r\n\r\n");
    const [request] = handler.requests;
    expect([request!.body, request!.trailers, request!.ended]).toEqual(["a", [["x-sum", "9"]], true]);
  });

  test("HEAD has the length and no body", async () => {
    const { wire } = serve((request) => request.respond(200, "body"));
    wire.arrive("HEAD / HTTP/1.1\r\nhost: w\r\n\r\n" + GET);
    await settled();
    expect(wire.take()).toBe(
      "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
    );
  });

  test("HTTP/1.0: refused with 426 unless accepted", async () => {
    const { wire, handler } = serve(undefined, { serverName: "istio-envoy" });
    wire.arrive("GET / HTTP/1.0\r\n\r\n");
    await settled();
    expect(plain(wire.take())).toBe(
      "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 16\r\ncontent-type: text/plain\r\nserver: istio-envoy\r\n" +
        "connection: close\r\n\r\nUpgrade Required",
    );
    expect(wire.ended).toBe(true);
    expect(handler.refused.length).toBe(1);
  });

  test("HTTP/1.0: the end of the connection is the end of the body", async () => {
    const { wire } = serve((request) => {
      request.stream.respond(responseOf(200), false);
      request.stream.sendData(octets("abc"), true);
    }, { acceptHttp10: true });
    wire.arrive("GET / HTTP/1.0\r\nhost: w\r\n\r\n");
    await settled();
    expect(wire.take()).toBe("HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc");
    expect(wire.ended).toBe(true);
  });

  test("HTTP/1.0 with keep-alive and a length stays", async () => {
    const { wire, handler } = serve((request) => request.respond(200, "abc"), { acceptHttp10: true });
    for (let i = 0; i < 2; i++) {
      wire.arrive("GET / HTTP/1.0\r\nhost: w\r\nconnection: keep-alive\r\n\r\n");
      await settled();
      expect(wire.take()).toContain("connection: keep-alive\r\n");
    }
    expect([handler.requests.length, wire.ended]).toEqual([2, false]);
  });

  test("Expect: 100-continue is answered at once, once, and stays in the request", async () => {
    const { wire, handler } = serve();
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    await settled();
    expect(wire.take()).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    const [request] = handler.requests;
    expect([request!.head.expectContinue, request!.head.fields[0]]).toEqual([true, ["expect", "100-continue"]]);
    request!.stream.respond(responseOf(100), false);
    wire.arrive("ab");
    request!.respond(200);
    await settled();
    expect(wire.take()).toStartWith("HTTP/1.1 200 OK");
  });

  test("Expect may be left to whoever responds", async () => {
    const { wire, handler } = serve(undefined, { answerContinue: false });
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    await settled();
    expect(wire.take()).toBe("");
    handler.requests[0]!.stream.respond(responseOf(100), false);
    await settled();
    expect(wire.take()).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  });

  test("Connection: close from the client, closeAfter and drain end the connection after the response", async () => {
    const ways: ((rig: ReturnType<typeof serve>) => void)[] = [
      ({ wire }) => wire.arrive("GET / HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n"),
      ({ wire, handler }) => {
        wire.arrive(GET);
        handler.requests[0]!.stream.closeAfter();
      },
      ({ wire, server }) => {
        wire.arrive(GET);
        server.drain();
      },
    ];
    for (const way of ways) {
      const rig = serve();
      way(rig);
      rig.handler.requests[0]!.respond(200, "x");
      await settled();
      expect(rig.wire.take()).toBe("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx");
      expect([rig.wire.ended, rig.wire.closed]).toEqual([true, false]);
      rig.wire.arriveEnd();
      expect([rig.handler.closed, rig.wire.closed, rig.wire.abrupt]).toEqual([1, true, false]);
    }
  });

  test("a request on its way to a drained connection is answered, and told of the end", async () => {
    const { server, wire, handler } = serve((request) => request.respond(200, "x"));
    server.drain();
    await settled();
    expect(wire.ended).toBe(false);
    wire.arrive(GET);
    await settled();
    expect(wire.take()).toBe("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx");
    expect([handler.requests.length, wire.ended]).toEqual([1, true]);
  });

  test("an idle connection that is drained ends soon; a client that does not end its side is left after a while", async () => {
    const { server, wire, handler, tick } = serve();
    server.drain();
    tick(performance.now() + 900);
    await settled();
    expect([wire.ended, wire.closed]).toEqual([false, false]);
    tick(performance.now() + 1_100);
    await settled();
    expect([wire.ended, wire.closed]).toEqual([true, false]);
    wire.arrive("GET /late HTTP/1.1\r\n\r\n");
    expect([handler.requests.length, wire.unread]).toEqual([0, 0]);
    tick(performance.now() + 1_100);
    expect([wire.closed, handler.closed]).toEqual([true, 1]);
  });

  test("a client that has ended its side after the request gets its answer", async () => {
    const { wire, handler } = serve();
    wire.arrive(GET);
    wire.arriveEnd();
    await settled();
    expect(wire.closed).toBe(false);
    handler.requests[0]!.respond(200, "late");
    await settled();
    expect(wire.take()).toBe("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlate");
    expect([wire.ended, wire.closed, wire.abrupt, handler.closed]).toEqual([true, true, false, 1]);
  });

  test("pipelined requests before the client's end are answered too", async () => {
    const { wire, handler } = serve();
    wire.arrive(GET + GET);
    wire.arriveEnd();
    handler.requests[0]!.respond(200, "1");
    await settled();
    handler.requests[1]?.respond(200, "2");
    await settled();
    expect(handler.requests.length).toBe(2);
    expect(wire.text).toEndWith("\r\n\r\n2");
    expect(handler.closed).toBe(1);
  });

  test("a client that leaves in the middle of its request", () => {
    const { wire, handler } = serve();
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 9\r\n\r\nabc");
    wire.arriveEnd();
    expect(handler.requests[0]!.reset?.reason).toBe("connection-termination");
    expect([wire.closed, handler.closed]).toEqual([true, 1]);
  });

  test("a client that vanishes while it waits", () => {
    const { wire, handler, server } = serve();
    wire.arrive(GET);
    wire.vanish();
    expect(handler.requests[0]!.reset?.reason).toBe("connection-termination");
    expect(handler.closed).toBe(1);
    expect(server.active).toBe(0);
  });

  test("a response that ends before the request: the rest is not read", async () => {
    const { wire, handler } = serve((request) => request.respond(413, "no"));
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 1000\r\n\r\nabc");
    await settled();
    expect(wire.take()).toEndWith("\r\n\r\nno");
    expect([wire.ended, wire.unread]).toEqual([true, 0]);
    wire.arrive("more");
    expect([handler.requests[0]!.body, wire.unread]).toEqual(["", 0]);
  });

  test("reset cuts a response so that the client notices", async () => {
    const { wire, handler } = serve();
    wire.arrive(GET);
    const { stream } = handler.requests[0]!;
    stream.respond(responseOf(200), false);
    stream.sendData(octets("part"), false);
    stream.reset(2);
    await settled();
    expect(wire.take()).toEndWith("4\r\npart\r\n");
    expect([wire.closed, wire.abrupt, handler.closed]).toEqual([true, true, 1]);
    expect(handler.requests[0]!.reset).toBeUndefined();
  });

  test("a body short of or beyond its Content-Length ends the connection", async () => {
    for (const body of ["ab", "abcd"]) {
      const { wire } = serve((request) => {
        request.stream.respond(responseOf(200, [["content-length", "3"]]), false);
        request.stream.sendData(octets(body), true);
      });
      wire.arrive(GET);
      await settled();
      expect([wire.closed, wire.abrupt]).toEqual([true, true]);
      expect(wire.text).not.toContain("abcd");
    }
  });

  test("upgrade: raw octets both ways after 101", async () => {
    const { wire, handler } = serve();
    wire.arrive(
      "GET /chat HTTP/1.1\r\nhost: w\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: x\r\n\r\nearly",
    );
    const request = handler.requests[0]!;
    expect([request.head.upgrade, request.ended, request.body]).toEqual(["websocket", false, ""]);
    request.stream.respond(responseOf(101, [["sec-websocket-accept", "y"]], "websocket"), false);
    await settled();
    expect(wire.take()).toBe(
      "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: y\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    expect(request.body).toBe("early");
    wire.arrive("GET / HTTP/1.1\r\n\r\n");
    expect(request.body).toBe("earlyGET / HTTP/1.1\r\n\r\n");
    request.stream.sendData(octets("down"), false);
    await settled();
    expect(wire.take()).toBe("down");
    wire.arriveEnd();
    expect(request.ended).toBe(true);
    request.stream.sendData(octets("rest"), true);
    await settled();
    expect([wire.take(), wire.ended, handler.closed]).toEqual(["rest", true, 1]);
    expect(wire.unread).toBe(0);
  });

  test("an upgrade that is refused ends its connection: what follows may be in the other protocol", async () => {
    const { wire, handler } = serve((request) => request.respond(403, "no"));
    wire.arrive("GET /chat HTTP/1.1\r\nhost: w\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n" + GET);
    await settled();
    expect(handler.requests.length).toBe(1);
    expect([wire.take().includes("connection: close\r\n"), wire.ended]).toEqual([true, true]);
  });

  test("what cannot be read is answered as the original answers, and reported", async () => {
    const cases: [text: string, status: number, body: string][] = [
      ["GET / HTTP/1.1\r\n\r\n", 400, ""],
      ["BREW / HTTP/1.1\r\nhost: w\r\n\r\n", 400, "Bad Request"],
      ["POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400, "Bad Request"],
      ["POST / HTTP/1.1\r\nhost: w\r\ntransfer-encoding: gzip\r\n\r\n", 501, "Not Implemented"],
      [`GET / HTTP/1.1\r\nhost: w\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, 431, "Request Header Fields Too Large"],
    ];
    for (const [text, status, body] of cases) {
      const { wire, handler } = serve();
      wire.arrive(text);
      await settled();
      const answer = wire.take();
      expect(answer).toStartWith(`HTTP/1.1 ${status} `);
      expect(answer).toContain("date: ");
      expect(answer).toContain("connection: close\r\n");
      expect(answer).toEndWith(`\r\n\r\n${body}`);
      expect(handler.refused.map((refused) => refused.status)).toEqual([status]);
      expect(handler.refused[0]!.details).not.toBe("");
      expect([wire.ended, wire.unread, handler.requests.length]).toEqual([true, 0, 0]);
    }
  });

  test("a body that cannot be read: the request is taken back and answered", async () => {
    const { wire, handler } = serve();
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n");
    await settled();
    expect(handler.requests[0]!.reset?.reason).toBe("protocol-error");
    expect(wire.take()).toStartWith("HTTP/1.1 400 Bad Request");
    expect(wire.ended).toBe(true);
  });

  test("credit: bytes of a body come back only when they are consumed", () => {
    const { wire, handler } = serve((request) => request.consumes = false);
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 1000\r\n\r\n");
    wire.arrive("x".repeat(600));
    expect(wire.unread).toBe(600);
    handler.requests[0]!.stream.consume(500);
    expect(wire.unread).toBe(100);
    handler.requests[0]!.stream.consume(5_000);
    expect(wire.unread).toBe(0);
  });

  test("a slow reader stops the source at the budget, and starts it at half", async () => {
    const { wire, handler } = serve(undefined, { sendBuffer: 100_000 });
    wire.automatic = false;
    wire.arrive(GET);
    const request = handler.requests[0]!;
    request.stream.respond(responseOf(200, [["content-length", "100000000"]]), false);
    let sent = 0;
    while (sent < 10_000_000 && request.stream.sendData(new Uint8Array(20_000), false)) sent += 20_000;
    expect(sent).toBeLessThanOrEqual(100_000);
    await settled();
    wire.release(40_000);
    expect(request.writable).toBe(0);
    wire.release(20_000);
    expect(request.writable).toBe(1);
    expect(request.stream.sendData(new Uint8Array(1_000), false)).toBe(true);
  });

  test("many small writes in one turn are bounded and gathered", async () => {
    const { wire, handler } = serve();
    wire.automatic = false;
    wire.arrive(GET);
    const { stream } = handler.requests[0]!;
    stream.respond(responseOf(200), false);
    let writes = 0;
    while (writes < 100_000 && stream.sendData(octets("tiny"), false)) writes++;
    expect(writes * 9).toBeLessThan(300_000);
    expect(wire.pieces.length).toBeLessThan(12);
    wire.automatic = true;
    wire.release();
    await settled();
    expect(handler.requests[0]!.writable).toBe(1);
  });

  test("time limits: a header section that does not end, and silence", async () => {
    const slow = serve(undefined, { headersTimeoutMs: 5_000 });
    slow.wire.arrive("GET / HTTP/1.1\r\nhos");
    const now = performance.now();
    slow.tick(now);
    slow.tick(now + 4_900);
    await settled();
    expect(slow.wire.text).toBe("");
    slow.tick(now + 5_100);
    await settled();
    expect(slow.wire.text).toStartWith("HTTP/1.1 408 Request Timeout");
    expect(slow.handler.refused.map(({ status }) => status)).toEqual([408]);

    const idle = serve(undefined, { idleTimeoutMs: 5_000 });
    idle.tick(performance.now() + 4_000);
    await settled();
    expect(idle.wire.ended).toBe(false);
    idle.tick(performance.now() + 6_000);
    await settled();
    expect([idle.wire.ended, idle.wire.text]).toEqual([true, ""]);
  });

  test("a request that runs has no time limit of the connection's", async () => {
    const { wire, tick } = serve(undefined, { idleTimeoutMs: 5_000, headersTimeoutMs: 5_000 });
    wire.arrive(GET);
    tick(performance.now() + 100_000);
    await settled();
    expect([wire.ended, wire.text]).toEqual([false, ""]);
  });

  test("calls on a stream that has ended do nothing", async () => {
    const { wire, handler } = serve((request) => request.respond(200, "x"));
    wire.arrive(GET);
    await settled();
    wire.take();
    const { stream } = handler.requests[0]!;
    expect(stream.sendData(octets("more"), true)).toBe(true);
    stream.sendTrailers([]);
    stream.respond(responseOf(500), true);
    stream.consume(100);
    stream.reset(0);
    await settled();
    expect([wire.take(), wire.closed, wire.unread]).toEqual(["", false, 0]);
  });

  test("a response that HTTP/1 cannot say breaks its connection off", async () => {
    const { wire } = serve((request) => request.respond(200, "hello", [["x-a", "1\nx-b: 2"]]));
    wire.arrive(GET);
    await settled();
    expect(wire.take()).toBe("");
    expect(wire.closed).toBe(true);
  });

  test("trailers that HTTP/1 cannot say are left out", async () => {
    const { wire } = serve(({ stream, head }) => {
      stream.respond(responseOf(200), false);
      expect(head.fields).toContainEqual(["te", "trailers"]);
      stream.sendTrailers([["x-a", "1\nx-b: 2"]]);
    });
    wire.arrive("GET / HTTP/1.1\r\nhost: w\r\nte: trailers\r\nconnection: te\r\n\r\n");
    await settled();
    expect(wire.take()).toEndWith("0\r\n\r\n");
  });
});
