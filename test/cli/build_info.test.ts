import { expect, test } from "bun:test";
import { buildInfo, formatBuildInfo, licenses } from "../../src/cli/mod.ts";

test("the form of istio's tools", () => {
  expect(formatBuildInfo(buildInfo({ ISTIO_META_ISTIO_VERSION: "1.29.0" }))).toBe(
    'version.BuildInfo{Version:"source", GitRevision:"unknown", ' +
      `BunVersion:"${Bun.version}", BuildProfile:"source", BuildStatus:"Unknown", IstioVersion:"1.29.0", ` +
      'CryptoProvider:"boringssl"}',
  );
  expect(buildInfo({}).istioVersion).toBe("unknown");
});

test("from source there are no licences inside", async () => {
  expect(await licenses()).toBeUndefined();
});
