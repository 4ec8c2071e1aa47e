/** `proxy …` as the containers of Istio's charts and of istiod's waypoint template start it. */
import { describe, expect, test } from "bun:test";
import { parseCommand, type RunFlags } from "../../src/cli/mod.ts";
import { LogFilter } from "../../src/telemetry/log_filter.ts";

/** What istiod renders for a Gateway of class istio-waypoint, with every part that it renders on demand. */
const RENDERED = [
  ...["proxy", "waypoint"],
  ...["--domain", "shop.svc.cluster.local"],
  ...["--serviceCluster", "waypoint.shop"],
  ...["--proxyLogLevel", "warning"],
  ...["--proxyComponentLogLevel", "misc:error"],
  ...["--log_output_level", "default:info"],
  "--log_as_json",
  "--outlierLogPath=/dev/stdout",
];

function runOf(args: readonly string[]): RunFlags {
  const command = parseCommand(["proxy", ...args]);
  if (command.kind !== "run") throw new Error(JSON.stringify(command));
  return command.flags;
}

function errorOf(args: readonly string[]): string {
  const command = parseCommand(["proxy", ...args]);
  if (command.kind !== "error") throw new Error(JSON.stringify(command));
  return command.message;
}

test("what istiod renders is known to the last flag", () => {
  expect(runOf(RENDERED.slice(1))).toEqual({
    mode: "waypoint",
    config: undefined,
    caDir: undefined,
    gateway: undefined,
    domain: "shop.svc.cluster.local",
    serviceCluster: "waypoint.shop",
    logFilter: "info",
    logFormat: "json",
  });
});

test("pilot-agent's other flags are passed over in silence, in both ways of writing them", () => {
  const names = [
    ...["--concurrency", "--templateFile", "--tokenManagerPlugin", "--stsPort", "--log_target", "--log_caller"],
    ...["--log_stacktrace_level", "--vklog", "--outlierLogPath"],
  ];
  for (const form of [names.flatMap((name) => [name, "2"]), names.map((name) => `${name}=2`), ["--profiling"]]) {
    const flags = runOf(["waypoint", ...form, "--meshConfig", "/mesh"]);
    expect([flags.warnings, flags.meshConfig]).toEqual([undefined, "/mesh"]);
  }
});

test("what nobody has heard of is told and no reason to stop", () => {
  const flags = runOf(["waypoint", "--new", "value", "--newer=5", "-x", "--newest", "--domain=d", "what"]);
  expect(flags.domain).toBe("d");
  expect(flags.warnings).toEqual([
    "unknown flag of proxy: --new",
    "unknown flag of proxy: --newer",
    "unknown flag of proxy: -x",
    "unknown flag of proxy: --newest",
    "unknown argument of proxy: what",
  ]);
});

test("our own flags stand beside pilot-agent's", () => {
  const flags = runOf(["waypoint", "--config", "/etc/ambient", "--gateway=shop/waypoint", "--ca-dir", "/ca"]);
  expect([flags.config, flags.gateway, flags.caDir]).toEqual(["/etc/ambient", "shop/waypoint", "/ca"]);
});

test("a template that has nothing to say leaves a value empty", () => {
  const flags = runOf(["waypoint", "--proxyLogLevel=", "--log_output_level", "", "--domain="]);
  expect([flags.logFilter, flags.domain, flags.warnings]).toEqual([undefined, undefined, undefined]);
});

test("of a ztunnel nothing behind the role is looked at, as in the original", () => {
  for (const args of [[], ["ztunnel"], ["ztunnel", "--config", "x"], ["--log_as_json"]]) {
    expect(runOf(args)).toEqual({ mode: "ztunnel", config: undefined, caDir: undefined, gateway: undefined });
  }
});

test("roles that are not ours are not played", () => {
  expect(errorOf(["router", "--domain", "x"])).toBe("proxy router: this is a ztunnel or a waypoint, not a router");
  expect(errorOf(["sidecar"])).toBe("proxy sidecar: this is a ztunnel or a waypoint, not a sidecar");
});

test("a flag without its value is an error", () => {
  expect(errorOf(["waypoint", "--domain"])).toBe("--domain needs a value");
  expect(errorOf(["waypoint", "--config="])).toBe("--config needs a value");
});

describe("log levels", () => {
  for (
    const [line, filter] of [
      ["", undefined],
      ["--log_output_level warn", "warn"],
      ["--log_output_level default:debug,ads:warn,validation:debug", "debug,xds=warn"],
      ["--log_output_level xdsproxy:none,all:fatal", "error,xds=off"],
      ["--log_output_level dns:debug", "info,dns=debug"],
      ["--proxyLogLevel warning", undefined],
      ["--proxyLogLevel debug", "info,waypoint=debug"],
      ["--proxyLogLevel off --log_output_level info", "info,waypoint=off"],
      ["--proxyComponentLogLevel misc:error", undefined],
      [
        "--proxyLogLevel critical --proxyComponentLogLevel misc:error,rbac:debug",
        "info,waypoint=error,waypoint::policy=debug",
      ],
    ] as const
  ) {
    test(`'${line}'`, () => {
      const { logFilter } = runOf(["waypoint", ...line.split(" ").filter(Boolean)]);
      expect(logFilter).toBe(filter as string);
      expect(LogFilter.parse(logFilter ?? "info")).toBeInstanceOf(LogFilter);
    });
  }

  for (
    const [line, error] of [
      [
        "--log_output_level default:loud",
        '--log_output_level=default:loud: "loud" is no level (none, fatal, error, warn, info, debug)',
      ],
      [
        "--proxyLogLevel loud",
        '--proxyLogLevel=loud: "loud" is no level (off, critical, error, warning, warn, info, debug, trace)',
      ],
      [
        "--proxyComponentLogLevel rbac",
        '--proxyComponentLogLevel=rbac: "rbac" is no level (off, critical, error, warning, warn, info, debug, trace)',
      ],
    ] as const
  ) {
    test(`'${line}'`, () => expect(errorOf(["waypoint", ...line.split(" ")])).toBe(error));
  }
});
