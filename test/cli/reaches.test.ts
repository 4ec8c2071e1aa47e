/** What the command line of a waypoint's container says reaches the settings; the environment is asked first. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCommand } from "../../src/cli/mod.ts";
import { loadWaypointConfig, type WaypointConfig } from "../../src/config/mod.ts";

const BASE = { LOCAL_XDS: "workloads: []", CA_ADDRESS: "embedded", XDS_ADDRESS: "" };

async function settings(line: string, env: Record<string, string> = {}): Promise<WaypointConfig> {
  const command = parseCommand(["proxy", "waypoint", ...line.split(" ").filter(Boolean)]);
  if (command.kind !== "run") throw new Error(JSON.stringify(command));
  const loaded = await loadWaypointConfig({ ...BASE, ...env }, command.flags);
  if (!loaded.ok) throw new Error(loaded.errors.join("\n"));
  return loaded.config;
}

test("who it is", async () => {
  const config = await settings("--domain shop.svc.mesh.example --serviceCluster waypoint.shop");
  expect(config).toMatchObject({
    clusterDomain: "mesh.example",
    domain: "shop.svc.mesh.example",
    serviceCluster: "waypoint.shop",
  });
  expect((await settings("--domain shop.svc.a", { CLUSTER_DOMAIN: "b" })).clusterDomain).toBe("b");
  expect((await settings("--domain shop")).clusterDomain).toBe("cluster.local");
});

test("what it logs, and how", async () => {
  expect(await settings("")).toMatchObject({ logFilter: "info", logFormat: "plain" });
  const line = "--log_output_level default:warn --proxyLogLevel debug --log_as_json";
  expect(await settings(line)).toMatchObject({ logFilter: "warn,waypoint=debug", logFormat: "json" });
  const env = { RUST_LOG: "error", LOG_FORMAT: "plain" };
  expect(await settings(line, env)).toMatchObject({ logFilter: "error", logFormat: "plain" });
});

test("what nobody has heard of is a warning at the start", async () => {
  expect((await settings("--new=1")).warnings).toContain("unknown flag of proxy: --new");
});

test("where the mesh file is", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mesh-"));
  const path = join(folder, "mesh");
  try {
    writeFileSync(path, "accessLogFile: /dev/stdout\ndefaultConfig: { proxyMetadata: { NETWORK: west } }\n");
    const config = await settings(`--meshConfig ${path}`);
    expect([config.network, config.accessLog?.path]).toEqual(["west", "/dev/stdout"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
