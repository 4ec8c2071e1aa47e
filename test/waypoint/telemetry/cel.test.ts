import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { StreamInfo } from "../../../src/waypoint/stream_info.ts";
import { ATTRIBUTES } from "../../../src/waypoint/telemetry/attributes.ts";
import { compileExpression } from "../../../src/waypoint/telemetry/cel/mod.ts";
import { compileDimension, compileFormat, compileJsonFormat } from "../../../src/waypoint/telemetry/mod.ts";
import { CLIENT_ID, requestHead, responseHead, stream, WAYPOINT_ID } from "./streams.ts";

/** What Envoy 1.40 was asked with the same expressions, as far as its answers do not depend on its own connection. */
const INFO = stream({
  request: requestHead({
    authority: "h.example",
    path: "/a/b?q=1#f",
    fields: [
      ["x-a", "1"],
      ["user-agent", "ua"],
      ["m", "x"],
      ["m", "y"],
      ["u", Buffer.from("héé", "utf8").toString("latin1")],
      ["x-request-id", "abc"],
    ],
  }),
  response: responseHead({ fields: [["server", "istio-envoy"]] }),
  responseTrailers: [["grpc-message", "m"]],
  bytesReceived: 0,
  bytesSent: 2,
  metadata: new Map([["a.filter", { s: "t", n: 1.5, deep: { list: [true, null] } }]]),
});

function compiled(text: string) {
  const result = compileExpression(text);
  if (!result.ok) throw new Error(result.error);
  return result.format;
}

/** As %CEL% prints it; `-`: an error. */
const printed: [expression: string, text: string][] = [
  ["request.headers['x-a']", "1"],
  ["request.headers['X-A']", "1"],
  ["request.headers[':path']", "/a/b?q=1#f"],
  ["request.headers[':method'] + request.headers[':scheme'] + request.headers[':authority']", "GEThttph.example"],
  ["request.headers['host']", "h.example"],
  ["request.headers['m']", "x,y"],
  ["request.headers['u']", "héé"],
  ["size(request.headers['u'])", "3"],
  ["request.headers['nope']", "-"],
  ["'x-a' in request.headers", "true"],
  ["'nope' in request.headers", "false"],
  ["request.headers.size()", "9"],
  ["request.path", "/a/b?q=1#f"],
  ["request['path']", "/a/b?q=1#f"],
  ["request.url_path", "/a/b"],
  ["request.query", "q=1"],
  ["request.size", "0"],
  ["request.total_size", "100"],
  ["request.duration", "12.9ms"],
  ["request.time", "2026-11-21T08:34:22.045678+00:00"],
  ["request.time.getFullYear()", "2026"],
  ["request.time > timestamp('2020-01-01T00:00:00Z')", "true"],
  ["request.duration < duration('1s')", "true"],
  ["request.referer", "-"],
  ["has(request.referer)", "false"],
  ["has(request.path)", "true"],
  ["has(request.headers.nope)", "false"],
  ["request.path['a']", "-"],
  ["request", "CelMap value"],
  ["request.headers", "CelMap value"],
  ["response.code", "200"],
  ["response.code >= 200", "true"],
  ["response.code == 200.0", "true"],
  ["response.code in [200, 404]", "true"],
  ["response.code + 1", "201"],
  ["response.flags", "0"],
  ["response.size", "2"],
  ["response.total_size", "82"],
  ["response.grpc_status", "2"],
  ["response.trailers['grpc-message']", "m"],
  ["response.trailers['x']", "-"],
  ["response.headers['Server']", "istio-envoy"],
  ["response.headers[':status']", "200"],
  ["response.backend_latency", "9ms"],
  ["connection.mtls && request.url_path.startsWith('/a')", "true"],
  ["connection.uri_san_peer_certificate", CLIENT_ID],
  ["connection.uri_san_local_certificate", WAYPOINT_ID],
  ["connection.requested_server_name", ""],
  ["connection.termination_details", "-"],
  ["source.port + destination.port", "4322"],
  ["upstream.port", "8080"],
  ["upstream.local_address", "-"],
  ["upstream.request_attempt_count > 1", "false"],
  ["xds.route_name", "default"],
  ["xds.node.id", "-"],
  ["metadata.filter_metadata['a.filter']['s']", "t"],
  ["metadata.filter_metadata['a.filter'].n", "1.5"],
  ["metadata.filter_metadata['a.filter'].deep.list[0]", "true"],
  ["metadata.filter_metadata['x']", "-"],
  ["filter_state['io.istio.peer_principal']", CLIENT_ID],
  // Objects of filter state are bytes.
  ["filter_state['io.istio.peer_principal'] == 'x' || filter_state['io.istio.peer_principal'] == b'x'", "false"],
  ["filter_state['k']", "-"],
  ["'k' in filter_state", "false"],
  ["foo", "-"],
  ["foo.bar", "-"],
  ["foo || true", "true"],
  ["foo && false", "false"],
  ["request.foo || response.code == 200", "true"],
  ["!request.foo", "-"],
  ["request.headers['nope'] != 'x'", "-"],
  ["response.code == 200 ? 'ok' : 'bad'", "ok"],
  ["1", "1"],
  ["1u", "1"],
  ["-7", "-7"],
  ["1.5", "1.5"],
  ["0.1", "0.1"],
  ["1e100", "1e+100"],
  ["0.00001", "1e-05"],
  ["12345678901.0", "1.23457e+10"],
  ["999999.5", "1e+06"],
  ["100000.0", "100000"],
  ["1.0/0.0", "inf"],
  ["-1.0/0.0", "-inf"],
  ["true", "true"],
  ["null", "NULL"],
  ["b'abc'", "abc"],
  ["[1,2]", "CelList value"],
  ["{'a':1}", "CelMap value"],
  ["type(1)", "CelType value"],
  ["type(1) == int", "true"],
  ["1 == 1.0", "true"],
  ["1 == '1'", "false"],
  ["1 < 'a'", "-"],
  ["5 / 0", "-"],
  ["9223372036854775807 + 1", "-"],
  ["int('5')", "5"],
  ["int('x')", "-"],
  ["duration('1.5s')", "1.5s"],
  ["duration('90m')", "1h30m"],
  ["duration('0s')", "0"],
  ["duration('1us')", "1us"],
  ["duration('222842ns')", "222.842us"],
  ["duration('-1500ms')", "-1.5s"],
  ["google.protobuf.Duration{seconds: 5}", "5s"],
  ["timestamp('2020-01-01T00:00:00.5Z')", "2020-01-01T00:00:00.5+00:00"],
  ["request.path.matches('^/a.*')", "true"],
  ["request.path.matches('b')", "true"],
  ["request.path.matches('^b')", "false"],
  ["request.path.matches(request.headers['nope'])", "-"],
  ["1 // a comment", "1"],
];

test.each(printed)("%s is %s", (expression, text) => {
  expect(compiled(expression).text(INFO) ?? "-").toBe(text);
});

/** As %TYPED_CEL% writes it in JSON. */
const typed: [expression: string, json: string][] = [
  ["response.code", "200"],
  ["response.code >= 400", "false"],
  ["1.5", "1.5"],
  ["1u", "1"],
  ["null", "null"],
  ["foo", "null"],
  ["type(1)", "null"],
  ["request.path", '"/a/b?q=1#f"'],
  ["b'abc'", '"YWJj"'],
  ["[1,'a',2.5]", '[1,"a",2.5]'],
  ["{'b':[true],'a':1}", '{"a":1,"b":[true]}'],
  ["{1:2}", '{"1":2}'],
  ["{'__proto__':1}", '{"__proto__":1}'],
  ["1.0/0.0", '"Infinity"'],
  ["9007199254740993", "9007199254740992"],
  ["duration('90m')", '"5400s"'],
  ["duration('1500ms')", '"1.500s"'],
  ["duration('-500ms')", '"-0.500s"'],
  ["request.duration", '"0.012900s"'],
  ["request.time", '"2026-11-21T08:34:22.045678Z"'],
  [
    "request.headers",
    '{":authority":"h.example",":method":"GET",":path":"/a/b?q=1#f",":scheme":"http","m":"x,y","u":"héé",' +
    '"user-agent":"ua","x-a":"1","x-request-id":"abc"}',
  ],
  ["metadata.filter_metadata", '{"a.filter":{"deep":{"list":[true,null]},"n":1.5,"s":"t"}}'],
];

test.each(typed)("%s in JSON is %s", (expression, json) => {
  const format = compileJsonFormat({ a: `%TYPED_CEL(${expression})%` });
  expect(format.ok && format.format(INFO)).toBe(`{"a":${json}}\n`);
});

describe("in format strings", () => {
  const text = (format: string, info: StreamInfo = INFO) => {
    const result = compileFormat(format);
    return result.ok ? result.format(info) : result.error;
  };
  const json = (format: string) => {
    const result = compileJsonFormat({ a: format });
    return result.ok ? result.format(INFO) : result.error;
  };

  test("%CEL% is text everywhere, with its length", () => {
    expect(text("%CEL(response.code)% %CEL(foo)% %CEL(request.path):4% 5%%")).toBe("200 - /a/b 5%");
    expect(json("%CEL(response.code)%")).toBe('{"a":"200"}\n');
    expect(json("%CEL(foo)%")).toBe('{"a":null}\n');
    expect(json("<%CEL(foo)%>")).toBe('{"a":"<->"}\n');
  });

  test("%TYPED_CEL% has its type only where it is the whole value", () => {
    expect(text("%TYPED_CEL(response.code)% %TYPED_CEL([1])%")).toBe("200 CelList value");
    expect(json("%TYPED_CEL(response.code)%ms")).toBe('{"a":"200ms"}\n');
    expect(json("%TYPED_CEL(request.path):2%")).toBe('{"a":"/a"}\n');
  });

  test("nothing from outside ends the line", () => {
    const info = stream({ request: requestHead({ path: "/a\n\x1b[1m" }) });
    expect(text("%CEL(request.path)%", info)).toBe("/a\\x0a\\x1b[1m");
  });
});

describe("refused", () => {
  for (
    const [expression, reason] of [
      ["response.code >=", "syntax error at character 15: found > but expecting end of input"],
      ["a b", "syntax error at character 3: found b but expecting end of input"],
      ["true ||\n  a b", "syntax error at 2:5: found b but expecting end of input"],
      ["'abc", "syntax error at character 1: found '"],
      ["[1,2", "syntax error at character 5: found end of input but expecting ',', ']', comment, or whitespace"],
      ["has(request.headers['x'])", "has() needs a field as in has(request.referer)"],
      ["nope(1)", "there is no function nope"],
      ["request.path.split('/')", "there is no function split"],
      ["x{}", "there is no message x"],
      [
        "[1].all(x, x > 0)",
        "macros that go through lists and maps (all, exists, map, filter) are not supported",
      ],
      ["request.path.matches('(')", 'matches("("): error parsing regexp: missing closing ): `(`'],
      ["99999999999999999999 > 1", "99999999999999999999 is no integer of 64 bits"],
    ] as const
  ) {
    test(expression, () => {
      expect(compileExpression(expression)).toEqual({
        ok: false,
        error: `CEL expression "${expression}": ${reason}`,
      });
    });
  }

  test("what is too long", () => {
    expect(compileExpression(`'${"x".repeat(5000)}'`)).toMatchObject({ ok: false });
  });
});

test("names that are no attribute, and those that only Envoy has", () => {
  const { absent, unknown } = compiled(
    "foo.a == requst.path || request.pth == 'x' || request['hots'] == xds.node.id || connection.id > 1 " +
      "|| has(upstream.locality.zone) || filter_state.upstream_peer.name == request.headers['any'] " +
      "|| filter_state['any'] == upstream_peer.labels['app'].value || type(1) == int",
  );
  expect([...absent].sort()).toEqual([
    "connection.id",
    "filter_state.upstream_peer",
    "upstream.locality",
    "upstream_peer",
    "xds.node",
  ]);
  expect([...unknown].sort()).toEqual(["foo", "request.hots", "request.pth", "requst"]);
});

test("a filter takes nothing but true", () => {
  expect(compiled("response.code >= 200").test(INFO)).toBe(true);
  for (const expression of ["response.code >= 400", "response.code", "'true'", "foo", "1"]) {
    expect(compiled(expression).test(INFO)).toBe(false);
  }
});

test("a TCP connection has no request; nothing of it is kept", () => {
  const info = stream({ request: undefined, response: undefined, responseCode: 0, bytesReceived: 7 });
  const text = (expression: string) => compiled(expression).text(info);
  expect(text("request.path")).toBeUndefined();
  expect(text("response.code")).toBeUndefined();
  expect(text("request.size")).toBe("7");
  expect(text("size(request.headers)")).toBe("0");
  expect(text("'x' in request.headers")).toBe("false");
  expect(text("destination.port == 80")).toBe("true");
});

test("one object for an expression that is in use", () => {
  expect(compiled("request.path + 'one'")).toBe(compiled("request.path + 'one'"));
});

test("what is read without CEL is what CEL gives", () => {
  const streams = [
    INFO,
    stream({ request: undefined, response: undefined, responseCode: 0 }, { peerPrincipal: undefined }),
    stream({ request: requestHead({ fields: [["content-length", "99"]] }), endedAt: 0, responseReceivedAt: 0 }),
    stream({ request: requestHead({ fields: [["content-length", "x"]] }), upstreamAddress: "", attempts: 0 }),
  ];
  const info = stream({ responseCode: 503, upstreamFailure: "refused", connectionTerminationDetails: "d" });
  info.flag("UF");
  info.flag("URX");
  streams.push(info);
  const names = Object.entries(ATTRIBUTES).flatMap(([root, members]) =>
    Object.keys(members).map((member) => `${root}.${member}`)
  );
  for (const name of [...names, "'x'", '"y"', "request.headers['M']", "response.headers['server']"]) {
    const direct = compileDimension(name);
    const cel = compiled(name);
    expect(cel.absent).toEqual([]);
    expect(cel.unknown).toEqual([]);
    for (const each of streams) {
      const value = direct.ok ? direct.format(each) : direct.error;
      expect(`${name}: ${value}`).toBe(`${name}: ${cel.text(each)}`);
    }
  }
  expect(compiled("response.flags").text(info)).toBe(String(0x20 + 0x8000));
});

/** Park and Miller. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => (state = state * 48271 % 2147483647) % below;
}

test("any text is compiled or refused, and whatever is compiled is evaluated", () => {
  const random = generator(20261121);
  const words = [
    ..."request response connection metadata filter_state xds foo".split(" "),
    ..."headers path code filter_metadata time duration constructor __proto__".split(" "),
    ..."'a' \"b\" 1 2u 1.5 true null b'x' [ ] { } ( ) . , : ? ! - + * / % < <= == != && || in".split(" "),
    ..."size( has( matches( startsWith( int( string( duration( type( 'x-a'".split(" "),
  ];
  let accepted = 0;
  for (let i = 0; i < 4000; i++) {
    const length = 1 + random(9);
    let text = "";
    for (let j = 0; j < length; j++) text += words[random(words.length)] + (random(3) === 0 ? " " : "");
    const result = compileExpression(text);
    if (!result.ok) continue;
    accepted++;
    expect([true, false]).toContain(result.format.test(INFO));
    expect(["string", "undefined"]).toContain(typeof result.format.text(INFO));
    expect(JSON.stringify(result.format.json(INFO))).toBeString();
  }
  expect(accepted).toBeGreaterThan(200);
});

test("the library is not loaded before there is an expression that needs it", async () => {
  const door = fileURLToPath(new URL("../../../src/waypoint/telemetry/mod.ts", import.meta.url));
  const script = `
    import { compileAccessLogs, compileDimension } from ${JSON.stringify(door)};
    const loaded = () => Object.keys(require.cache).filter((path) => path.includes("@bufbuild/cel/")).length > 0;
    const log = (expression) => compileAccessLogs(
      [{ path: "/x", format: undefined, filter: { kind: "cel", expression } }], () => ({ write() {}, flush() {} })).ok;
    const states = [];
    compileDimension("request.host"); compileDimension("'x'"); compileDimension("request.headers['a']");
    log("response.code >= 400"); states.push(loaded());
    log("response.code >= 400 && true"); states.push(loaded());
    console.log(JSON.stringify(states));`;
  const child = Bun.spawn([process.execPath, "-e", script], { cwd: join(dirname(door), "../../.."), stdout: "pipe" });
  expect(JSON.parse(await new Response(child.stdout).text())).toEqual([false, true]);
});
