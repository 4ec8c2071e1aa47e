import { expect, test } from "bun:test";
import { Logger } from "../../../src/telemetry/mod.ts";
import { DnsReports } from "../../../src/ztunnel/dns/mod.ts";

const FIRST = { ip: "10.96.0.10", port: 53 };
const SECOND = { ip: "fd00::53", port: 53 };

function reportsOf() {
  const lines: string[] = [];
  const logger = new Logger({ write: (text: string) => void lines.push(text.trimEnd()), flush() {} });
  const clock = { ms: 0 };
  const reports = new DnsReports(logger.scope("ztunnel::dns::server"), () => clock.ms);
  /** What was written since the last time: level and what follows the scope. */
  const told = () => lines.splice(0).map((line) => line.split("\t").filter((_, i) => i === 1 || i > 2).join(" "));
  const fail = (server = FIRST, reason = "request timed out", protocol: "udp" | "tcp" = "udp") =>
    reports.unanswered(server, protocol, reason, reports.asking(server, protocol));
  return { reports, clock, told, fail };
}

test("away, still away a minute later, back", () => {
  const { reports, clock, told, fail } = reportsOf();
  for (let i = 0; i < 1000; i++) fail();
  const away = 'warn name server does not answer server=10.96.0.10:53 protocol="udp" error="request timed out"';
  expect(told()).toEqual([away]);
  clock.ms = 59_999;
  fail();
  expect(told()).toEqual([]);
  clock.ms = 60_000;
  fail();
  fail();
  expect(told()).toEqual([away]);
  reports.answered(FIRST, "udp");
  reports.answered(FIRST, "udp");
  expect(told()).toEqual(['info name server answers again server=10.96.0.10:53 protocol="udp"']);
});

test("one that comes and goes has a pair of lines a minute", () => {
  const { reports, clock, told, fail } = reportsOf();
  for (let second = 0; second < 180; second++) {
    clock.ms = second * 1000;
    fail();
    reports.answered(FIRST, "udp");
  }
  expect(told().length).toBe(6);
});

test("one that answered others meanwhile is there", () => {
  const { reports, told, fail } = reportsOf();
  const asking = reports.asking(FIRST, "udp");
  reports.answered(FIRST, "udp");
  reports.unanswered(FIRST, "udp", "request timed out", asking);
  expect(told()).toEqual([]);
  fail();
  expect(told().length).toBe(1);
});

test("each server for itself, and UDP and TCP", () => {
  const { reports, told, fail } = reportsOf();
  fail();
  fail(SECOND, "Connection refused (os error 111)");
  fail(SECOND, "deadline has elapsed", "tcp");
  reports.answered(SECOND, "udp");
  expect(told()).toEqual([
    'warn name server does not answer server=10.96.0.10:53 protocol="udp" error="request timed out"',
    'warn name server does not answer server=[fd00::53]:53 protocol="udp" error="Connection refused (os error 111)"',
    'warn name server does not answer server=[fd00::53]:53 protocol="tcp" error="deadline has elapsed"',
    'info name server answers again server=[fd00::53]:53 protocol="udp"',
  ]);
});

test("pods without a record: one line a minute for all of them, with how many questions it is about", () => {
  const { reports, clock, told } = reportsOf();
  const info = (name: string) => ({ name, namespace: "shop", serviceAccount: "robot" });
  for (const name of ["cart", "cart", "pay"]) reports.unknownWorkload(info(name));
  clock.ms = 60_000;
  reports.unknownWorkload(info("pay"));
  const line = (name: string, queries: number) =>
    `warn names cannot be resolved for a workload without a record src.workload="${name}" src.namespace="shop" ` +
    `error="failed to fetch information about local workload: robot.shop (${name})" queries=${queries}`;
  expect(told()).toEqual([line("cart", 1), line("pay", 3)]);
});
