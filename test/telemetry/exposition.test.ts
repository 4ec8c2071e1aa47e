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

  test("histograms, byte for byte", () => {
    const registry = new MetricRegistry();
    const family = registry.histogram({
      name: "size_bytes",
      help: "S.",
      unit: "bytes",
      buckets: [0.5, 10],
      labelNames: ["a"],
    });
    const histogram = family.labels(["x"]);
    for (const value of [0, 0.5, 0.6, 10, 11, 1e6]) histogram.observe(value);
    family.labels(["y"]);
    expect(text(registry)).toBe(
      "# HELP size_bytes S.\n# TYPE size_bytes histogram\n# UNIT size_bytes bytes\n" +
        'size_bytes_bucket{a="x",le="0.5"} 2\nsize_bytes_bucket{a="x",le="10"} 4\nsize_bytes_bucket{a="x",le="+Inf"} 6\n' +
        'size_bytes_sum{a="x"} 1000022.1\nsize_bytes_count{a="x"} 6\n' +
        'size_bytes_bucket{a="y",le="0.5"} 0\nsize_bytes_bucket{a="y",le="10"} 0\nsize_bytes_bucket{a="y",le="+Inf"} 0\n' +
        'size_bytes_sum{a="y"} 0\nsize_bytes_count{a="y"} 0\n# EOF\n',
    );
    expect(() => parseExposition(text(registry))).not.toThrow();
  });

  test("a histogram without labels", () => {
    const registry = new MetricRegistry();
    registry.histogram({ name: "h", help: "H.", buckets: [1] }).labels().observe(3);
    expect(text(registry)).toBe(
      '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 0\nh_bucket{le="+Inf"} 1\nh_sum 3\nh_count 1\n# EOF\n',
    );
  });

  test("buckets that do not ascend are bugs, and names are shared with the other families", () => {
    const registry = new MetricRegistry();
    for (const buckets of [[1, 1], [2, 1], [Infinity], [NaN]]) {
      expect(() => registry.histogram({ name: "h", help: "H.", buckets })).toThrow("do not ascend");
    }
    registry.family({ name: "m", type: "gauge", help: "M." });
    expect(() => registry.histogram({ name: "m", help: "M.", buckets: [1] })).toThrow("registered twice");
  });

  test("whatever is counted comes back from the text as it was", () => {
    const next = random(11);
    for (let round = 0; round < 50; round++) {
      const registry = new MetricRegistry();
      const buckets = [0.5, 1, 5, 100, 3_600_000].filter(() => next() < 0.7);
      const labelNames = ["a", "b"].slice(0, Math.floor(next() * 3));
      const histogram = registry.histogram({ name: "h", help: "H.", buckets, labelNames });
      const counter = registry.family({ name: "c", type: "counter", help: "C.", labelNames });
      const expected = new Map<string, number[]>();
      for (let n = Math.floor(next() * 200); n > 0; n--) {
        const values = labelNames.map(() => ['"', "\\", "\n", "x", "{}", ""][Math.floor(next() * 6)] as string);
        const value = next() < 0.2 ? Math.floor(next() * 7e6) : Math.round(next() * 800) / 4;
        histogram.labels(values).observe(value);
        counter.labels(values).value += value;
        const key = JSON.stringify(values);
        expected.set(key, [...expected.get(key) ?? [], value]);
      }
      const families = parseExposition(text(registry));
      const samplesOf = (family: string, name: string) =>
        new Map(
          (families.get(family)?.samples ?? []).filter((sample) => sample.name === name).map(({ labels, value }) => [
            JSON.stringify([labelNames.map((label) => labels.get(label)), labels.get("le")]),
            value,
          ]),
        );
      const [totals, counts, sums, cumulated] = [
        samplesOf("c", "c_total"),
        samplesOf("h", "h_count"),
        samplesOf("h", "h_sum"),
        samplesOf("h", "h_bucket"),
      ];
      expect(counts.size).toBe(expected.size);
      for (const [key, values] of expected) {
        const series = JSON.stringify([JSON.parse(key), undefined]);
        const sum = values.reduce((a, b) => a + b, 0);
        expect(totals.get(series)).toBe(sum);
        expect(sums.get(series)).toBe(sum);
        expect(counts.get(series)).toBe(values.length);
        for (const bound of buckets) {
          const bucket = JSON.stringify([JSON.parse(key), String(bound)]);
          expect(cumulated.get(bucket)).toBe(values.filter((value) => value <= bound).length);
        }
      }
    }
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

/** Park and Miller. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = state * 48271 % 2147483647) / 2147483647;
}

const HISTOGRAM = "# HELP h H.\n# TYPE h histogram\n";

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
      ["buckets that do not ascend", `${HISTOGRAM}h_bucket{le="2"} 1\nh_bucket{le="1"} 1\n# EOF\n`],
      ["a bucket with less", `${HISTOGRAM}h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 0\nh_sum 1\nh_count 1\n# EOF\n`],
      ["a count that differs", `${HISTOGRAM}h_bucket{le="+Inf"} 1\nh_sum 1\nh_count 2\n# EOF\n`],
      ["no last bucket", `${HISTOGRAM}h_bucket{le="1"} 1\nh_sum 1\nh_count 1\n# EOF\n`],
      ["no count", `${HISTOGRAM}h_bucket{le="+Inf"} 1\nh_sum 1\n# EOF\n`],
      ["a bucket without bound", `${HISTOGRAM}h_bucket 1\nh_sum 1\nh_count 1\n# EOF\n`],
      ["an empty line", `${head}\nm_total 1\n# EOF\n`],
      ["a comment of one's own", `${head}# by hand\nm_total 1\n# EOF\n`],
      ["a timestamp", `${head}m_total 1 1795250062\n# EOF\n`],
      ["an exemplar", `${head}m_total 1 # {trace_id="x"} 1\n# EOF\n`],
      ["carriage returns", `${head.replaceAll("\n", "\r\n")}m_total 1\r\n# EOF\r\n`],
      ["a raw quote in the help", '# HELP m Say "m".\n# TYPE m counter\nm_total 1\n# EOF\n'],
      ["help twice", `# HELP m M.\n${head}m_total 1\n# EOF\n`],
      ["type before help", "# TYPE m counter\n# HELP m M.\nm_total 1\n# EOF\n"],
      ["unit behind a sample", "# HELP m_s M.\n# TYPE m_s counter\nm_s_total 1\n# UNIT m_s s\n# EOF\n"],
      ["an unknown type", "# HELP m M.\n# TYPE m thing\nm 1\n# EOF\n"],
      ["a family whose name ends with _total", "# HELP m_total M.\n# TYPE m_total counter\nm_total 1\n# EOF\n"],
      ["a gauge with a suffix", "# HELP m M.\n# TYPE m gauge\nm_total 1\n# EOF\n"],
      ["a gauge of a counter's name", `${head}m_total 1\n# HELP m_total M.\n# TYPE m_total gauge\nm_total 1\n# EOF\n`],
      ["a counter that is not a number", `${head}m_total NaN\n# EOF\n`],
      ["a number of JavaScript", `${head}m_total Infinity\n# EOF\n`],
      ["a reserved label", `${head}m_total{__name__="m"} 1\n# EOF\n`],
      ["a label twice", `${head}m_total{a="1",a="2"} 1\n# EOF\n`],
      [
        "the same series with its labels in another order",
        `${head}m_total{a="1",b="1"} 1\nm_total{b="1",a="1"} 1\n# EOF\n`,
      ],
      ["le outside of a histogram", `${head}m_total{le="1"} 1\n# EOF\n`],
      ["families that are mixed", `${head}m_total 1\n# HELP n N.\n# TYPE n gauge\nn 1\nm_total{a="1"} 1\n# EOF\n`],
      ["half a bucket", `${HISTOGRAM}h_bucket{le="+Inf"} 0.5\nh_sum 1\nh_count 0.5\n# EOF\n`],
      [
        "a bucket's name with a unit that is not the family's",
        `${HISTOGRAM}# UNIT h seconds\nh_bucket{le="+Inf"} 1\n# EOF\n`,
      ],
      ["a unit that the name does not end with", `${head}# UNIT m bytes\nm_total 1\n# EOF\n`],
    ] as const
  ) {
    test(what, () => void expect(() => parseExposition(bad)).toThrow());
  }
});
