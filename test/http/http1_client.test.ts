import { describe, expect, test } from "bun:test";
import { http1Client, type Http1ClientOptions } from "../../src/http/mod.ts";
import { Owner } from "./owner.ts";
import { requestOf, SeenResponse } from "./exchanges.ts";
import { MemoryEndpoint, octets, settled } from "./memory_endpoint.ts";

function connect(options: Http1ClientOptions = {}) {
  const owner = new Owner();
  const client = http1Client(options, owner);
  const wire = new MemoryEndpoint().join(client);
  const send = (head = requestOf("GET", "/"), endStream = true): SeenResponse => {
    const seen = new SeenResponse();
    const stream = client.request(head, endStream, seen);
    if (stream === undefined) throw new Error("not available");
    seen.stream = stream;
    return seen;
  };
  return { owner, client, wire, send };
}

describe("HTTP/1 client", () => {
  test("a request, its response, and another one on the same connection", async () => {
    const { client, wire, send, owner } = connect();
    const seen = send(requestOf("GET", "/a?b", [["x-a", "1"]]));
    expect(client.available).toBe(false);
    await settled();
    expect(wire.pieces.length).toBe(1);
    expect(wire.take()).toBe("GET /a?b HTTP/1.1\r\nhost: web.shop\r\nx-a: 1\r\n\r\n");
    wire.arrive("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-b: 2\r\n\r\nhel");
    expect([seen.head?.status, seen.head?.fields, seen.body, seen.ended]).toEqual([
      200,
      [["content-length", "5"], ["x-b", "2"]],
      "hel",
      false,
    ]);
    wire.arrive("lo");
    expect([seen.body, seen.ended, client.available, owner.available, wire.unread]).toEqual([
      "hello",
      true,
      true,
      1,
      0,
    ]);
    expect(send().reset).toBeUndefined();
  });

  test("octets behind a response never answer a request that begins while they are read", () => {
    const { client, wire, send, owner } = connect();
    const seen = send();
    let early: unknown = "not asked";
    seen.onEnd = () => {
      early = client.request(requestOf("GET", "/next"), true, new SeenResponse());
    };
    owner.onAvailable = () => {
      throw new Error("available with octets of nobody behind the response");
    };
    wire.arrive("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
    expect([seen.body, seen.ended, early]).toEqual(["a", true, undefined]);
    expect([client.available, owner.closed]).toEqual([false, 1]);
  });

  test("bytes cut anywhere", async () => {
    for (let size = 1; size < 30; size++) {
      const { wire, send, client } = connect();
      const seen = send();
      wire.split = () => size;
      wire.arrive("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n");
      await settled();
      expect([seen.body, seen.trailers, seen.ended, client.available]).toEqual([
        "hello",
        [["grpc-status", "0"]],
        true,
        true,
      ]);
    }
  });

  test("bodies: by their length, in chunks, with trailers, none", async () => {
    const { wire, send } = connect();
    const answer = () => wire.arrive("HTTP/1.1 204 No Content\r\n\r\n");
    let seen = send(requestOf("POST", "/", [["content-length", "5"]]), false);
    seen.stream!.sendData(octets("he"), false);
    seen.stream!.sendData(octets("llo"), true);
    await settled();
    expect(wire.pieces.length).toBe(1);
    expect(wire.take()).toBe("POST / HTTP/1.1\r\nhost: web.shop\r\ncontent-length: 5\r\n\r\nhello");
    answer();
    seen = send(requestOf("POST", "/"), false);
    seen.stream!.sendData(octets("hello"), false);
    seen.stream!.sendTrailers([["x-sum", "9"], ["transfer-encoding", "gzip"]]);
    await settled();
    expect(wire.take()).toBe(
      "POST / HTTP/1.1\r\nhost: web.shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 9\r\n\r\n",
    );
    answer();
    send(requestOf("POST", "/"));
    await settled();
    expect(wire.take()).toBe("POST / HTTP/1.1\r\nhost: web.shop\r\ncontent-length: 0\r\n\r\n");
  });

  test("HEAD and 304 have a length and no body; 1xx come before", () => {
    const { wire, send, client } = connect();
    const head = send(requestOf("HEAD", "/"));
    wire.arrive("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n");
    expect([head.informational.map(({ status }) => status), head.head?.status, head.ended]).toEqual([[103], 200, true]);
    const unchanged = send();
    wire.arrive("HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n");
    expect([unchanged.ended, client.available]).toEqual([true, true]);
  });

  test("a body that the end of the connection ends", () => {
    const { wire, send, owner } = connect();
    const seen = send();
    wire.arrive("HTTP/1.0 200 OK\r\n\r\nab");
    expect([seen.body, seen.ended]).toEqual(["ab", false]);
    wire.arriveEnd();
    expect([seen.ended, seen.reset, owner.closed, wire.closed]).toEqual([true, undefined, 1, true]);
  });

  test("Connection: close ends it after the response", async () => {
    const { wire, send, owner, client } = connect();
    const seen = send();
    await settled();
    wire.arrive("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx");
    await settled();
    expect([seen.ended, owner.available, owner.draining, owner.closed, client.available, wire.closed]).toEqual([
      true,
      0,
      1,
      1,
      false,
      true,
    ]);
  });

  test("the server's end before a response; what was not sent is told apart", async () => {
    const sent = connect();
    const seen = sent.send();
    await settled();
    sent.wire.arriveEnd();
    expect(seen.reset).toEqual({ reason: "connection-termination", detail: "connection closed", unsent: false });
    expect([sent.owner.closed, sent.client.available]).toEqual([1, false]);

    const unsent = connect();
    const other = unsent.send();
    unsent.wire.vanish(); // in the same turn: nothing was handed over yet
    expect(other.reset?.unsent).toBe(true);

    const truncated = connect();
    const part = truncated.send();
    truncated.wire.arrive("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
    truncated.wire.arriveEnd();
    expect([part.ended, part.reset?.reason]).toEqual([false, "protocol-error"]);
  });

  test("what is no HTTP resets the request as a protocol error", async () => {
    const cases = [
      "SSH-2.0-x\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
      `HTTP/1.1 200 OK\r\nx: ${"y".repeat(200_000)}\r\n\r\n`,
      `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(120)}\r\n`,
    ];
    for (const text of cases) {
      const { wire, send, owner } = connect();
      const seen = send();
      await settled();
      wire.arrive(text);
      expect([seen.reset?.reason, seen.reset?.unsent, owner.closed, wire.closed]).toEqual([
        "protocol-error",
        false,
        1,
        true,
      ]);
      expect(seen.reset?.detail).not.toBe("");
    }
  });

  test("octets that nobody asked for end an idle connection", async () => {
    const { wire, owner } = connect();
    wire.arrive("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    await settled();
    expect([owner.closed, wire.closed]).toEqual([1, true]);
  });

  test("a response before the end of the request: the connection is not used again", async () => {
    const { wire, send, owner, client } = connect();
    const seen = send(requestOf("POST", "/"), false);
    seen.stream!.sendData(octets("part"), false);
    await settled();
    wire.arrive("HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno");
    await settled();
    expect([seen.head?.status, seen.body, seen.ended, seen.reset]).toEqual([413, "no", true, undefined]);
    expect([client.available, owner.closed]).toEqual([false, 1]);
    expect(seen.stream!.sendData(octets("more"), true)).toBe(true);
  });

  test("a request that is taken back ends its connection", async () => {
    const { wire, send, owner } = connect();
    const seen = send();
    await settled();
    seen.stream!.reset();
    expect([seen.reset, owner.closed, wire.closed]).toEqual([undefined, 1, true]);
  });

  test("a body that does not keep its promised length is never taken for whole", async () => {
    for (const body of ["ab", "abcd"]) {
      const { wire, send } = connect();
      const seen = send(requestOf("POST", "/", [["content-length", "3"]]), false);
      seen.stream!.sendData(octets(body), true);
      await settled();
      expect([seen.reset?.reason, wire.closed]).toEqual(["local-reset", true]);
    }
  });

  test("upgrade: 101 makes it raw both ways", async () => {
    const { wire, send } = connect();
    const seen = send(requestOf("GET", "/chat", [["sec-websocket-key", "k"]], { upgrade: "websocket" }), false);
    await settled();
    expect(wire.take()).toBe(
      "GET /chat HTTP/1.1\r\nhost: web.shop\r\nsec-websocket-key: k\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    );
    wire.arrive("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhi");
    expect([seen.head?.status, seen.head?.upgrade, seen.body]).toEqual([101, "websocket", "hi"]);
    seen.stream!.sendData(octets("up"), false);
    await settled();
    expect(wire.take()).toBe("up");
    wire.arriveEnd();
    expect([seen.ended, wire.closed]).toEqual([true, false]);
    seen.stream!.sendData(octets("rest"), true);
    await settled();
    expect([wire.take(), wire.ended, wire.closed]).toEqual(["rest", true, true]);
    expect(seen.reset).toBeUndefined();
  });

  test("upgrade: our side may end first", async () => {
    const { wire, send } = connect();
    // From HTTP/2, where it needs no key.
    const seen = send(requestOf("GET", "/chat", [], { upgrade: "websocket", protocol: "HTTP/2" }), false);
    wire.arrive("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    await settled();
    expect(wire.take()).toMatch(/\r\nsec-websocket-key: [A-Za-z0-9+/]{22}==\r\n/);
    seen.stream!.sendData(octets("bye"), true);
    await settled();
    expect([wire.take(), wire.ended, wire.closed]).toEqual(["bye", true, false]);
    wire.arrive("late");
    wire.arriveEnd();
    await settled();
    expect([seen.body, seen.ended, wire.closed, seen.reset]).toEqual(["late", true, true, undefined]);
  });

  test("an upgrade that is refused is an ordinary response", () => {
    const { wire, send, client } = connect();
    const seen = send(requestOf("GET", "/chat", [], { upgrade: "websocket" }), false);
    wire.arrive("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    expect([seen.head?.status, seen.body, seen.ended, client.available]).toEqual([403, "no", true, true]);
  });

  test("credit comes back by consume, and the connection is not used again before", () => {
    const { wire, send, client, owner } = connect();
    const seen = send();
    seen.consumes = false;
    wire.arrive("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    expect([seen.ended, wire.unread, client.available, owner.available]).toEqual([true, 5, false, 0]);
    seen.stream!.consume(3);
    expect([wire.unread, client.available]).toEqual([2, false]);
    seen.stream!.consume(2);
    expect([wire.unread, client.available, owner.available]).toEqual([0, true, 1]);
    const next = send();
    seen.stream!.consume(50);
    seen.stream!.reset();
    expect([client.active, next.reset]).toEqual([1, undefined]);
  });

  test("a server that reads slowly stops the source", async () => {
    const { wire, send } = connect({ sendBuffer: 64_000 });
    wire.automatic = false;
    const seen = send(requestOf("POST", "/"), false);
    let sent = 0;
    while (sent < 10_000_000 && seen.stream!.sendData(new Uint8Array(20_000), false)) sent += 20_000;
    expect(sent).toBeLessThan(80_000);
    await settled();
    wire.automatic = true;
    wire.release();
    await settled();
    expect(seen.writable).toBe(1);
  });

  test("drain: what runs ends in order", async () => {
    const { wire, send, client, owner } = connect();
    const seen = send();
    client.drain();
    expect([owner.draining, owner.closed]).toEqual([1, 0]);
    wire.arrive("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx");
    await settled();
    expect([seen.ended, owner.closed, wire.closed]).toEqual([true, 1, true]);
    const idle = connect();
    idle.client.drain();
    expect([idle.owner.closed, idle.wire.closed]).toEqual([1, true]);
  });

  test("the case of names is kept where it is asked for", async () => {
    const { wire, send } = connect({ keepCase: true });
    const names = new Map([["x-custom", "X-CuStOm"]]);
    const seen = send(requestOf("GET", "/", [["x-custom", "1"]], { originalNames: names }));
    await settled();
    expect(wire.take()).toContain("X-CuStOm: 1\r\n");
    wire.arrive("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-BaCk: 2\r\n\r\n");
    expect(seen.head?.fields).toContainEqual(["x-back", "2"]);
    expect(seen.head?.originalNames?.get("x-back")).toBe("X-BaCk");
  });

  test("a head that HTTP/1 cannot say resets its request, and nothing of it is sent", async () => {
    for (const head of [requestOf("POST", "/a b"), requestOf("POST", "/", [["x-a", "1\r\nx-b: 2"]])]) {
      const { wire, send, owner } = connect();
      const seen = send(head, false);
      seen.stream!.sendData(octets("GET /smuggled HTTP/1.1\r\n\r\n"), true);
      await settled();
      expect(wire.take()).toBe("");
      expect(seen.reset?.reason).toBe("local-reset");
      expect(owner.closed).toBe(1);
    }
  });
});
