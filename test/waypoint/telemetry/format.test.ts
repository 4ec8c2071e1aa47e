import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { hostname } from "node:os";
import process from "node:process";
import type { StreamInfo } from "../../../src/waypoint/stream_info.ts";
import { compileFormat, compileHeaderFormat, compileJsonFormat } from "../../../src/waypoint/telemetry/mod.ts";
import { CLIENT_ID, requestHead, responseHead, stream, WAYPOINT_ID } from "./streams.ts";

function text(format: string, info: StreamInfo = stream()): string {
  const compiled = compileFormat(format);
  if (!compiled.ok) throw new Error(compiled.error);
  return compiled.format(info);
}

function typed(format: string, info: StreamInfo = stream()): unknown {
  const compiled = compileJsonFormat({ value: format });
  if (!compiled.ok) throw new Error(compiled.error);
  const line = compiled.format(info);
  if (!line.endsWith("\n")) throw new Error("the line has no end");
  return JSON.parse(line).value;
}

const GRPC = requestHead({ protocol: "HTTP/2", fields: [["content-type", "application/grpc+proto"]] });
const TCP: Partial<StreamInfo> = { request: undefined, response: undefined, responseCode: 0, responseCodeDetails: "" };
const METADATA: StreamInfo["metadata"] = new Map([
  ["envoy.filters.http.rbac", { verdict: "allowed", deep: { list: [1, "b"], n: 3, yes: true }, evil: "a\nb" }],
]);

/** Format, value in typed JSON, and text where that is not the value as text. */
const OPERATORS:
  readonly (readonly [format: string, value: unknown, line?: string | undefined, changes?: Partial<StreamInfo>])[] = [
    ["%START_TIME%", "2026-11-21T08:34:22.045Z"],
    ["%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "2026/11/21T08:34:22+0000 1795250062"],
    ["%START_TIME(%s.%3f)%", "1795250062.045"],
    ["%START_TIME(%6f %9f %f %1f)%", "045678 045678000 045678000 0"],
    ["%START_TIME(%E3S %E*S %E0S)%", "22.045 22.045678000 22"],
    ["%START_TIME(%a %A %b %B %e %j %y %C %p %I %l %u %w)%", "Sat Saturday Nov November 21 325 26 20 AM 08  8 6 6"],
    ["%START_TIME(%D %F %T %R %r)%", "11/21/26 2026-11-21 08:34:22 08:34 08:34:22 AM"],
    ["%START_TIME(%c|%G-W%V|%U|%W|%Z|%Ez|100%%)%", "Sat Nov 21 08:34:22 2026|2026-W47|46|46|UTC|+00:00|100%"],
    ["%REQ(:METHOD)%", "GET"],
    ["%REQ(:PATH)%", "/accounts?limit=3"],
    ["%REQ(:AUTHORITY)%", "ledger.bank"],
    ["%REQ(Host)%", "ledger.bank"],
    ["%REQ(:SCHEME)%", "http"],
    ["%REQ(User-Agent):4%", "curl"],
    ["%REQ(USER-AGENT):400%", "curl/8"],
    ["%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/accounts?limit=3"],
    ["%REQ(x-none?x-request-id):2%", "id"],
    ["%REQ(x-none)%", null, "-"],
    ["%REQ(:METHOD)%", null, "-", TCP],
    ["%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/accounts"],
    ["%REQ_WITHOUT_QUERY(:PATH):4%", "/acc"],
    ["%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "7"],
    ["%RESP(:STATUS)%", "200"],
    ["%RESP(x-none)%", null, "-"],
    ["%TRAILER(Grpc-Status)%", "0", "0", { responseTrailers: [["grpc-status", "0"]] }],
    ["%TRAILER(grpc-status)%", null, "-"],
    ["%PROTOCOL%", "HTTP/1.1"],
    ["%PROTOCOL%", null, "-", TCP],
    ["%RESPONSE_CODE%", 200],
    ["%RESPONSE_CODE%", 0, "0", TCP],
    ["%RESPONSE_CODE_DETAILS%", "via_upstream"],
    ["%RESPONSE_CODE_DETAILS%", null, "-", TCP],
    ["%RESPONSE_CODE_DETAILS%", "a_b", "a_b", { responseCodeDetails: "a b" }],
    ["%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "a b", "a b", { responseCodeDetails: "a b" }],
    ["%RESPONSE_FLAGS%", "-"],
    ["%RESPONSE_FLAGS%", "UF,URX", "UF,URX", { flags: ["UF", "URX"] }],
    ["%RESPONSE_FLAGS_LONG%", "-"],
    ["%RESPONSE_FLAGS_LONG%", "UpstreamConnectionFailure,UpstreamRetryLimitExceeded", undefined, {
      flags: ["UF", "URX"],
    }],
    ["%CONNECTION_TERMINATION_DETAILS%", null, "-"],
    ["%CONNECTION_TERMINATION_DETAILS%", "rbac_denied", undefined, { connectionTerminationDetails: "rbac_denied" }],
    ["%UPSTREAM_TRANSPORT_FAILURE_REASON%", "TLS_error:_no\u2026", undefined, {
      upstreamFailure: "TLS error: no\u2026",
    }],
    ["%UPSTREAM_TRANSPORT_FAILURE_REASON%", null, "-"],
    ["%DOWNSTREAM_TRANSPORT_FAILURE_REASON%", null, "-"],
    ["%BYTES_RECEIVED%", 11],
    ["%BYTES_SENT%", 22],
    ["%DURATION%", 12],
    ["%REQUEST_DURATION%", 1],
    ["%REQUEST_DURATION%", null, "-", { requestReceivedAt: 0 }],
    ["%RESPONSE_DURATION%", 9],
    ["%RESPONSE_DURATION%", null, "-", { responseFirstByteAt: 0 }],
    ["%RESPONSE_TX_DURATION%", 3],
    ["%UPSTREAM_HOST%", "envoy://connect_originate/10.0.0.2:8080"],
    ["%UPSTREAM_HOST%", "10.0.0.2:8080", undefined, { endpoint: { ...stream().endpoint!, kind: "tcp" } }],
    ["%UPSTREAM_HOST%", null, "-", { endpoint: undefined, upstreamAddress: "" }],
    ["%UPSTREAM_CLUSTER%", "inbound-vip|80|http|ledger.bank.svc.cluster.local"],
    ["%UPSTREAM_CLUSTER_RAW%", "inbound-vip|80|http|ledger.bank.svc.cluster.local"],
    ["%UPSTREAM_CLUSTER_RAW%", null, "-", { clusterName: "" }],
    ["%UPSTREAM_REQUEST_ATTEMPT_COUNT%", 1],
    ["%UPSTREAM_REMOTE_ADDRESS%", "10.0.0.2:8080"],
    ["%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.2"],
    ["%UPSTREAM_REMOTE_PORT%", 8080],
    ["%UPSTREAM_REMOTE_PORT%", null, "-", { endpoint: undefined, upstreamAddress: "" }],
    ["%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "[fd00::2]", undefined, { upstreamAddress: "[fd00::2]:8080" }],
    ["%UPSTREAM_LOCAL_ADDRESS%", null, "-"],
    ["%UPSTREAM_LOCAL_ADDRESS%", "10.0.0.9:5", undefined, { upstreamLocalAddress: "10.0.0.9:5" }],
    ["%UPSTREAM_LOCAL_PORT%", 5, undefined, { upstreamLocalAddress: "10.0.0.9:5" }],
    ["%DOWNSTREAM_LOCAL_ADDRESS%", "10.96.0.12:80"],
    ["%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "10.96.0.12"],
    ["%DOWNSTREAM_LOCAL_PORT%", 80],
    ["%DOWNSTREAM_REMOTE_ADDRESS%", "10.0.0.1:4242"],
    ["%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1"],
    ["%DOWNSTREAM_REMOTE_PORT%", 4242],
    ["%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.1:4242"],
    ["%DOWNSTREAM_PEER_URI_SAN%", CLIENT_ID],
    ["%DOWNSTREAM_LOCAL_URI_SAN%", WAYPOINT_ID],
    ["%REQUESTED_SERVER_NAME%", null, "-"],
    ["%ROUTE_NAME%", "default"],
    ["%ROUTE_NAME%", null, "-", { routeName: "" }],
    ["%VIRTUAL_CLUSTER_NAME%", null, "-"],
    ["%TRACE_ID%", null, "-"],
    ["%TRACE_ID%", "0af7651916cd43dd8448eb211c80319c", undefined, {
      request: requestHead({ fields: [["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]] }),
    }],
    ["%GRPC_STATUS%", null, "-"],
    ["%GRPC_STATUS%", "PermissionDenied", undefined, { request: GRPC, responseTrailers: [["grpc-status", "7"]] }],
    ["%GRPC_STATUS(SNAKE_STRING)%", "PERMISSION_DENIED", undefined, {
      request: GRPC,
      response: responseHead({ fields: [["grpc-status", "7"]] }),
    }],
    ["%GRPC_STATUS(NUMBER)%", 7, undefined, { request: GRPC, responseTrailers: [["grpc-status", "7"]] }],
    ["%GRPC_STATUS_NUMBER%", 14, undefined, { request: GRPC, response: undefined, responseCode: 503 }],
    ["%GRPC_STATUS%", "42", undefined, { request: GRPC, responseTrailers: [["grpc-status", "42"]] }],
    ["%GRPC_STATUS%", null, "-", { request: GRPC, response: undefined, responseCode: 0 }],
    ["%HOSTNAME%", hostname()],
    ["%ENVIRONMENT(AMBIENT_TEST_VALUE)%", "from outside"],
    ["%ENVIRONMENT(AMBIENT_TEST_VALUE):4%", "from"],
    ["%ENVIRONMENT(AMBIENT_TEST_NONE)%", "-"],
    ["%PROTOCOL()%", "HTTP/1.1"],
    ["%FILTER_STATE(io.istio.peer_principal:PLAIN)%", CLIENT_ID],
    ["%FILTER_STATE(io.istio.peer_principal:PLAIN):6%", "spiffe"],
    ["%FILTER_STATE(io.istio.local_principal)%", WAYPOINT_ID],
    ["%FILTER_STATE(io.istio.connect_authority:TYPED)%", "10.96.0.12:80"],
    ["%FILTER_STATE(envoy.filters.listener.original_dst.local_ip:PLAIN)%", "10.96.0.12:80"],
    ["%FILTER_STATE(envoy.filters.listener.original_dst.remote_ip:PLAIN)%", "10.0.0.1:4242"],
    ["%FILTER_STATE(io.istio.source:PLAIN)%", null, "-"],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:verdict)%", "allowed", undefined, { metadata: METADATA }],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:verdict):3%", "all", undefined, { metadata: METADATA }],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:deep:n)%", 3, undefined, { metadata: METADATA }],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:deep:yes)%", true, undefined, { metadata: METADATA }],
    [
      "%DYNAMIC_METADATA(envoy.filters.http.rbac:deep)%",
      { list: [1, "b"], n: 3, yes: true },
      '{"list":[1,"b"],"n":3,"yes":true}',
      { metadata: METADATA },
    ],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:evil)%", "a\nb", "a\\x0ab", { metadata: METADATA }],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:verdict:more)%", null, "-", { metadata: METADATA }],
    ["%DYNAMIC_METADATA(envoy.filters.http.rbac:toString)%", null, "-", { metadata: METADATA }],
    ["%DYNAMIC_METADATA(other)%", null, "-"],
    ['%COALESCE({"operators":["REQUESTED_SERVER_NAME",{"command":"REQ","param":":authority"}]})%', "ledger.bank"],
    ['%COALESCE({"operators":[{"command":"REQ","param":":authority","max_length":3}]})%', "led"],
    ['%COALESCE({"operators":["ROUTE_NAME"]}):3%', "def"],
    ['%COALESCE({"operators":["REQUESTED_SERVER_NAME","BYTES_SENT"]})%', 22],
    ['%COALESCE({"operators":["REQUESTED_SERVER_NAME"]})%', null, "-"],
  ];

process.env["AMBIENT_TEST_VALUE"] = "from outside";

describe("operators", () => {
  for (const [format, value, line = String(value), changes] of OPERATORS) {
    test(`${format} is ${line}`, () => {
      const info = stream(changes);
      expect(text(format, info)).toBe(line);
      expect(typed(format, info)).toEqual(value);
    });
  }

  test("a stream that still runs has lasted until now", () => {
    const info = stream({ endedAt: 0 });
    expect(typed("%DURATION%", info)).toBeGreaterThanOrEqual(0);
  });
});

describe("format strings", () => {
  test("text around operators, and percent signs", () => {
    expect(text("[%%] 100%%: %REQ(:METHOD)%%RESPONSE_CODE%\n")).toBe("[%] 100%: GET200\n");
    expect(text("")).toBe("");
    expect(text("no operator")).toBe("no operator");
  });

  test("in JSON a lone operator keeps its type, mixed text is text, objects nest, keys are sorted", () => {
    const compiled = compileJsonFormat({
      z: "%RESPONSE_CODE%",
      mixed: "%RESPONSE_CODE% %REQ(x-none)%",
      'ke"y': "literal 100%%",
      empty: "",
      deep: { a: "%REQ(x-none)%", none: {} },
    });
    if (!compiled.ok) throw new Error(compiled.error);
    expect(compiled.format(stream())).toBe(
      '{"deep":{"a":null,"none":{}},"empty":"","ke\\"y":"literal 100%","mixed":"200 -","z":200}\n',
    );
  });

  test("octets of headers are UTF-8 in logs; what is not becomes U+FFFD; nothing ends the line", () => {
    const octets = Buffer.from("zażółć", "utf8").toString("latin1");
    const fields: [string, string][] = [["a", octets], ["b", "\xff!"], ["c", "tab\there\u001b[2J"]];
    const info = stream({ request: requestHead({ fields }) });
    expect(text("%REQ(a)% %REQ(b)%", info)).toBe("zażółć \ufffd!");
    expect(typed("%REQ(a)%", info)).toBe("zażółć");
    expect(text("%REQ(c)%", info)).toBe("tab\there\\x1b[2J");
    expect(typed('%COALESCE({"operators":["REQUESTED_SERVER_NAME",{"command":"REQ","param":"a"}]})%', info)).toBe(
      "zażółć",
    );
  });
});

describe("header values", () => {
  const header = (format: string, info = stream()) => {
    const compiled = compileHeaderFormat(format);
    if (!compiled.ok) throw new Error(compiled.error);
    return compiled.format(info);
  };

  test("what is absent is nothing, so that a lone absent operator adds no header", () => {
    expect(header("%REQ(x-none)%")).toBe("");
    expect(header("a=%REQ(x-none)%;b=%RESPONSE_CODE%")).toBe("a=;b=200");
    expect(header("")).toBe("");
    expect(header("100%%")).toBe("100%");
  });

  test("octets pass through as they came; text becomes its UTF-8 octets", () => {
    const octets = Buffer.from("zażółć", "utf8").toString("latin1");
    const info = stream({ request: requestHead({ fields: [["a", octets]] }), routeName: "ż" });
    expect(header("%REQ(a)%", info)).toBe(octets);
    expect(header("ż %ROUTE_NAME%", info)).toBe("\xc5\xbc \xc5\xbc");
    expect(header("ż", info)).toBe("\xc5\xbc");
  });
});

describe("refused, with operator and place", () => {
  for (
    const [format, error] of [
      ["50% off", '"%" at character 3 begins no operator; a percent sign is "%%"'],
      ["x %", '"%" at character 3 begins no operator; a percent sign is "%%"'],
      ["%req(a)%", '"%" at character 1 begins no operator; a percent sign is "%%"'],
      ["%REQ(a", '%REQ( at character 1 has no ")" with "%" or ":length%" behind it'],
      ["%REQ(a)", '%REQ( at character 1 has no ")" with "%" or ":length%" behind it'],
      ["%PROTOCOL and", '%PROTOCOL at character 1 does not end with "%"'],
      ["ok %NO_SUCH_THING%", "%NO_SUCH_THING% at character 4: unknown operator"],
      ["%REQ%", "%REQ% at character 1: it needs an argument"],
      ["%REQ()%", "%REQ()% at character 1: it needs an argument"],
      ["%REQ(a?b?c)%", '%REQ(a?b?c)% at character 1: more than one alternative in "a?b?c"'],
      ["%REQ(a b)%", '%REQ(a b)% at character 1: "a b" is no header name'],
      ["%PROTOCOL(x)%", "%PROTOCOL(x)% at character 1: it takes no argument"],
      ["%PROTOCOL:3%", "%PROTOCOL% at character 1: it takes no length"],
      ["%START_TIME(%Q)%", '%START_TIME(%Q)% at character 1: time format "%Q": unknown conversion %Q'],
      ["%START_TIME(%n)%", '%START_TIME(%n)% at character 1: time format "%n": unknown conversion %n'],
      ["%START_TIME(a%)%", '%START_TIME(a%)% at character 1: time format "a%": unknown conversion %'],
      ["%GRPC_STATUS(X)%", '%GRPC_STATUS(X)% at character 1: "X" is none of CAMEL_STRING, SNAKE_STRING, NUMBER'],
      ["%RESPONSE_CODE_DETAILS(X)%", '%RESPONSE_CODE_DETAILS(X)% at character 1: "X" is not ALLOW_WHITESPACES'],
      ["%FILTER_STATE(a:b)%", '%FILTER_STATE(a:b)% at character 1: "a:b" does not end with :PLAIN or :TYPED'],
      [
        "%FILTER_STATE(downstream_peer)%",
        '%FILTER_STATE(downstream_peer)% at character 1: filter state "downstream_peer" is not supported',
      ],
      ["%DYNAMIC_METADATA(:a)%", "%DYNAMIC_METADATA(:a)% at character 1: the namespace is missing"],
      [
        "%CEL(request host)%",
        '%CEL(request host)% at character 1: CEL expression "request host": ' +
        "syntax error at character 9: found h but expecting end of input",
      ],
      ["%CEL()%", "%CEL()% at character 1: it needs an argument"],
      ["%TYPED_CEL%", "%TYPED_CEL% at character 1: it needs an argument"],
      ["%COALESCE(x)%", "%COALESCE(x)% at character 1: the argument is no JSON"],
      ["%COALESCE({})%", '%COALESCE({})% at character 1: "operators" is no list with entries'],
      ['%COALESCE({"operators":[1]})%', '%COALESCE({"operators":[1]})% at character 1: operators[0] has no "command"'],
      [
        '%COALESCE({"operators":["X"]})%',
        '%COALESCE({"operators":["X"]})% at character 1: %X% at character 1: unknown operator',
      ],
    ] as const
  ) {
    test(format, () => {
      for (const compile of [compileFormat, compileHeaderFormat]) {
        expect(compile(format)).toEqual({ ok: false, error });
      }
      expect(compileJsonFormat({ a: { b: format } })).toEqual({ ok: false, error: `a: b: ${error}` });
    });
  }
});

/** Park and Miller. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = state * 48271 % 2147483647) / 2147483647;
}

test("whatever is written compiles or is refused with its place, and never throws", () => {
  const next = random(7);
  const pieces = [
    "%",
    "%%",
    "REQ",
    "(",
    ")",
    ":",
    "3",
    "a",
    "?",
    "START_TIME",
    "%Y",
    " ",
    "COALESCE",
    "{",
    '"',
    "BYTES_SENT",
  ];
  let accepted = 0;
  for (let n = 0; n < 20_000; n++) {
    let format = "";
    for (let length = 1 + Math.floor(next() * 7); length > 0; length--) {
      format += pieces[Math.floor(next() * pieces.length)];
    }
    const compiled = compileFormat(format);
    if (!compiled.ok) expect(compiled.error).toMatch(/at character \d+/);
    else {
      accepted++;
      expect(compiled.format(stream())).toBeString();
    }
  }
  expect(accepted).toBeGreaterThan(1000);
});
