import { afterEach, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { networkInterfaces } from "node:os";
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from "node:zlib";
import type { EventLoopReport } from "../../src/admin/event_loop.ts";
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

test("a waypoint's readiness is also on the port of pilot-agent, a ztunnel's is not", async () => {
  const { stats, readiness } = start({ mode: "waypoint" });
  const task = readiness.task("certificate");
  const pending = await stats("/healthz/ready");
  expect([pending.status, await pending.text()]).toEqual([503, "not ready, pending: certificate\n"]);
  task.ready();
  const ready = await stats("/healthz/ready");
  expect([ready.status, await ready.text()]).toEqual([200, "ready\n"]);
  expect((await start().stats("/healthz/ready")).status).toBe(404);
});

test("what ends or drains a waypoint is asked for by POST, and from the pod itself only", async () => {
  const done: string[] = [];
  const orders = { drain: () => void done.push("drain"), quit: () => void done.push("quit") };
  const { stats } = start(orders);
  for (const path of ["/drain", "/quitquitquit"]) {
    expect((await stats(path)).status).toBe(405);
    const answer = await stats(path, POST);
    expect([answer.status, await answer.text()]).toEqual([200, "OK\n"]);
  }
  await Bun.sleep(1);
  expect(done).toEqual(["drain", "quit"]);
  const ztunnel = start();
  expect((await ztunnel.stats("/drain", POST)).status).toBe(404);

  const outside = Object.values(networkInterfaces()).flat().find((found) => found?.internal === false);
  if (outside === undefined) return; // a machine with nothing but loopback
  const open = start({ ...orders, statsAddresses: [{ ip: outside.address, port: 0 }] });
  expect((await open.stats("/drain", POST)).status).toBe(403);
  expect((await open.stats("/metrics")).status).toBe(200);
  expect(done).toHaveLength(2);
});

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
      ["application/openmetrics-text ;version=1.0.0", plain],
      ["text/plain;q=0.5,application/openmetrics-text;version=0.0.1;q=0", open],
      ["*/*", plain],
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
    expect(await encoding("GZIP")).toBe("gzip");
    expect(await encoding("x-gzip")).toBe("gzip");
    expect(await encoding("gzip, deflate, br, zstd")).toBe("zstd");
    expect(await encoding("zstd;q=0, br;q=0, *;q=0.1")).toBe("gzip");
    expect(await encoding("*;q=0")).toBeNull();
    expect(await encoding("identity, gzip;q=0.5")).toBeNull();
    expect(await encoding("identity;q=0.5, gzip;q=0.6")).toBe("gzip");
    expect(await encoding("identity;q=0, *;q=0.1")).toBe("zstd");
    // Nothing that we have is accepted: metrics all the same.
    expect(await encoding("identity;q=0")).toBeNull();
    expect(await encoding("gzip;q=2, br;q=x, deflate")).toBe("deflate");
    expect(await encoding(",, ;q=1,")).toBeNull();
  });

  test("every encoding carries the same text", async () => {
    const { stats, registry } = start();
    const family = registry.family({ name: "m", type: "counter", help: "M.", labelNames: ["n"] });
    for (let n = 0; n < 20_000; n++) family.labels([`é ${n} "x"`]).value = n;
    const text = async (encoding: string, decode: (bytes: Buffer) => Buffer) => {
      const answer = await stats("/metrics", { headers: { "accept-encoding": encoding } });
      return decode(Buffer.from(await answer.arrayBuffer())).toString();
    };
    const plain = await text("identity", (bytes) => bytes);
    expect(parseExposition(plain).get("m")?.samples.length).toBe(20_000);
    const decoders = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
    for (const [encoding, decode] of Object.entries(decoders)) {
      const decoded = await text(encoding, (bytes) => decode(bytes));
      expect([encoding, decoded.length, decoded === plain]).toEqual([encoding, plain.length, true]);
    }
  });

  test("a client that goes away in the middle costs nothing", async () => {
    const { stats, registry } = start();
    const family = registry.family({ name: "m", type: "counter", help: "M.", labelNames: ["n"] });
    for (let n = 0; n < 50_000; n++) family.labels([`${n}`.padEnd(200, "x")]);
    for (const encoding of ["identity", "gzip"]) {
      const gone = new AbortController();
      const answer = await stats("/metrics", { headers: { "accept-encoding": encoding }, signal: gone.signal });
      await answer.body?.getReader().read();
      gone.abort();
    }
    expect((await stats("/metrics", { headers: { "accept-encoding": "zstd" } })).status).toBe(200);
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
    const always = [
      "/config_dump",
      "/logging",
      "/version",
      "/quitquitquit",
      "/debug/pprof/profile",
      "/debug/eventloop",
    ];
    for (const path of always) expect(page).toContain(path);
    expect((await admin("/", POST)).status).toBe(200);
    const others = ["/debug/controlplane", "/debug/dryrun", "/debug/explain"];
    for (const path of others) {
      expect(page).not.toContain(path);
      expect([path, (await admin(path)).status]).toEqual([path, 404]);
    }
    const { admin: more } = start({
      controlPlane: () => ({}),
      dryRun: () => ({}),
      explain: () => ({ error: "" }),
    });
    const longer = await (await more("/")).text();
    for (const path of [...always, ...others]) expect(longer).toContain(path);
  });

  test("control plane: what the process tells, as it is now", async () => {
    let connected = false;
    const { admin } = start({ controlPlane: () => ({ discovery: { connected, since: undefined } }) });
    expect(await (await admin("/debug/controlplane")).json()).toEqual({ discovery: { connected: false } });
    connected = true;
    expect(await (await admin("/debug/controlplane")).json()).toEqual({ discovery: { connected: true } });
  });

  test("dry run: what the process tells, as it is now", async () => {
    let flows: string[] = [];
    const { admin } = start({ dryRun: () => ({ flows, a: 1 }) });
    expect(await (await admin("/debug/dryrun")).json()).toEqual({ a: 1, flows: [] });
    flows = ["x"];
    const answer = await admin("/debug/dryrun");
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.text()).toBe('{\n  "a": 1,\n  "flows": [\n    "x"\n  ]\n}');
  });

  test("explain: both parameters as they came, JSON in the order of the explanation, or 400", async () => {
    const { admin } = start({
      explain: (source, destination) =>
        destination === "nowhere" ? { error: `no such destination: ${destination}` } : {
          explanation: { source, destination, "1": [] },
        },
    });
    const ask = async (query: string) => {
      const answer = await admin(`/debug/explain${query}`);
      return [answer.status, answer.headers.get("content-type")?.split(";")[0], await answer.text()];
    };
    expect(await ask("?src=shop/cart-1&dst=web.shop.svc.cluster.local%3A80")).toEqual([
      200,
      "application/json",
      JSON.stringify({ source: "shop/cart-1", destination: "web.shop.svc.cluster.local:80", "1": [] }, undefined, 2) +
      "\n",
    ]);
    expect(await ask("?src=a&dst=nowhere")).toEqual([400, "text/plain", "no such destination: nowhere\n"]);
    for (const query of ["", "?src=a", "?dst=b", "?src=&dst=b", "?src=a&dst="]) {
      const [status, type, text] = await ask(query);
      expect([query, status, type]).toEqual([query, 400, "text/plain"]);
      expect(text).toContain("/debug/explain?src=SOURCE&dst=DESTINATION");
    }
  });

  test("heap profiles are not there, and that is said", async () => {
    const { admin } = start();
    for (
      const path of ["/debug/pprof/heap", "/debug/pprof/heap/profiling", "/debug/pprof/heap/profiling?activate=true"]
    ) {
      const answer = await admin(path);
      expect([path, answer.status, answer.headers.get("content-type")]).toEqual([path, 500, "text/plain"]);
      expect(await answer.text()).toContain("no jemalloc");
    }
  });

  test("CPU profiles: parameters out of bounds are told, and nothing is profiled", async () => {
    const { admin } = start();
    for (
      const [query, name, most] of [
        ["?seconds=0", "seconds", 300],
        ["?seconds=301", "seconds", 300],
        ["?seconds=", "seconds", 300],
        ["?seconds=1.5", "seconds", 300],
        ["?seconds=-1", "seconds", 300],
        ["?seconds=1&frequency=0", "frequency", 1000],
        ["?seconds=1&frequency=1001", "frequency", 1000],
        ["?seconds=1&frequency=fast", "frequency", 1000],
      ] as const
    ) {
      const answer = await admin(`/debug/pprof/profile${query}`);
      expect([query, answer.status]).toEqual([query, 400]);
      expect(await answer.text()).toStartWith(`${name} must be a whole number from 1 to ${most}, not '`);
    }
  });

  test("the event loop is watched while somebody asks", async () => {
    const { admin } = start();
    const asked = admin("/debug/eventloop?seconds=1");
    const hold = setInterval(() => {
      const end = performance.now() + 30;
      while (performance.now() < end);
    }, 100);
    const report = await (await asked).json() as EventLoopReport;
    clearInterval(hold);
    expect(report.seconds).toBeGreaterThanOrEqual(1);
    expect(report.looks).toBeGreaterThan(1);
    expect(report.longestMs).toBeGreaterThan(25);
    expect(report.longestMs).toBeGreaterThanOrEqual(report.longestOwnMs);
    expect(report.longestComputedMs).toBeGreaterThan(1);
    expect(Object.values(report.histogram).reduce((sum, count) => sum + count, 0)).toBe(report.looks);
    for (const seconds of ["0", "301", "1.5", ""]) {
      expect((await admin(`/debug/eventloop?seconds=${seconds}`)).status).toBe(400);
    }
  });

  test("a CPU profile names what ran; one at a time", async () => {
    const { admin } = start();
    const first = admin("/debug/pprof/profile?seconds=1&frequency=1000");
    let [running, turns] = [true, 0];
    const asked = admin("/debug/pprof/profile?seconds=1");
    const conspicuousWork = () => {
      const end = performance.now() + 3;
      while (performance.now() < end) turns++;
      if (running) setImmediate(conspicuousWork);
    };
    conspicuousWork();
    const answers = await Promise.all([first, asked]);
    running = false;
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    const profile = answers.find(({ status }) => status === 200) as Response;
    expect(profile.headers.get("content-type")).toBe("application/octet-stream");
    const bytes = gunzipSync(Buffer.from(await profile.arrayBuffer()));
    expect(bytes.includes("conspicuousWork")).toBe(true);
    expect(bytes.includes("nanoseconds")).toBe(true);
    expect(turns).toBeGreaterThan(0);
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

  test("logging: what is appended, reset and refused, in every combination", async () => {
    const { admin, logger } = start();
    const ask = async (query: string) => {
      const answer = await admin(`/logging${query}`, POST);
      expect(answer.headers.get("content-type")).toBe("text/plain");
      return [answer.status, (await answer.text()).split("\n")[0]];
    };
    const current = (filter: string) => [200, `current log level is ${filter}`];
    const base = "hickory_server::server=off";
    expect(await ask("?level=")).toEqual(current(`${base},info`));
    expect(await ask("?level=access=off,warn")).toEqual(current(`${base},access=off,warn`));
    expect(logger.scope("access").enabled("error")).toBe(false);
    expect(await ask("?level=access=debug")).toEqual(current(`${base},access=debug,warn`));
    expect(await ask("?level=off")).toEqual(current(`${base},access=debug,off`));
    expect(await ask("?reset&level=ztunnel::proxy=trace")).toEqual(current(`${base},ztunnel::proxy=trace,info`));
    expect(await ask("?level=error&reset=false")).toEqual(current(`${base},error`));
    expect(await ask("?reset&level=loud")).toEqual([400, "Invalid level provided: loud"]);
    expect(await ask("?level=access:debug")).toEqual([400, "Invalid level provided: access:debug"]);
    expect(await ask("")).toEqual(current(`${base},error`));
    for (const method of ["GET", "PUT", "DELETE", "HEAD"]) {
      expect((await admin("/logging?level=trace", { method })).status).toBe(405);
    }
    expect(await ask("")).toEqual(current(`${base},error`));
  });

  test("the head of a request has a limit", async () => {
    const { servers } = start();
    const { port } = servers.adminAddresses[0] as SocketAddress;
    const ask = async (head: string) => {
      const ended = Promise.withResolvers<string>();
      let text = "";
      const socket = await Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          data: (_, chunk) => void (text += chunk.toString()),
          end: () => ended.resolve(text),
          close: () => ended.resolve(text),
        },
      });
      socket.write(head);
      return (await ended.promise).split("\r\n")[0];
    };
    const head = (padding: number) =>
      `GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\npadding: ${"x".repeat(padding)}\r\n\r\n`;
    expect(await ask(head(8 << 10))).toBe("HTTP/1.1 200 OK");
    expect(await ask(head(17 << 10))).toBe("HTTP/1.1 431 Request Header Fields Too Large");
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
