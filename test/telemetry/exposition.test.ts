import { describe, expect, test } from "bun:test";
import { exposition, MetricRegistry } from "../../src/telemetry/mod.ts";
import { parseExposition } from "./exposition.ts";

function text(registry: MetricRegistry): string {
  return [...exposition(registry)].join("");
}

describe("OpenMetrics text", () => {
  test("a registry without series is only the end", () => {
    const registry = new MetricRegistry();
    registry.family({ name: "empty", type: "counter", help: "Nothing." });
    expect(text(registry)).toBe("# EOF\n");
  });

  test("counters, gauges, units and labels, byte for byte", () => {
    const registry = new MetricRegistry();
    const opened = registry.family({ name: "opened", type: "counter", help: "Opened.", labelNames: ["a", "b"] });
    opened.labels(["1", "2"]).value += 3;
    registry.family({ name: "xds_message_bytes", type: "counter", help: "Size.", unit: "bytes" }).labels().value = 1.5;
    registry.family({ name: "limit", type: "gauge", help: "Limit." }).labels().value = Infinity;
    expect(text(registry)).toBe(
      "# HELP opened Opened.\n# TYPE opened counter\n" +
        'opened_total{a="1",b="2"} 3\n' +
        "# HELP xds_message_bytes Size.\n# TYPE xds_message_bytes counter\n# UNIT xds_message_bytes bytes\n" +
        "xds_message_bytes_total 1.5\n" +
        "# HELP limit Limit.\n# TYPE limit gauge\nlimit +Inf\n# EOF\n",
    );
  });

  test("values with every special character come back as they were", () => {
    const registry = new MetricRegistry();
    const hostile = 'back\\slash "quoted"\nnew line {x="y"} , =';
    registry.family({ name: "m", type: "gauge", help: `He said "no"\\\n.`, labelNames: ["v"] }).labels([hostile]);
    const family = parseExposition(text(registry)).get("m");
    expect(family?.help).toBe(`He said "no"\\\n.`);
    expect(family?.samples[0]?.labels.get("v")).toBe(hostile);
  });

  test("the same labels are the same series", () => {
    const family = new MetricRegistry().family({ name: "m", type: "counter", help: "M.", labelNames: ["a"] });
    expect(family.labels(["x"])).toBe(family.labels(["x"]));
    expect(family.labels(["x"])).not.toBe(family.labels(["y"]));
  });

  test("values looked up at the scrape", () => {
    const registry = new MetricRegistry();
    const gauge = registry.family({ name: "fds", type: "gauge", help: "F." }).labels();
    let now = 7;
    registry.beforeScrape(() => void (gauge.value = now));
    expect(text(registry)).toContain("\nfds 7\n");
    now = 8;
    expect(text(registry)).toContain("\nfds 8\n");
  });

  test("two families of one name, and labels that do not fit, are bugs", () => {
    const registry = new MetricRegistry();
    const family = registry.family({ name: "m", type: "gauge", help: "M.", labelNames: ["a"] });
    expect(() => registry.family({ name: "m", type: "gauge", help: "M." })).toThrow("registered twice");
    expect(() => family.labels([])).toThrow("1 label names, 0 values");
  });

  test("many series come in pieces that together are valid", () => {
    const registry = new MetricRegistry();
    const family = registry.family({ name: "m", type: "counter", help: "M.", labelNames: ["n"] });
    for (let n = 0; n < 20_000; n++) family.labels([String(n)]).value = n;
    const pieces = [...exposition(registry)];
    expect(pieces.length).toBeGreaterThan(2);
    expect(parseExposition(pieces.join("")).get("m")?.samples.length).toBe(20_000);
  });
});

describe("the strict parser refuses", () => {
  const head = "# HELP m M.\n# TYPE m counter\n";
  for (
    const [what, bad] of [
      ["no end", `${head}m_total 1\n`],
      ["something behind the end", `${head}m_total 1\n# EOF\nm_total 2\n# EOF\n`],
      ["a counter without _total", `${head}m 1\n# EOF\n`],
      ["a negative counter", `${head}m_total -1\n# EOF\n`],
      ["a family without samples", `${head}# EOF\n`],
      ["a series twice", `${head}m_total{a="1"} 1\nm_total{a="1"} 2\n# EOF\n`],
      ["a family twice", `${head}m_total 1\n${head}m_total 1\n# EOF\n`],
      ["a sample before its type", "m_total 1\n# EOF\n"],
      ["a raw quote in a value", `${head}m_total{a="x"y"} 1\n# EOF\n`],
      ["an unknown escape", `${head}m_total{a="\\t"} 1\n# EOF\n`],
      ["a comma at the end of the labels", `${head}m_total{a="1",} 1\n# EOF\n`],
      ["two spaces", `${head}m_total  1\n# EOF\n`],
      ["a unit that the name does not end with", `${head}# UNIT m bytes\nm_total 1\n# EOF\n`],
    ] as const
  ) {
    test(what, () => void expect(() => parseExposition(bad)).toThrow());
  }
});
