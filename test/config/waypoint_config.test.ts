/** Settings of waypoint mode that shape what it logs and what it takes. */
import { describe, expect, test } from "bun:test";
import { readAccessLog } from "../../src/config/access_log.ts";
import { Variables } from "../../src/config/variables.ts";
import { dumpWaypointConfig, loadWaypointConfig } from "../../src/config/mod.ts";
import type { AccessLog } from "../../src/waypoint/snapshot/mod.ts";
import { ISTIO_JSON_FORMAT } from "../../src/waypoint/telemetry/mod.ts";

const BASE = { LOCAL_XDS: "workloads: []", CA_ADDRESS: "embedded", XDS_ADDRESS: "" };

async function load(env: Record<string, string>) {
  const result = await loadWaypointConfig({ ...BASE, ...env }, { caDir: "/nowhere" });
  if (!result.ok) throw new Error(result.errors.join("\n"));
  return result.config;
}

async function errors(env: Record<string, string>): Promise<readonly string[]> {
  const result = await loadWaypointConfig({ ...BASE, ...env }, { caDir: "/nowhere" });
  return result.ok ? [] : result.errors;
}

test("times of a year are as long as a timer takes, which would fire at once for more", async () => {
  const year = { TERMINATION_GRACE_PERIOD_SECONDS: "31536000", MINIMUM_DRAIN_DURATION: "365d" };
  const { drainDuration, grace, detectionTimeout } = await load({ ...year, AMBIENT_DETECTION_TIMEOUT: "365d" });
  expect([drainDuration, grace, detectionTimeout]).toEqual(Array(3).fill(2 ** 31 - 1));
});

describe("the mesh's access log", () => {
  const logs = async (env: Record<string, string>) => {
    const { accessLog, accessLogFormat } = await load(env);
    return { accessLog, accessLogFormat };
  };
  const FILE = { ACCESS_LOG_FILE: "/dev/stdout" };
  const log = (format: AccessLog["format"]) => ({ path: "/dev/stdout", format, filter: undefined });

  test("is off without a file; a format is Telemetry's all the same", async () => {
    expect(await logs({})).toEqual({ accessLog: undefined, accessLogFormat: undefined });
    expect(await logs({ ACCESS_LOG_FILE: "" })).toEqual({ accessLog: undefined, accessLogFormat: undefined });
    expect(await logs({ ACCESS_LOG_ENCODING: "JSON" })).toEqual({
      accessLog: undefined,
      accessLogFormat: { kind: "json", fields: ISTIO_JSON_FORMAT },
    });
  });

  const formats: [env: Record<string, string>, format: AccessLog["format"]][] = [
    [{}, undefined],
    [{ ACCESS_LOG_ENCODING: "TEXT", ACCESS_LOG_FORMAT: "" }, undefined],
    [{ ACCESS_LOG_FORMAT: "%PROTOCOL% x" }, { kind: "text", text: "%PROTOCOL% x\n" }],
    [{ ACCESS_LOG_FORMAT: "%PROTOCOL%\n" }, { kind: "text", text: "%PROTOCOL%\n" }],
    [{ ACCESS_LOG_ENCODING: "JSON" }, { kind: "json", fields: ISTIO_JSON_FORMAT }],
    [
      { ACCESS_LOG_ENCODING: "JSON", ACCESS_LOG_FORMAT: '{"a": "%PROTOCOL%", "b": {"c": "x"}}' },
      { kind: "json", fields: { a: "%PROTOCOL%", b: { c: "x" } } },
    ],
  ];
  test.each(formats)("%j", async (env, format) => {
    expect(await logs({ ...FILE, ...env })).toEqual({ accessLog: log(format), accessLogFormat: format });
  });

  const refused: [env: Record<string, string>, ...named: string[]][] = [
    [{ ACCESS_LOG_ENCODING: "json" }, "ACCESS_LOG_ENCODING", "expected TEXT or JSON"],
    [{ ACCESS_LOG_FORMAT: "%NOPE%" }, "ACCESS_LOG_FORMAT=%NOPE%", "NOPE"],
    [{ ACCESS_LOG_FORMAT: "50%" }, "ACCESS_LOG_FORMAT=50%", "character 3"],
    [{ ACCESS_LOG_ENCODING: "JSON", ACCESS_LOG_FORMAT: "%PROTOCOL%" }, "ACCESS_LOG_FORMAT", "an object of JSON: "],
    [{ ACCESS_LOG_ENCODING: "JSON", ACCESS_LOG_FORMAT: '["a"]' }, "ACCESS_LOG_FORMAT", "an object of JSON with texts"],
    [{ ACCESS_LOG_ENCODING: "JSON", ACCESS_LOG_FORMAT: '{"a": {"b": 1}}' }, "ACCESS_LOG_FORMAT", "with texts"],
    [{ ACCESS_LOG_ENCODING: "JSON", ACCESS_LOG_FORMAT: '{"a": "%NOPE%"}' }, "ACCESS_LOG_FORMAT", "a: ", "NOPE"],
  ];
  test.each(refused)("%j is refused at start", async (env, ...named) => {
    const found = await errors(env);
    expect(found).toHaveLength(1);
    for (const text of named) expect(found[0]).toContain(text);
  });

  test("variables count more than the mesh file, field by field; errors name what is wrong", async () => {
    const mesh = { file: "/tmp/mesh.log", encoding: "JSON", format: '{"a": "%NOPE%"}' } as const;
    const variables = new Variables({ ACCESS_LOG_FORMAT: '{"b": "%PROTOCOL%"}' });
    expect(await readAccessLog(variables, mesh, "mesh")).toEqual({
      accessLog: { path: "/tmp/mesh.log", format: { kind: "json", fields: { b: "%PROTOCOL%" } }, filter: undefined },
      accessLogFormat: { kind: "json", fields: { b: "%PROTOCOL%" } },
    });
    expect(variables.errors).toEqual([]);
    const off = new Variables({ ACCESS_LOG_FILE: "", ACCESS_LOG_FORMAT: "" });
    expect((await readAccessLog(off, mesh, "mesh")).accessLog).toBeUndefined();
    const none = new Variables({});
    await readAccessLog(none, mesh, "mesh");
    expect(none.errors).toHaveLength(1);
    expect(none.errors[0]).toStartWith("mesh: accessLogFormat: a: ");
  });
});

describe("HTTP/1.0 and the case of header names", () => {
  const accepted: [env: Record<string, string>, boolean][] = [
    [{}, false],
    [{ ISTIO_META_HTTP10: "1" }, true],
    [{ ISTIO_META_HTTP10: "0" }, false],
    [{ PROXY_CONFIG: '{"proxyMetadata":{"ISTIO_META_HTTP10":"1"}}' }, true],
    [{ PROXY_CONFIG: '{"proxyMetadata":{"HTTP10":1}}' }, true],
    [{ PILOT_HTTP10: "true" }, true],
    [{ PILOT_HTTP10: "false" }, false],
  ];
  test.each(accepted)("%j: %p", async (env, expected) => {
    expect((await load(env)).acceptHttp10).toBe(expected);
  });

  test("what is neither is named", async () => {
    expect(await errors({ ISTIO_META_HTTP10: "yes" })).toEqual(["invalid proxy metadata HTTP10=yes (expected 0 or 1)"]);
    expect((await errors({ PILOT_HTTP10: "1" }))[0]).toContain("PILOT_HTTP10");
  });

  test("the case is kept where PROXY_CONFIG says so", async () => {
    expect((await load({})).preserveHeaderCase).toBe(false);
    const given = { PROXY_CONFIG: '{"proxyHeaders":{"preserveHttp1HeaderCase":true}}' };
    expect((await load(given)).preserveHeaderCase).toBe(true);
  });
});

test("what is shown of the settings has no token, no header's value and no PEM text", async () => {
  const config = await load({ AUTH_TOKEN: "secret-1", CA_HEADER_X: "secret-2", CA_ROOT_CA: "secret-3" });
  const shown = JSON.stringify(dumpWaypointConfig(config));
  expect(JSON.stringify(config).match(/secret-\d/g)?.sort()).toEqual(["secret-1", "secret-2", "secret-3"]);
  expect(shown).not.toContain("secret-");
  expect(shown).toContain('"authToken":{"kind":"static"}');
});

describe("how long it serves on", () => {
  const proxyConfig = JSON.stringify({ terminationDrainDuration: "20s" });
  test.each<[env: Record<string, string>, ms: number]>([
    [{}, 5_000],
    [{ MINIMUM_DRAIN_DURATION: "2s" }, 2_000],
    [{ PROXY_CONFIG: proxyConfig }, 20_000],
    [{ PROXY_CONFIG: proxyConfig, MINIMUM_DRAIN_DURATION: "2s" }, 20_000],
    [{ PROXY_CONFIG: proxyConfig, EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true" }, 5_000],
  ])("%j: %d ms", async (env, ms) => {
    expect((await load(env)).drainDuration).toBe(ms);
  });

  test("what is no duration is named", async () => {
    expect(await errors({ PROXY_CONFIG: '{"terminationDrainDuration": "soon"}' })).toEqual([
      "PROXY_CONFIG.terminationDrainDuration: expected a duration such as 5s",
    ]);
  });
});
