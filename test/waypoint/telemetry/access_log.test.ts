import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogSink } from "../../../src/telemetry/mod.ts";
import type { AccessLog, AccessLogFilter } from "../../../src/waypoint/snapshot/mod.ts";
import type { StreamInfo } from "../../../src/waypoint/stream_info.ts";
import { compileAccessLogs, ISTIO_JSON_FORMAT, systemOutputs } from "../../../src/waypoint/telemetry/mod.ts";
import { CLIENT_ID, requestHead, responseHead, stream } from "./streams.ts";

class Kept implements LogSink {
  readonly calls: [text: string, lines: number][] = [];
  write(text: string, lines: number): void {
    this.calls.push([text, lines]);
  }
  flush(): void {}
}

function logged(logs: readonly AccessLog[], ...streams: StreamInfo[]): Record<string, string[]> {
  const sinks: Record<string, Kept> = {};
  const compiled = compileAccessLogs(logs, (path) => sinks[path] ??= new Kept());
  if (!compiled.ok) throw new Error(compiled.error);
  for (const info of streams) compiled.format(info);
  return Object.fromEntries(
    Object.entries(sinks).map(([path, sink]) => {
      expect(sink.calls.every(([, lines]) => lines === 1)).toBe(true);
      return [path, sink.calls.map(([text]) => text)];
    }),
  );
}

const STDOUT = { path: "/dev/stdout", format: undefined, filter: undefined };

describe("Istio's text", () => {
  test("a request that went well", () => {
    expect(logged([STDOUT], stream())).toEqual({
      "/dev/stdout": [
        '[2026-11-21T08:34:22.045Z] "GET /accounts?limit=3 HTTP/1.1" 200 - via_upstream - "-" 11 22 12 7 "10.0.0.1" ' +
        '"curl/8" "id-1" "ledger.bank" "envoy://connect_originate/10.0.0.2:8080" ' +
        "inbound-vip|80|http|ledger.bank.svc.cluster.local - 10.96.0.12:80 10.0.0.1:4242 - default\n",
      ],
    });
  });

  test("a rewritten path is shown as it came", () => {
    const request = requestHead({ path: "/new", fields: [["x-envoy-original-path", "/old?x"]] });
    expect(logged([STDOUT], stream({ request }))["/dev/stdout"]?.[0]).toContain('"GET /old?x HTTP/1.1"');
  });

  test("denied before an endpoint was chosen", () => {
    const info = stream({
      responseCode: 403,
      response: responseHead({ status: 403, fields: [] }),
      responseCodeDetails: "rbac_access_denied_matched_policy[none]",
      endpoint: undefined,
      upstreamAddress: "",
      bytesSent: 19,
    });
    expect(logged([STDOUT], info)["/dev/stdout"]).toEqual([
      '[2026-11-21T08:34:22.045Z] "GET /accounts?limit=3 HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - ' +
      '"-" 11 19 12 - "10.0.0.1" "curl/8" "id-1" "ledger.bank" "-" ' +
      "inbound-vip|80|http|ledger.bank.svc.cluster.local - 10.96.0.12:80 10.0.0.1:4242 - default\n",
    ]);
  });

  test("a TCP connection", () => {
    const info = stream({
      request: undefined,
      response: undefined,
      responseCode: 0,
      responseCodeDetails: "",
      routeName: "",
    });
    info.flag("UF");
    info.upstreamFailure = "connection refused";
    expect(logged([STDOUT], info)["/dev/stdout"]).toEqual([
      '[2026-11-21T08:34:22.045Z] "- - -" 0 UF - - "connection_refused" 11 22 12 - "-" "-" "-" "-" ' +
      '"envoy://connect_originate/10.0.0.2:8080" inbound-vip|80|http|ledger.bank.svc.cluster.local - ' +
      "10.96.0.12:80 10.0.0.1:4242 - -\n",
    ]);
  });
});

test("Istio's JSON: its keys, numbers as numbers, null for what is missing", () => {
  const [line = ""] =
    logged([{ ...STDOUT, format: { kind: "json", fields: ISTIO_JSON_FORMAT } }], stream())["/dev/stdout"] ??
      [];
  expect(line).toBe(
    '{"authority":"ledger.bank","bytes_received":11,"bytes_sent":22,"connection_termination_details":null,' +
      '"downstream_local_address":"10.96.0.12:80","downstream_remote_address":"10.0.0.1:4242","duration":12,' +
      '"method":"GET","path":"/accounts?limit=3","protocol":"HTTP/1.1","request_id":"id-1",' +
      '"requested_server_name":null,"response_code":200,"response_code_details":"via_upstream","response_flags":"-",' +
      '"route_name":"default","start_time":"2026-11-21T08:34:22.045Z",' +
      '"upstream_cluster":"inbound-vip|80|http|ledger.bank.svc.cluster.local",' +
      '"upstream_host":"envoy://connect_originate/10.0.0.2:8080","upstream_local_address":null,' +
      '"upstream_service_time":"7","upstream_transport_failure_reason":null,"user_agent":"curl/8",' +
      '"x_forwarded_for":"10.0.0.1"}\n',
  );
});

test("several logs of one chain, each with its own format, filter and output", () => {
  const logs: AccessLog[] = [
    { path: "/a", format: { kind: "text", text: "%RESPONSE_CODE%\n" }, filter: undefined },
    {
      path: "/b",
      format: { kind: "json", fields: { who: "%FILTER_STATE(io.istio.peer_principal:PLAIN)%" } },
      filter: { kind: "status", op: "GE", value: 400 },
    },
  ];
  expect(logged(logs, stream(), stream({ responseCode: 500 }))).toEqual({
    "/a": ["200\n", "500\n"],
    "/b": [`{"who":"${CLIENT_ID}"}\n`],
  });
});

describe("filters", () => {
  const ok = stream();
  const failed = stream({ responseCode: 503, flags: ["UF", "URX"] });
  const slow = stream({ endedAt: ok.startedAt + 10_000 });
  Object.assign(slow, { endedAt: slow.startedAt + 2000.9 });
  const none = stream({ responseCode: 0, flags: ["DC"] });
  const all = { ok, failed, slow, none };
  const status = (op: "GE" | "EQ" | "LE", value: number) => ({ kind: "status", op, value }) as const;
  const duration = (op: "GE" | "EQ" | "LE", value: number) => ({ kind: "duration", op, value }) as const;
  const cel = (expression: string) => ({ kind: "cel", expression }) as const;
  const cases: readonly (readonly [AccessLogFilter, readonly (keyof typeof all)[]])[] = [
    [status("GE", 400), ["failed"]],
    [status("EQ", 200), ["ok", "slow"]],
    [status("LE", 200), ["ok", "slow", "none"]],
    [status("EQ", 0), ["none"]],
    [duration("GE", 2000), ["slow"]],
    [duration("EQ", 2000), ["slow"]],
    [duration("LE", 12), ["ok", "failed", "none"]],
    [{ kind: "response-flag", flags: [] }, ["failed", "none"]],
    [{ kind: "response-flag", flags: ["URX", "NR"] }, ["failed"]],
    [{ kind: "and", filters: [status("GE", 0), duration("GE", 2000)] }, ["slow"]],
    [{ kind: "and", filters: [] }, ["ok", "failed", "slow", "none"]],
    [{ kind: "or", filters: [status("GE", 400), duration("GE", 2000)] }, ["failed", "slow"]],
    [{ kind: "or", filters: [] }, []],
    [{ kind: "not-health-check" }, ["ok", "failed", "slow", "none"]],
    // Without a code there is nothing to compare, neither here nor in CEL.
    [cel("response.code >= 400"), ["failed"]],
    [cel(" response.code<=503 "), ["ok", "failed", "slow"]],
    [cel("response.code == 200"), ["ok", "slow"]],
    [cel("response.code != 200"), ["failed"]],
    [cel("response.code > 200"), ["failed"]],
    [cel("response.code < 0503"), ["ok", "slow"]],
    [cel("(response.code < 503)"), ["ok", "slow"]],
    [cel("(response.code != 200)"), ["failed"]],
    [cel("response.code >= 500 || request.duration > duration('2s')"), ["failed", "slow"]],
    [cel("connection.mtls && request.url_path.startsWith('/api')"), []],
    [cel("response.code"), []],
    [cel("request.nope == 1"), []],
  ];
  for (const [filter, expected] of cases) {
    test(JSON.stringify(filter), () => {
      for (const [name, info] of Object.entries(all)) {
        const lines = logged([{ path: "/a", format: { kind: "text", text: "x\n" }, filter }], info)["/a"];
        expect([name, lines]).toEqual([name, expected.includes(name as keyof typeof all) ? ["x\n"] : []]);
      }
    });
  }
});

describe("refused, by the log's path and the reason", () => {
  for (
    const [what, log, error] of [
      [
        "an unknown operator",
        { path: "/x", format: { kind: "text", text: "a %B%\n" }, filter: undefined },
        "access log to /x: %B% at character 3: unknown operator",
      ],
      [
        "an unknown operator in JSON",
        { path: "/x", format: { kind: "json", fields: { a: { b: "%B%" } } }, filter: undefined },
        "access log to /x: a: b: %B% at character 1: unknown operator",
      ],
      [
        "what is no CEL, wherever it is",
        { path: "/x", format: undefined, filter: { kind: "and", filters: [{ kind: "cel", expression: "a b" }] } },
        'access log to /x: and filters[0]: CEL expression "a b": ' +
        "syntax error at character 3: found b but expecting end of input",
      ],
    ] as const
  ) {
    test(what, () => void expect(compileAccessLogs([log], () => new Kept())).toEqual({ ok: false, error }));
  }

  test("a file that cannot be opened", () => {
    const compiled = compileAccessLogs([{ ...STDOUT, path: "/no/such/folder/log" }], systemOutputs);
    expect(compiled).toMatchObject({ ok: false });
    if (!compiled.ok) expect(compiled.error).toStartWith("access log to /no/such/folder/log: ENOENT");
  });
});

test("a file is appended to; one path is one output; lines are complete after flush", () => {
  const folder = mkdtempSync(join(tmpdir(), "access-log-"));
  try {
    const path = join(folder, "log");
    const log: AccessLog = { path, format: { kind: "text", text: "%RESPONSE_CODE% ż\n" }, filter: undefined };
    const first = compileAccessLogs([log], systemOutputs);
    const second = compileAccessLogs([log, log], systemOutputs);
    if (!first.ok || !second.ok) throw new Error("refused");
    first.format(stream({ responseCode: 201 }));
    second.format(stream({ responseCode: 202 }));
    first.format(stream({ responseCode: 203 }));
    systemOutputs(path).flush();
    expect(readFileSync(path, "utf8")).toBe("201 ż\n202 ż\n202 ż\n203 ż\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
