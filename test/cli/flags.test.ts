import { describe, expect, test } from "bun:test";
import {
  type Command,
  HELP,
  parseCommand,
  type RequestFlags,
  type RunFlags,
  type WaitFlags,
} from "../../src/cli/mod.ts";

function run(flags: Partial<RunFlags> = {}): Command {
  return { kind: "run", flags: { mode: "ztunnel", config: undefined, caDir: undefined, gateway: undefined, ...flags } };
}

const EXPLAIN_USAGE = "explain needs a source and a destination, as in: ambient explain shop/web-1 cart.shop:80";

function explained({ admin = "127.0.0.1:15000", json = false }: { admin?: string; json?: boolean }): Command {
  return { kind: "explain", flags: { source: "shop/web", destination: "cart:80", admin, json } };
}

function request(flags: Partial<RequestFlags>): Command {
  return { kind: "request", flags: { method: "GET", path: "/", body: undefined, admin: "127.0.0.1:15000", ...flags } };
}

function wait(flags: Partial<WaitFlags> = {}): Command {
  const url = "http://localhost:15021/healthz/ready";
  return { kind: "wait", flags: { url, timeout: 60_000, requestTimeout: 500, period: 500, ...flags } };
}

const REQUEST_USAGE = "request needs a method and a path, as in: ambient request GET /config_dump";

describe("commands", () => {
  for (
    const [line, command] of [
      ["", run()],
      ["proxy", run()],
      ["proxy ztunnel", run()],
      ["proxy ztunnel --anything at all", run()],
      ["--mode=waypoint --config=mesh", run({ mode: "waypoint", config: "mesh" })],
      ["--gateway shop/waypoint --mode=waypoint", run({ mode: "waypoint", gateway: "shop/waypoint" })],
      ["--upgrade-from /run/up.sock", run({ upgradeFrom: "/run/up.sock" })],
      ["--mode=ztunnel", run()],
      ["--mode ztunnel --config mesh.yaml --ca-dir=/ca", run({ config: "mesh.yaml", caDir: "/ca" })],
      ["--config=a=b.yaml", run({ config: "a=b.yaml" })],
      ["version", { kind: "version", licenses: false }],
      ["--version", { kind: "version", licenses: false }],
      ["version --licenses", { kind: "version", licenses: true }],
      ["help", { kind: "help" }],
      ["--help", { kind: "help" }],
      ["explain --help", { kind: "help" }],
      ["--mode=ztunnel -h", { kind: "help" }],
      ["proxy --help", run()],
      ["schema", { kind: "schema" }],
      ["explain shop/web cart:80", explained({})],
      ["request get config_dump", request({ path: "/config_dump" })],
      ["request GET /config_dump?x=1", request({ path: "/config_dump?x=1" })],
      [
        "request POST /logging body --admin=[::1]:15000",
        request({
          method: "POST",
          path: "/logging",
          body: "body",
          admin: "[::1]:15000",
        }),
      ],
      ["wait", wait()],
      ["wait --timeoutSeconds 5", wait({ timeout: 5000 })],
      [
        "wait --requestTimeoutMillis=50 --periodMillis=70 --url=http://10.0.0.1:1/",
        wait({
          requestTimeout: 50,
          period: 70,
          url: "http://10.0.0.1:1/",
        }),
      ],
      ["explain --json shop/web cart:80", explained({ json: true })],
      ["explain shop/web --admin=10.0.0.1:15000 cart:80", explained({ admin: "10.0.0.1:15000" })],
      ["explain shop/web cart:80 --admin localhost:1", explained({ admin: "localhost:1" })],
      ["explain shop/web cart:80 --admin [::1]:15000", explained({ admin: "[::1]:15000" })],
    ] as const
  ) {
    test(`'${line}'`, () => expect(parseCommand(line.split(" ").filter(Boolean))).toEqual(command));
  }
});

describe("errors name what is wrong", () => {
  for (
    const [line, message] of [
      ["serve", "unknown command: serve"],
      ["--colour", "unknown flag: --colour"],
      ["--mode=ztunnel extra", "unknown command: extra"],
      ["--mode=sidecar", "--mode=sidecar: the mode must be ztunnel or waypoint"],
      ["--gateway shop/waypoint", "--gateway is for --mode=waypoint"],
      ["--mode=waypoint --upgrade-from /run/up.sock", "--upgrade-from is for --mode=ztunnel"],
      ["--config", "--config needs a value"],
      ["--ca-dir=", "--ca-dir needs a value"],
      ["--config --ca-dir X", "--config needs a value"],
      ["version --licences", "unknown argument of version: --licences"],
      ["version --licenses now", "unknown argument of version: now"],
      ["schema all", "unknown argument of schema: all"],
      ["explain", EXPLAIN_USAGE],
      ["explain shop/web", EXPLAIN_USAGE],
      ["explain shop/web cart:80 more", EXPLAIN_USAGE],
      ["explain shop/web cart:80 --admin", "--admin needs a value"],
      ...["15000", "::1:15000", "node-a", "node-a:", "node-a:0", "node-a:65536", "http://node-a:15000"].map((admin) =>
        [
          `explain shop/web cart:80 --admin=${admin}`,
          `--admin=${admin}: give HOST:PORT, as in 127.0.0.1:15000 or [::1]:15000`,
        ] as const
      ),
      ["request", REQUEST_USAGE],
      ["request GET", REQUEST_USAGE],
      ["request GET / a b", REQUEST_USAGE],
      ["request G=T /", "G=T is no method: ambient request GET /config_dump"],
      ["request GET / --admin", "--admin needs a value"],
      ["wait 60", "unknown flag of wait: 60"],
      ["wait --timeoutSeconds", "--timeoutSeconds needs a value"],
      ["wait --timeoutSeconds=0", "--timeoutSeconds=0: give a whole number from 1 to 10000000"],
      ["wait --periodMillis -5", "--periodMillis=-5: give a whole number from 1 to 10000000"],
      [
        "wait --url localhost:15021",
        "--url=localhost:15021: give an address such as http://localhost:15021/healthz/ready",
      ],
      ["explain shop/web cart:80 --yaml", "unknown flag of explain: --yaml"],
    ] as const
  ) {
    test(`'${line}'`, () => expect(parseCommand(line.split(" "))).toEqual({ kind: "error", message }));
  }
});

test("the help names every flag and command", () => {
  for (
    const word of [
      "--mode",
      "--config",
      "--ca-dir",
      "version",
      "--licenses",
      "explain SRC DST",
      "2: denied or refused",
      "AMBIENT_ENDPOINT_EJECTION",
      "schema",
      "proxy ztunnel",
      "proxy waypoint",
      "request METHOD PATH",
      "wait [--timeoutSeconds",
      "--gateway",
      "TRUST_DOMAIN",
      "POD_NAMESPACE",
      "SERVICE_ACCOUNT",
      "INSTANCE_IP",
      "AMBIENT_DETECTION_TIMEOUT",
      "AMBIENT_UNSUPPORTED_FILTER",
      "MINIMUM_DRAIN_DURATION",
      "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
    ]
  ) {
    expect(HELP).toContain(word);
  }
});
