// A proxy of one request at a time between the versions, as small as it can be: what the router does, without routing.
import { describe, expect, test } from "bun:test";
import {
  type ClientStream,
  http1Client,
  http2Client,
  type HttpClientEndpoint,
  type HttpServerEndpoint,
  type RequestHead,
  type RequestListener,
  type ResponseHead,
  type ResponseListener,
  serveHttp1,
  serveHttp2,
  type ServerStream,
} from "../../src/http/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { RecordingHandler, requestOf, responseOf, SeenResponse } from "./exchanges.ts";
import { link, octets, settled } from "./memory_endpoint.ts";
import { Owner } from "./owner.ts";

type Version = "http1" | "http2";

class Passage implements RequestListener, ResponseListener {
  upstream: ClientStream | undefined = undefined;
  #owed = 0;
  readonly #downstream: ServerStream;
  constructor(downstream: ServerStream) {
    this.#downstream = downstream;
  }
  onData(chunk: Uint8Array, endStream: boolean): void {
    this.upstream!.sendData(chunk, endStream);
    this.#downstream.consume(chunk.length);
  }
  onTrailers(fields: HeaderList): void {
    this.upstream!.sendTrailers(fields);
  }
  onWritable(): void {
    this.upstream!.consume(this.#owed);
    this.#owed = 0;
  }
  onReset(): void {
    this.upstream!.reset();
  }
  response: ResponseListener = {
    onInformational: (head: ResponseHead) => this.#downstream.respond(head, false),
    onHeaders: (head: ResponseHead, endStream: boolean) => this.#downstream.respond(head, endStream),
    onData: (chunk: Uint8Array, endStream: boolean) => {
      if (this.#downstream.sendData(chunk, endStream)) this.upstream!.consume(chunk.length);
      else this.#owed += chunk.length;
    },
    onTrailers: (fields: HeaderList) => this.#downstream.sendTrailers(fields),
    onWritable: () => {},
    onReset: () => this.#downstream.reset(2),
  };
  onInformational(): void {}
  onHeaders(): void {}
}

/** client ⇄ proxy ⇄ application, each hop in its version. */
async function chain(front: Version, back: Version, application: RecordingHandler) {
  const upstream = back === "http1" ? http1Client({}, new Owner()) : http2Client({}, new Owner());
  const server = back === "http1" ? serveHttp1({}, application) : serveHttp2({}, application);
  const backWire = link(upstream, server);
  const proxy = {
    onRequest(stream: ServerStream, head: RequestHead, endStream: boolean): RequestListener {
      const passage = new Passage(stream);
      passage.upstream = upstream.request(head, endStream, passage.response);
      if (passage.upstream === undefined) throw new Error("the upstream connection is taken");
      return passage;
    },
    onRefused() {},
    onConnectionClosed() {},
  };
  const downstream: HttpServerEndpoint = front === "http1" ? serveHttp1({}, proxy) : serveHttp2({}, proxy);
  const client: HttpClientEndpoint = front === "http1" ? http1Client({}, new Owner()) : http2Client({}, new Owner());
  const frontWire = link(client, downstream);
  await settled();
  return { client, frontWire, backWire };
}

const PAIRS: [Version, Version][] = [["http1", "http1"], ["http1", "http2"], ["http2", "http1"], ["http2", "http2"]];

describe.each(PAIRS)("%s → %s", (front, back) => {
  test("bodies and trailers both ways", async () => {
    const application = new RecordingHandler();
    const { client, frontWire, backWire } = await chain(front, back, application);
    const seen = new SeenResponse();
    const head = requestOf("POST", "/svc/Method?x=1", [["te", "trailers"], ["content-type", "application/grpc"]]);
    seen.stream = client.request(head, false, seen)!;
    seen.stream.sendData(octets("ping"), false);
    seen.stream.sendTrailers([["x-sum", "4"]]);
    await settled();
    const request = application.requests[0]!;
    expect([request.head.method, request.head.path, request.head.authority, request.head.scheme]).toEqual([
      "POST",
      "/svc/Method?x=1",
      "web.shop",
      "http",
    ]);
    expect(request.head.fields).toEqual([["te", "trailers"], ["content-type", "application/grpc"]]);
    expect([request.body, request.trailers, request.ended]).toEqual(["ping", [["x-sum", "4"]], true]);
    request.stream.respond(responseOf(200, [["content-type", "application/grpc"]]), false);
    request.stream.sendData(octets("pong"), false);
    request.stream.sendTrailers([["grpc-status", "0"]]);
    await settled();
    expect([seen.head?.status, seen.body, seen.trailers, seen.ended]).toEqual([
      200,
      "pong",
      [["grpc-status", "0"]],
      true,
    ]);
    for (const wire of [frontWire, backWire]) expect([wire.client.unread, wire.server.unread]).toEqual([0, 0]);
  });

  test("1 MiB each way with every byte in place, and all credit back", async () => {
    const application = new RecordingHandler((request) => {
      request.stream.respond(responseOf(200), false);
      request.onBody = (chunk, end) => request.stream.sendData(chunk, end);
    });
    const { client, frontWire, backWire } = await chain(front, back, application);
    const seen = new SeenResponse();
    const hash = new Bun.CryptoHasher("sha256");
    const onData = seen.onData.bind(seen);
    seen.onData = (chunk, end) => {
      hash.update(chunk);
      onData(chunk, end);
    };
    seen.stream = client.request(requestOf("POST", "/", [["content-length", String(1 << 20)]]), false, seen)!;
    const sent = new Bun.CryptoHasher("sha256");
    for (let i = 0; i < 16; i++) {
      const chunk = new Uint8Array(64 << 10).map((_, at) => (at * 31 + i * 7) & 255);
      sent.update(chunk);
      const before = seen.writable;
      const room = seen.stream.sendData(chunk, i === 15);
      await settled();
      if (!room) expect(seen.writable).toBeGreaterThan(before);
    }
    await settled();
    expect([seen.ended, seen.bytes]).toEqual([true, 1 << 20]);
    expect(hash.digest("hex")).toBe(sent.digest("hex"));
    for (const wire of [frontWire, backWire]) expect([wire.client.unread, wire.server.unread]).toEqual([0, 0]);
  });

  test("no body, empty body, HEAD", async () => {
    const application = new RecordingHandler((request) =>
      request.respond(200, request.head.method === "HEAD" ? "x" : "")
    );
    const { client } = await chain(front, back, application);
    for (const [method, fields] of [["GET", []], ["POST", [["content-length", "0"]]], ["HEAD", []]] as const) {
      const seen = new SeenResponse();
      seen.stream = client.request(requestOf(method, "/", fields.map(([name, value]) => [name, value])), true, seen)!;
      await settled();
      expect([seen.head?.status, seen.ended, seen.body, seen.reset]).toEqual([200, true, "", undefined]);
      expect(application.requests.at(-1)!.ended).toBe(true);
    }
  });

  test("WebSocket", async () => {
    const application = new RecordingHandler((request) => {
      const key = request.head.fields.find(([name]) => name === "sec-websocket-key");
      const fields: HeaderList = back === "http1" ? [["sec-websocket-accept", `for ${key?.[1].length}`]] : [];
      request.stream.respond(responseOf(101, fields, "websocket"), false);
      request.onBody = (chunk, end) => request.stream.sendData(chunk.slice(), end);
    });
    const { client } = await chain(front, back, application);
    const seen = new SeenResponse();
    const key: HeaderList = front === "http1" ? [["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="]] : [];
    seen.stream = client.request(requestOf("GET", "/chat", key, { upgrade: "websocket" }), false, seen)!;
    await settled();
    expect([seen.head?.status, seen.head?.upgrade]).toEqual([101, "websocket"]);
    seen.stream.sendData(octets("frame"), false);
    await settled();
    expect(seen.body).toBe("frame");
    seen.stream.sendData(octets("last"), true);
    await settled();
    expect([seen.body, seen.ended, seen.reset]).toEqual(["framelast", true, undefined]);
  });

  test("a reset goes through in both directions", async () => {
    const application = new RecordingHandler();
    const first = await chain(front, back, application);
    const seen = new SeenResponse();
    seen.stream = first.client.request(requestOf("GET", "/"), true, seen)!;
    await settled();
    seen.stream.reset();
    await settled();
    expect(application.requests[0]!.reset).toBeDefined();

    const second = await chain(front, back, application);
    const cut = new SeenResponse();
    cut.stream = second.client.request(requestOf("GET", "/"), true, cut)!;
    await settled();
    application.requests[1]!.stream.respond(responseOf(200), false);
    application.requests[1]!.stream.sendData(octets("part"), false);
    await settled();
    application.requests[1]!.stream.reset(2);
    await settled();
    expect([cut.body, cut.ended]).toEqual(["part", false]);
    expect(cut.reset).toBeDefined();
  });
});
