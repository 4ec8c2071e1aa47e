/** What a connection does with a parser: stopping behind requests, going on, tunnels, ends, credit. */
import { describe, expect, test } from "bun:test";
import { RequestParser, ResponseParser } from "../../src/http1/mod.ts";
import { octets, Recorder } from "./recorder.ts";

const FIRST = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const SECOND = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

function server() {
  const recorder = new Recorder();
  return { recorder, parser: new RequestParser({}, recorder) };
}

describe("pipelining", () => {
  test("a request is not looked at before the one in front is done with", () => {
    const { recorder, parser } = server();
    const bad = "BREW / HTTP/1.1\r\n\r\n";
    expect(parser.receive(octets(FIRST + SECOND + bad))).toBe(FIRST.length - 3);
    expect(parser.held).toBe(SECOND.length + bad.length);
    expect(recorder.requests.map((head) => head.path)).toEqual(["/1"]);
    expect(parser.receive(octets(SECOND))).toBe(0);
    expect(parser.held).toBe(2 * SECOND.length + bad.length);
    expect(parser.next()).toBe(SECOND.length);
    expect(recorder.requests.map((head) => head.path)).toEqual(["/1", "/2"]);
    expect(recorder.error).toBeUndefined();
    parser.next();
    expect(recorder.error?.status).toBe(400);
    expect(parser.held).toBe(0);
  });

  test("next() before the end of a request goes on when it ends", () => {
    const { recorder, parser } = server();
    parser.receive(octets(FIRST.slice(0, -1)));
    expect(parser.next()).toBe(0);
    parser.receive(octets("c" + SECOND + SECOND));
    expect(recorder.requests.map((head) => head.path)).toEqual(["/1", "/2"]);
    expect(parser.held).toBe(SECOND.length);
  });

  test("next() from inside onMessageEnd does not recurse", () => {
    const { recorder, parser } = server();
    recorder.ended = () => parser.next();
    parser.receive(octets(SECOND.repeat(20_000)));
    expect(recorder.requests.length).toBe(20_000);
    expect(parser.idle).toBe(true);
  });

  test("what waits in many small pieces is one request in the end, and costs no more than its octets", () => {
    const { recorder, parser } = server();
    parser.receive(octets(SECOND));
    const big = `POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n${"0123456789".repeat(900)}`;
    for (const octet of octets(big.slice(0, 6000))) parser.receive(new Uint8Array([octet]));
    parser.receive(octets(big.slice(6000) + SECOND));
    expect(parser.held).toBe(big.length + SECOND.length);
    expect(parser.next()).toBe(big.length - 9000);
    expect(recorder.content).toBe("0123456789".repeat(900));
    expect(parser.held).toBe(SECOND.length);
    expect(parser.next()).toBe(SECOND.length);
    expect(recorder.requests.map((head) => head.path)).toEqual(["/2", "/big", "/2"]);
  });

  test("what waits is bounded", () => {
    const recorder = new Recorder();
    const parser = new RequestParser({ limits: { maxHeldBytes: 1000 } }, recorder);
    parser.receive(octets(SECOND));
    parser.receive(new Uint8Array(1000));
    expect(recorder.error).toBeUndefined();
    parser.receive(new Uint8Array(1));
    expect(recorder.error).toMatchObject({ status: 400, details: "http1.codec_error" });
    expect(parser.held).toBe(0);
  });
});

describe("tunnels", () => {
  test.each([["an upgrade", UPGRADE], ["CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"]])(
    "%s: what follows waits for the answer, then it is raw",
    (_name, text) => {
      const { recorder, parser } = server();
      parser.receive(octets(`${text}GET / HTTP/1.1\r\n`));
      expect(recorder.events.map((event) => event.kind)).toEqual(["request", "end"]);
      expect(parser.raw()).toBe(0);
      expect(recorder.content).toBe("GET / HTTP/1.1\r\n");
      expect(parser.receive(octets("\0more"))).toBe(0);
      expect(recorder.content).toBe("GET / HTTP/1.1\r\n\0more");
      expect(parser.eof()).toBe("complete");
      expect(recorder.events.at(-1)!.kind).toBe("end");
    },
  );

  test("an upgrade that was refused: what follows is the next request", () => {
    const { recorder, parser } = server();
    parser.receive(octets(UPGRADE + SECOND));
    parser.next();
    expect(recorder.requests.map((head) => head.path)).toEqual(["/ws", "/2"]);
  });

  test("raw() from inside onRequest", () => {
    const { recorder, parser } = server();
    recorder.onRequest = () => parser.raw();
    parser.receive(octets(`${UPGRADE}raw`));
    expect(recorder.events).toEqual([{ kind: "end" }, { kind: "data", data: "raw" }]);
  });
});

describe("ends", () => {
  test("half-close behind requests that wait: they can be answered still", () => {
    const { recorder, parser } = server();
    parser.receive(octets(SECOND + SECOND));
    expect(parser.eof()).toBe("waiting");
    parser.next();
    expect(recorder.requests.length).toBe(2);
    expect(parser.eof()).toBe("idle");
  });

  test("half-close behind half a request that waits", () => {
    const { recorder, parser } = server();
    parser.receive(octets(SECOND + SECOND.slice(0, 9)));
    expect(parser.eof()).toBe("waiting");
    expect(parser.next()).toBe(9);
    expect(parser.eof()).toBe("truncated");
    expect(recorder.requests.length).toBe(1);
  });

  test("after close() nothing comes, and all is counted", () => {
    const { recorder, parser } = server();
    parser.receive(octets(FIRST + SECOND));
    expect(parser.close()).toBe(SECOND.length);
    expect(parser.receive(octets(SECOND))).toBe(SECOND.length);
    expect(parser.next()).toBe(0);
    expect(recorder.requests.length).toBe(1);
    expect(parser.eof()).toBe("idle");
  });

  test.each(["onRequest", "onData", "onTrailers", "onMessageEnd"] as const)("close() inside %s", (at) => {
    const { recorder, parser } = server();
    const told: string[] = [];
    for (const name of ["onRequest", "onData", "onTrailers", "onMessageEnd", "onError"] as const) {
      recorder[name] = () => {
        told.push(name);
        if (name === at) parser.close();
      };
    }
    const text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\n\r\n";
    parser.receive(octets(text + SECOND));
    expect(told.at(-1)).toBe(at);
    expect(told.filter((name) => name === at).length).toBe(1);
  });

  test.each(["onInformational", "onResponse", "onData", "onMessageEnd"] as const)("client: close() inside %s", (at) => {
    const recorder = new Recorder();
    const parser = new ResponseParser({}, recorder);
    const told: string[] = [];
    for (const name of ["onInformational", "onResponse", "onData", "onMessageEnd", "onError"] as const) {
      recorder[name] = () => {
        told.push(name);
        if (name === at) parser.close();
      };
    }
    parser.expect("GET", false);
    parser.receive(octets("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy"));
    expect(told.at(-1)).toBe(at);
  });

  test("idle: no octet of a request has come", () => {
    const { parser } = server();
    expect(parser.idle).toBe(true);
    parser.receive(octets("G"));
    expect(parser.idle).toBe(false);
    parser.receive(octets(SECOND.slice(1)));
    expect(parser.idle).toBe(false);
    parser.next();
    expect(parser.idle).toBe(true);
  });

  test("a second request on a client's connection before the response is a bug", () => {
    const parser = new ResponseParser({}, new Recorder());
    parser.expect("GET", false);
    expect(() => parser.expect("GET", false)).toThrow("response is in state head");
  });
});
