import { afterEach, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";
import { type AdminOptions, type AdminServers, startAdmin } from "../../src/admin/mod.ts";
import { buildInfo } from "../../src/cli/mod.ts";
import { formatAddress, type SocketAddress } from "../../src/net/address.ts";
import { MetricRegistry, Readiness } from "../../src/telemetry/mod.ts";
import { parseExposition } from "../telemetry/exposition.ts";
import { keptLogger } from "../telemetry/lines.ts";

const LOOPBACK = { ip: "127.0.0.1", port: 0 };
const running: AdminServers[] = [];
afterEach(() => {
  for (const servers of running.splice(0)) servers.close();
});

function start(overrides: Partial<AdminOptions> = {}) {
  const { logger, lines } = keptLogger();
  const registry = new MetricRegistry();
  const readiness = new Readiness();
  const servers = startAdmin({
    mode: "ztunnel",
    readinessAddresses: [LOOPBACK],
    adminAddresses: [LOOPBACK],
    statsAddresses: [LOOPBACK],
    readiness,
    registry,
    logger,
    build: buildInfo({}),
    configDump: () => ({}),
    shutdown: () => {},
    ...overrides,
  });
  running.push(servers);
  const url = (addresses: readonly SocketAddress[], path: string) =>
    `http://${formatAddress(addresses[0] as SocketAddress)}${path}`;
  return {
    servers,
    registry,
    readiness,
    logger,
    lines,
    ready: (path: string, init?: RequestInit) => fetch(url(servers.readinessAddresses, path), init),
    admin: (path: string, init?: RequestInit) => fetch(url(servers.adminAddresses, path), init),
    stats: (path: string, init?: RequestInit) =>
      fetch(url(servers.statsAddresses, path), { decompress: false, ...init }),
  };
}

const POST = { method: "POST" };

describe("readiness", () => {
  test("tells what is pending, sorted, then ready", async () => {
    const { ready, readiness } = start();
    const proxy = readiness.task("workload proxy manager");
    const state = readiness.task("state manager");
    const before = await ready("/healthz/ready");
    expect(before.status).toBe(500);
    expect(before.headers.get("content-type")).toStartWith("text/plain");
    expect(await before.text()).toBe("not ready, pending: state manager, workload proxy manager\n");
    state.ready();
    proxy.ready();
    const after = await ready("/healthz/ready");
    expect(after.status).toBe(200);
    expect(await after.text()).toBe("ready\n");
  });

  test("only GET, only there", async () => {
    const { ready } = start();
    expect((await ready("/healthz/ready", POST)).status).toBe(405);
    expect((await ready("/healthz/ready", { method: "HEAD" })).status).toBe(405);
    const elsewhere = await ready("/healthz");
    expect([elsewhere.status, await elsewhere.text()]).toEqual([404, ""]);
  });
});

describe("stats", () => {
  test("metrics at both paths to any method, nothing elsewhere", async () => {
    const { stats, registry } = start();
    registry.family({ name: "m", type: "counter", help: "M." }).labels().value = 5;
    for (const path of ["/metrics", "/stats/prometheus", "/metrics?x=y"]) {
      for (const method of ["GET", "POST", "DELETE"]) {
        const answer = await stats(path, { method });
        expect(answer.status).toBe(200);
        expect(parseExposition(await answer.text()).get("m")?.samples[0]?.value).toBe(5);
      }
    }
    const elsewhere = await stats("/stats");
    expect([elsewhere.status, await elsewhere.text()]).toEqual([404, ""]);
  });

  const plain = "text/plain; charset=utf-8";
  const open = "application/openmetrics-text;charset=utf-8;version=1.0.0";
  for (
    const [accept, type] of [
      ["", plain],
      ["text/plain", plain],
      ["application/openmetrics-text", open],
      ["application/openmetrics-text;version=1.0.0,text/plain;q=0.5", open],
      ["text/plain,Application/OpenMetrics-Text;q=0.1", open],
      // Items are not trimmed, as in the original.
      ["text/plain, application/openmetrics-text", plain],
      ["application/openmetrics-textual", plain],
    ] as const
  ) {
    test(`accept '${accept}'`, async () => {
      const { stats } = start();
      expect((await stats("/metrics", { headers: { accept } })).headers.get("content-type")).toBe(type);
    });
  }

  for (
    const [name, decode] of [
      ["gzip", gunzipSync],
      ["deflate", inflateSync],
      ["br", brotliDecompressSync],
      ["zstd", zstdDecompressSync],
    ] as const
  ) {
    test(`encoding ${name}`, async () => {
      const { stats, registry } = start();
      registry.family({ name: "m", type: "gauge", help: "M." }).labels().value = 5;
      const answer = await stats("/metrics", { headers: { "accept-encoding": name } });
      expect(answer.headers.get("content-encoding")).toBe(name);
      const text = decode(Buffer.from(await answer.arrayBuffer())).toString();
      expect(parseExposition(text).get("m")?.samples[0]?.value).toBe(5);
    });
  }

  test("the best liked encoding that we have, or none", async () => {
    const { stats } = start();
    const encoding = async (header: string) =>
      (await stats("/metrics", { headers: { "accept-encoding": header } })).headers.get("content-encoding");
    expect(await encoding("identity")).toBeNull();
    expect(await encoding("compress")).toBeNull();
    expect(await encoding("gzip;q=0")).toBeNull();
    expect(await encoding("gzip;q=0.5, deflate;q=0.8")).toBe("deflate");
    expect(await encoding("gzip, br;q=0.9")).toBe("gzip");
    expect(await encoding("*")).toBe("zstd");
  });

  test("a scrape of many series leaves the event loop to others", async () => {
    const { stats, registry } = start();
    const family = registry.family({ name: "m", type: "counter", help: "M.", labelNames: ["n", "text"] });
    for (let n = 0; n < 50_000; n++) family.labels([String(n), "x".repeat(100)]).value = n;
    await (await stats("/nothing")).text();
    let turns = 0;
    let reading = true;
    const turn = () => {
      turns++;
      if (reading) setImmediate(turn);
    };
    turn();
    const text = await (await stats("/metrics")).text();
    reading = false;
    expect(parseExposition(text).get("m")?.samples.length).toBe(50_000);
    expect(turns).toBeGreaterThan(text.length / 500_000);
  });
});

describe("admin", () => {
  test("the dashboard lists every endpoint", async () => {
    const { admin } = start();
    const answer = await admin("/");
    expect(answer.headers.get("content-type")).toStartWith("text/html");
    const page = await answer.text();
    for (const path of ["/config_dump", "/logging", "/version", "/quitquitquit"]) expect(page).toContain(path);
    expect((await admin("/", POST)).status).toBe(200);
  });

  test("config_dump is sorted at every level, indented, and has the version", async () => {
    const configDump = () => Promise.resolve({ workloads: [{ uid: "b", name: "a" }], config: { z: 1, a: null } });
    const { admin } = start({ configDump });
    const answer = await admin("/config_dump");
    expect(answer.headers.get("content-type")).toBe("application/json");
    const text = await answer.text();
    expect(text).toStartWith('{\n  "config": {\n    "a": null,\n    "z": 1\n  },\n  "version": {\n    "build');
    expect(text).toEndWith('"workloads": [\n    {\n      "name": "a",\n      "uid": "b"\n    }\n  ]\n}');
  });

  test("a provider that throws is a 500 with its message", async () => {
    const { admin } = start({
      configDump: () => {
        throw new Error("no state yet");
      },
    });
    const answer = await admin("/config_dump");
    expect([answer.status, await answer.text()]).toEqual([500, "no state yet\n"]);
  });

  test("version", async () => {
    const { admin } = start();
    const version = await (await admin("/version")).json() as Record<string, unknown>;
    expect(Object.keys(version)).toEqual(Object.keys(version).toSorted());
    expect(version["istioVersion"]).toBe("unknown");
  });

  test("logging shows, changes and resets levels", async () => {
    const { admin, logger } = start();
    const ask = async (query: string) => {
      const answer = await admin(`/logging${query}`, POST);
      return [answer.status, await answer.text()];
    };
    const current = (filter: string) => [200, `current log level is ${filter}\n`];
    expect(await ask("")).toEqual(current("hickory_server::server=off,info"));
    expect(await ask("?level=debug")).toEqual(current("hickory_server::server=off,debug"));
    expect(logger.scope("ztunnel::xds").enabled("debug")).toBe(true);
    expect(await ask("?level=ztunnel::xds=error,warn")).toEqual(
      current("hickory_server::server=off,ztunnel::xds=error,warn"),
    );
    expect(await ask("?reset")).toEqual(current("hickory_server::server=off,info"));
    expect(await ask("?reset&level=trace")).toEqual(current("hickory_server::server=off,trace"));
  });

  test("logging refuses what it does not understand and changes nothing", async () => {
    const { admin } = start();
    for (const level of ["loud", "ztunnel::xds:debug", "info,ztunnel", "a=b=c", "INFO"]) {
      const answer = await admin(`/logging?level=${encodeURIComponent(level)}`, POST);
      expect(answer.status).toBe(400);
      expect(await answer.text()).toStartWith(`Invalid level provided: ${level}\n`);
    }
    const get = await admin("/logging");
    expect(get.status).toBe(405);
    expect(await get.text()).toStartWith("Invalid HTTP method");
    expect(await (await admin("/logging", POST)).text()).toBe("current log level is hickory_server::server=off,info\n");
  });

  test("quitquitquit answers, then shuts down; only to POST", async () => {
    const asked = Promise.withResolvers<void>();
    const { admin } = start({ shutdown: asked.resolve });
    const get = await admin("/quitquitquit");
    expect([get.status, await get.text()]).toEqual([405, "Invalid HTTP method\n"]);
    const post = await admin("/quitquitquit", POST);
    expect([post.status, await post.text()]).toEqual([200, "shutdown now\n"]);
    await asked.promise;
  });

  test("elsewhere an empty 404", async () => {
    const { admin } = start();
    const answer = await admin("/debug");
    expect([answer.status, await answer.text()]).toEqual([404, ""]);
  });
});

describe("listening", () => {
  test("every address is told in the log", () => {
    const { lines, servers } = start({ adminAddresses: [LOOPBACK, { ip: "::1", port: 0 }] });
    const address = (addresses: readonly SocketAddress[], index = 0) =>
      formatAddress(addresses[index] as SocketAddress);
    expect(lines()).toEqual([
      `info\treadiness\tlistener established\taddress=${address(servers.readinessAddresses)} component="readiness"`,
      `info\tadmin\tlistener established\taddress=${address(servers.adminAddresses)} component="admin"`,
      `info\tadmin\tlistener established\taddress=${address(servers.adminAddresses, 1)} component="admin"`,
      `info\tstats\tlistener established\taddress=${address(servers.statsAddresses)} component="stats"`,
    ]);
  });

  test("[::] serves both address families", async () => {
    const { servers } = start({ statsAddresses: [{ ip: "::", port: 0 }] });
    const port = servers.statsAddresses[0]?.port;
    for (const host of ["127.0.0.1", "[::1]"]) {
      expect((await fetch(`http://${host}:${port}/metrics`)).status).toBe(200);
    }
  });

  test("a taken port is an error that names component and port, and nothing stays open", async () => {
    const holder = start();
    const taken = holder.servers.statsAddresses[0] as SocketAddress;
    // A port that was free a moment ago, to look at afterwards.
    const other = start();
    const free = other.servers.readinessAddresses[0] as SocketAddress;
    other.servers.close();
    expect(() => start({ readinessAddresses: [free], statsAddresses: [taken] })).toThrow(
      `stats: port ${taken.port} is taken (another ambient in this network namespace?)`,
    );
    const refused = await fetch(`http://${formatAddress(free)}/healthz/ready`).then(() => false, () => true);
    expect(refused).toBe(true);
  });

  test("after close connections are refused", async () => {
    const { servers, ready } = start();
    servers.close();
    expect(await ready("/healthz/ready", { headers: { connection: "close" } }).then(() => false, () => true)).toBe(
      true,
    );
  });
});
