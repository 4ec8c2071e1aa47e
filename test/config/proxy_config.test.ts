import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readProxyConfig } from "../../src/config/proxy_config.ts";

const directory = mkdtempSync(join(tmpdir(), "mesh-"));
afterAll(() => rmSync(directory, { recursive: true }));
const MISSING = join(directory, "missing");

function meshFile(text: string): string {
  const path = join(directory, "mesh");
  writeFileSync(path, text);
  return path;
}

test("no file and no variable: nothing", async () => {
  expect(await readProxyConfig(undefined, MISSING)).toEqual({ ok: true, proxyConfig: { proxyMetadata: {} } });
  expect(await readProxyConfig("", MISSING)).toEqual({ ok: true, proxyConfig: { proxyMetadata: {} } });
});

test("the mesh file's defaultConfig; other fields do not matter", async () => {
  const path = meshFile(`
trustDomain: cluster.local
defaultConfig:
  discoveryAddress: istiod:15012
  proxyAdminPort: 1
  statsPort: 2
  concurrency: 3
  tracing: {zipkin: {}}
  proxyMetadata:
    ISTIO_META_A: a
    DNS_CAPTURE: false
`);
  expect(await readProxyConfig(undefined, path)).toEqual({
    ok: true,
    proxyConfig: {
      discoveryAddress: "istiod:15012",
      proxyAdminPort: 1,
      statsPort: 2,
      concurrency: 3,
      proxyMetadata: { ISTIO_META_A: "a", DNS_CAPTURE: "false" },
    },
  });
});

test("PROXY_CONFIG overrides scalars whole and metadata by key; YAML and JSON", async () => {
  const path = meshFile("defaultConfig: {statsPort: 2, concurrency: 3, proxyMetadata: {A: mesh, B: mesh}}");
  const expected = { statsPort: 9, concurrency: 3, proxyMetadata: { A: "env", B: "mesh" } };
  expect(await readProxyConfig("statsPort: 9\nproxyMetadata:\n  A: env\n", path)).toEqual({
    ok: true,
    proxyConfig: expected,
  });
  expect(await readProxyConfig('{"statsPort":9,"proxyMetadata":{"A":"env"}}', path)).toEqual({
    ok: true,
    proxyConfig: expected,
  });
});

test("what is wrong is named", async () => {
  const path = meshFile("defaultConfig: {statsPort: x, concurrency: -1, discoveryAddress: 5, proxyMetadata: {A: []}}");
  expect(await readProxyConfig("[1]", path)).toEqual({
    ok: false,
    errors: [
      `${path}: defaultConfig.proxyMetadata.A: expected a text`,
      `${path}: defaultConfig.discoveryAddress: expected a text`,
      `${path}: defaultConfig.statsPort: expected a whole number from 0 to 65535`,
      `${path}: defaultConfig.concurrency: expected a whole number from 0 to 65535`,
      "PROXY_CONFIG: expected a mapping",
    ],
  });
  expect(await readProxyConfig(undefined, directory)).toEqual({
    ok: false,
    errors: [`cannot read ${directory}: EISDIR`],
  });
  const broken = await readProxyConfig("{a: [", MISSING);
  expect(broken.ok ? [] : broken.errors[0]).toStartWith("PROXY_CONFIG: ");
});

test("the mesh file's access log, and the case of header names", async () => {
  const path = meshFile(`
accessLogFile: /dev/stdout
accessLogEncoding: JSON
accessLogFormat: '{"a": "%PROTOCOL%"}'
defaultConfig: {proxyHeaders: {preserveHttp1HeaderCase: true, server: {disabled: true}}}
`);
  const accessLog = { file: "/dev/stdout", encoding: "JSON", format: '{"a": "%PROTOCOL%"}' } as const;
  const proxyConfig = { proxyMetadata: {}, preserveHttp1HeaderCase: true };
  expect(await readProxyConfig(undefined, path)).toEqual({ ok: true, proxyConfig, accessLog });
  expect(await readProxyConfig("{proxyHeaders: {preserveHttp1HeaderCase: false}}", path)).toEqual({
    ok: true,
    proxyConfig: { ...proxyConfig, preserveHttp1HeaderCase: false },
    accessLog,
  });
  const wrong = meshFile(
    "{accessLogFile: 5, accessLogEncoding: XML, defaultConfig: {proxyHeaders: {preserveHttp1HeaderCase: 1}}}",
  );
  expect(await readProxyConfig(undefined, wrong)).toEqual({
    ok: false,
    errors: [
      `${wrong}: defaultConfig.proxyHeaders.preserveHttp1HeaderCase: expected true or false`,
      `${wrong}: accessLogFile: expected a text`,
      `${wrong}: accessLogEncoding: expected TEXT or JSON`,
    ],
  });
});
