import { describe, expect, test } from "bun:test";
import { decodeMessage, judgeHeaders, judgeTrailers, resetError } from "../../src/grpc/response.ts";
import { requestHeaders } from "../../src/grpc/request.ts";
import { statusName } from "../../src/grpc/status.ts";
import { ErrorCode, type HeaderList } from "../../src/http2/mod.ts";

const GRPC: HeaderList = [[":status", "200"], ["content-type", "application/grpc"]];

type Told = "goes on" | "nothing yet" | "ok" | [kind: string, code: number, message: string];

describe("the headers of a response", () => {
  test.each<[string, HeaderList, boolean, Told]>([
    ["of a response", GRPC, false, "goes on"],
    ["with +proto", [[":status", "200"], ["content-type", "application/grpc+proto"]], false, "goes on"],
    ["with a parameter", [[":status", "200"], ["content-type", "application/grpc; v=1"]], false, "goes on"],
    ["1xx", [[":status", "103"]], false, "nothing yet"],
    ["trailers-only, OK", [...GRPC, ["grpc-status", "0"]], true, "ok"],
    [
      "trailers-only",
      [...GRPC, ["grpc-status", "16"], ["grpc-message", "bad%20token"]],
      true,
      ["status", 16, "UNAUTHENTICATED: bad token"],
    ],
    ["trailers-only, no message", [...GRPC, ["grpc-status", "5"]], true, ["status", 5, "NOT_FOUND"]],
    ["a status early", [...GRPC, ["grpc-status", "5"]], false, "goes on"],
    ["the end, no status", GRPC, true, ["protocol", 2, "the answer ended without a grpc-status"]],
    [
      "a status that is none",
      [...GRPC, ["grpc-status", "x\n1"]],
      true,
      ["protocol", 2, 'grpc-status is no number: "x 1"'],
    ],
    ["a status of its own", [...GRPC, ["grpc-status", "77"]], true, ["status", 77, "STATUS_77"]],
    [
      "a page",
      [[":status", "200"], ["content-type", "text/html"]],
      false,
      ["protocol", 2, "the answer is not gRPC (content-type text/html)"],
    ],
    ["no type", [[":status", "200"]], false, ["protocol", 2, "the answer is not gRPC (no content-type)"]],
    [
      "gRPC-Web",
      [[":status", "200"], ["content-type", "application/grpc-web"]],
      false,
      ["protocol", 2, "the answer is not gRPC (content-type application/grpc-web)"],
    ],
    [
      "HTTP status and grpc-status",
      [[":status", "503"], ["grpc-status", "8"], ["grpc-message", "full"]],
      false,
      ["status", 8, "RESOURCE_EXHAUSTED: full"],
    ],
    ...[[400, 13], [401, 16], [403, 7], [404, 12], [429, 14], [502, 14], [503, 14], [504, 14], [500, 2], [301, 2]]
      .map(([http, code]): [string, HeaderList, boolean, Told] => [
        `HTTP ${http}`,
        [[":status", String(http)], ["content-type", "text/plain"]],
        false,
        [
          "status",
          code!,
          `${statusName(code!)}: HTTP status ${http} instead of a gRPC answer (content-type text/plain)`,
        ],
      ]),
  ])("%s", (_name, headers, endStream, told) => {
    const verdict = judgeHeaders(headers, endStream);
    if (told === "goes on") expect(verdict.kind).toBe("goes-on");
    else if (told === "nothing yet") expect(verdict.kind).toBe("informational");
    else if (told === "ok") expect(verdict).toEqual({ kind: "ended", error: undefined });
    else {
      expect(verdict.kind === "ended" && [verdict.error?.kind, verdict.error?.code, verdict.error?.message])
        .toEqual(told);
    }
  });

  test("name the compression", () => {
    expect(judgeHeaders([...GRPC, ["grpc-encoding", "gzip"]], false)).toEqual({ kind: "goes-on", encoding: "gzip" });
  });
});

test("trailers", () => {
  expect(judgeTrailers([["grpc-status", "0"]])).toBeUndefined();
  expect(judgeTrailers([["grpc-status", "0"], ["grpc-message", "ignored"]])).toBeUndefined();
  expect(judgeTrailers([["x", "y"]])).toMatchObject({ kind: "protocol", code: 2 });
  expect(judgeTrailers([["grpc-status", "14"], ["grpc-message", "transport is closing"]]))
    .toMatchObject({ kind: "status", code: 14, message: "UNAVAILABLE: transport is closing" });
  expect(judgeTrailers([["grpc-status", "00"]])).toMatchObject({ kind: "protocol", code: 2 });
  expect(judgeTrailers([["grpc-status", "-1"]])).toMatchObject({ kind: "protocol", code: 2 });
});

test.each([
  ["plain", "plain"],
  ["a%20b", "a b"],
  ["%C3%A9t%c3%a9", "été"],
  ["100%", "100%"],
  ["%4", "%4"],
  ["%zz%41", "%zzA"],
  ["%%41", "%A"],
  ["line%0Abreak%0D%00", "line break  "],
  ["esc\x1b[31m", "esc [31m"],
  ["%ff", "\ufffd"],
  ["", ""],
])("grpc-message %p is %p", (value, text) => {
  expect(decodeMessage(value)).toBe(text);
});

test.each([
  [ErrorCode.NO_ERROR, 13],
  [ErrorCode.INTERNAL_ERROR, 13],
  [ErrorCode.REFUSED_STREAM, 14],
  [ErrorCode.CANCEL, 1],
  [ErrorCode.ENHANCE_YOUR_CALM, 8],
  [ErrorCode.INADEQUATE_SECURITY, 7],
])("RST_STREAM(%d) is status %d", (code, status) => {
  expect(resetError(code, true)).toMatchObject({ kind: "protocol", code: status });
});

describe("the headers of a request", () => {
  test("are the original's, then the metadata", () => {
    expect(requestHeaders("istiod.istio-system.svc:15012", "/a.B/C", [["authorization", "Bearer t"]])).toEqual([
      [":method", "POST"],
      [":scheme", "https"],
      [":authority", "istiod.istio-system.svc:15012"],
      [":path", "/a.B/C"],
      ["te", "trailers"],
      ["content-type", "application/grpc"],
      ["authorization", "Bearer t"],
    ]);
  });

  test.each<[string, string]>([
    ["Upper", "x"],
    [":path", "/"],
    ["te", "x"],
    ["grpc-timeout", "1S"],
    ["content-type", "x"],
    ["", "x"],
    ["a b", "x"],
  ])("metadata cannot be named %p", (name, value) => {
    expect(() => requestHeaders("a", "/", [[name, value]])).toThrow("is no name for metadata");
  });

  test.each(["Bearer secret\n", "secret\r\nx: y", " secret", "secret\u20ac", "sec\0ret"])(
    "a value cannot be %p",
    (value) => {
      expect(() => requestHeaders("a", "/", [["authorization", value]])).toThrow(
        "the value of authorization has characters that a header may not have there",
      );
    },
  );
});
