import { describe, expect, test } from "bun:test";
import { nowMicroseconds, rfc3339 } from "../../src/telemetry/clock.ts";
import type { Field, Span } from "../../src/telemetry/mod.ts";
import { keptLogger } from "./lines.ts";

const FIELDS: readonly Field[] = [
  ["address", { display: "[::]:15008" }],
  ["component", "inbound"],
  ["transparent", true],
  ["count", 3],
];
const SPANS: readonly Span[] = [
  { name: "proxy", fields: [["wl", "shop/cart-1"]] },
  { name: "inbound", fields: [["id", { display: "4bf92f" }], ["peer", { display: "10.0.0.1:4242" }]] },
];

describe("plain lines", () => {
  test("scope without ztunnel::, tabs, fields by kind", () => {
    const { logger, lines } = keptLogger();
    logger.info("ztunnel::proxy::inbound", "listener established", FIELDS);
    expect(lines()).toEqual([
      'info\tproxy::inbound\tlistener established\taddress=[::]:15008 component="inbound" transparent=true count=3',
    ]);
  });

  test("a line without fields ends with a tab", () => {
    const { logger, lines } = keptLogger();
    logger.warn("access", "hello");
    expect(lines()).toEqual(["warn\taccess\thello\t"]);
  });

  test("spans stand behind the scope", () => {
    const { logger, lines } = keptLogger();
    logger.scope("ztunnel::proxy::inbound").error("boom", [["n", 1]], SPANS);
    expect(lines()).toEqual([
      'error\tproxy::inbound:proxy{wl="shop/cart-1"}:inbound{id=4bf92f peer=10.0.0.1:4242}\tboom\tn=1',
    ]);
  });

  test("text from outside cannot start a line or end its quotes", () => {
    const { logger, lines } = keptLogger();
    logger.info("access", "m", [["q", 'a"b\\c\nd\te\u0001'], ["d", { display: "x\r\ny" }]]);
    expect(lines()).toEqual(['info\taccess\tm\tq="a\\"b\\\\c\\nd\\te\\u{1}" d=x\\r\\ny']);
  });
});

/** NEL, CSI, line and paragraph separator: some readers end a line at them, a terminal obeys the second. */
const SEPARATORS = "a\u0085b\u009b2Jc\u2028d\u2029e\u007f";

test("nothing that some reader takes for the end of a line, or a terminal for a command", () => {
  const plain = keptLogger();
  plain.logger.info("access", SEPARATORS, [["q", SEPARATORS], ["d", { display: SEPARATORS }]]);
  const escaped = "a\\u{85}b\\u{9b}2Jc\\u{2028}d\\u{2029}e\\u{7f}";
  expect(plain.lines()).toEqual([`info\taccess\t${escaped}\tq="${escaped}" d=${escaped}`]);

  const json = keptLogger({ format: "json" });
  json.logger.info("access", SEPARATORS, [["q", SEPARATORS], ["d", { display: SEPARATORS }]]);
  const [line = ""] = json.lines();
  expect(line).not.toMatch(/[\u007f-\u009f\u2028\u2029]/);
  expect(JSON.parse(line)).toMatchObject({ message: SEPARATORS, q: SEPARATORS, d: SEPARATORS });
});

describe("json lines", () => {
  test("full scope, fields, then an object for each span", () => {
    const { logger, lines } = keptLogger({ format: "json" });
    logger.info("ztunnel::proxy::inbound", 'say "hi"', FIELDS, SPANS);
    const [line = ""] = lines();
    expect(line).toBe(
      '{"level":"info","scope":"ztunnel::proxy::inbound","message":"say \\"hi\\"","address":"[::]:15008",' +
        '"component":"inbound","transparent":true,"count":3,"proxy":{"wl":"shop/cart-1"},' +
        '"inbound":{"id":"4bf92f","peer":"10.0.0.1:4242"}}',
    );
    expect(() => JSON.parse(line)).not.toThrow();
  });
});

describe("levels", () => {
  test("the default lets info through, and nothing finer", () => {
    const { logger, lines } = keptLogger();
    const scope = logger.scope("ztunnel::xds");
    scope.debug("no");
    scope.info("yes");
    expect(lines()).toEqual(["info\txds\tyes\t"]);
    expect(logger.filter).toBe("hickory_server::server=off,info");
  });

  test("a scope's own directive counts for it and what lies below", () => {
    const { logger, lines } = keptLogger({ directives: "warn,ztunnel::proxy=debug" });
    logger.debug("ztunnel::proxy::outbound", "a");
    logger.info("ztunnel::xds", "b");
    logger.warn("ztunnel::xds", "c");
    logger.error("hickory_server::server", "d");
    expect(lines()).toEqual(["debug\tproxy::outbound\ta\t", "warn\txds\tc\t"]);
  });

  test("changes reach scopes that are held already, later ones win, and reset goes back", () => {
    const { logger, lines } = keptLogger({ directives: "warn" });
    const scope = logger.scope("ztunnel::xds");
    expect(logger.setLevels("debug", false)).toBeUndefined();
    scope.debug("1");
    expect(logger.setLevels("ztunnel::xds=error,access=trace", false)).toBeUndefined();
    expect(logger.filter).toBe("hickory_server::server=off,ztunnel::xds=error,access=trace,debug");
    scope.warn("2");
    expect(logger.setLevels("", true)).toBeUndefined();
    expect(logger.filter).toBe("hickory_server::server=off,warn");
    scope.warn("3");
    expect(lines()).toEqual(["debug\txds\t1\t", "warn\txds\t3\t"]);
  });

  test("what is refused changes nothing", () => {
    const { logger } = keptLogger();
    for (const bad of ["a=b=c", "x=loud", "=info"]) expect(logger.setLevels(bad, false)).toBeString();
    expect(logger.configure({ directives: "x=loud" })).toBe("'x=loud': 'loud' is not a level");
    expect(logger.filter).toBe("hickory_server::server=off,info");
  });

  test("no directive at all means nothing is written", () => {
    const { logger, lines } = keptLogger({ directives: "ztunnel::xds=info" });
    logger.error("access", "unheard");
    logger.info("ztunnel::xds", "heard");
    expect(lines()).toEqual(["info\txds\theard\t"]);
  });
});

describe("time stamps", () => {
  test("RFC 3339 with microseconds", () => {
    expect(rfc3339(1_795_250_062_000_007)).toBe("2026-11-21T08:34:22.000007Z");
    expect(rfc3339(1_795_250_062_999_999)).toBe("2026-11-21T08:34:22.999999Z");
    expect(rfc3339(0)).toBe("1970-01-01T00:00:00.000000Z");
  });

  test("agree with the wall clock and do not go back", () => {
    let last = 0;
    for (let i = 0; i < 1000; i++) {
      const before = Date.now();
      const now = nowMicroseconds();
      expect(now / 1000).toBeGreaterThanOrEqual(before);
      expect(now / 1000).toBeLessThan(Date.now() + 1);
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });
});
