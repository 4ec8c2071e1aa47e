import { expect, test } from "bun:test";
import { type Drainable, drainAll } from "../../src/ztunnel/drain.ts";
import { drainFields, type HeldConnection, type HoldingPod } from "../../src/ztunnel/drain_report.ts";
import { address } from "../mesh/fixtures.ts";
import { keptLogger } from "../telemetry/lines.ts";

const NOW = { monotonic: 100_000, wall: Date.UTC(2026, 0, 1) };
const names: Record<string, string> = { "10.0.0.1": "default/client", "10.0.0.2": "default/server" };
const nameOf = (ip: string) => names[ip];

function held(pod: string, startedAt: number, originalDst: string | null = "10.0.0.2:80"): HeldConnection {
  const summary = {
    src: address("10.0.0.1:4000"),
    originalDst,
    actualDst: address("10.0.0.2:80"),
    protocol: "HBONE",
  } as const;
  return { pod, direction: "outbound", summary, startedAt };
}

function holding(pod: string, connections: number, waiting = 0, oldest: readonly HeldConnection[] = []): HoldingPod {
  return { pod, connections, waiting, questions: 0, tunnels: 0, oldest };
}

test("says which pods hold on, how many connections, and the oldest: who to whom, since when", () => {
  const pods = [
    holding("a/idle", 0),
    holding("a/few", 1, 2, [held("a/few", 99_000, null)]),
    holding("a/many", 5, 0, [held("a/many", 40_000, "10.96.0.1:80"), held("a/many", 99_500), held("a/many", 99_600)]),
  ];
  const fields = Object.fromEntries(drainFields(pods, nameOf, NOW));
  expect(fields["connections"]).toBe(8);
  expect(fields["pods"]).toBe("a/many: 5, a/few: 1 and 2 not let in yet");
  const way = "outbound HBONE 10.0.0.1:4000 (default/client) -> 10.0.0.2:80 (default/server)";
  expect(`${fields["oldest"]}`.split("; ")).toEqual([
    `a/many ${way} for 10.96.0.1:80 since 2025-12-31T23:59:00.000Z (60 s)`,
    `a/few ${way} since 2025-12-31T23:59:59.000Z (1 s)`,
    `a/many ${way} since 2025-12-31T23:59:59.500Z (1 s)`,
  ]);
});

test("says what holds a pod that has no connection", () => {
  const pods = [
    { ...holding("a/asks", 0), questions: 2 },
    { ...holding("a/ends", 0), tunnels: 1 },
    { ...holding("a/both", 1), questions: 1, tunnels: 1 },
  ];
  expect(Object.fromEntries(drainFields(pods, nameOf, NOW))).toEqual({
    connections: 1,
    pods: "a/both: 1 and 1 to be answered by DNS, a/asks: 0 and 2 to be answered by DNS, " +
      "a/ends: 0 and tunnels that have not ended: 1",
  });
});

test("names some pods and counts the others", () => {
  const fields = Object.fromEntries(drainFields(
    Array.from({ length: 25 }, (_, i) => holding(`a/p${i}`, 100 - i)),
    nameOf,
    NOW,
  ));
  expect(`${fields["pods"]}`).toStartWith("a/p0: 100, a/p1: 99, ");
  expect(`${fields["pods"]}`).toEndWith("a/p9: 91, and 15 more");
  expect("oldest" in fields).toBe(false);
});

class Proxy implements Drainable {
  readonly cut: string[] = [];
  readonly #drained: Promise<void>;
  readonly holding: HoldingPod;

  constructor(name: string, drained: Promise<void>) {
    this.#drained = drained;
    this.holding = holding(name, 1, 0, [held(name, performance.now())]);
  }

  drain(): Promise<void> {
    return this.#drained;
  }

  stop(reason: string): void {
    this.cut.push(reason);
  }
}

test("ends with the last proxy, and cuts nothing then", async () => {
  const { logger, lines } = keptLogger();
  const proxies = [new Proxy("a/x", Promise.resolve()), new Proxy("a/y", Promise.resolve())];
  await drainAll(proxies, { deadlineMs: 60_000, log: logger.scope("app"), nameOf });
  expect(proxies.flatMap(({ cut }) => cut)).toEqual([]);
  expect(lines().map((line) => line.split("\t").at(-1)?.split(" pods=")[0])).toHaveLength(1);
});

test("at the deadline it says who is left, and cuts", async () => {
  const { logger, lines } = keptLogger();
  const proxy = new Proxy("a/x", new Promise(() => {}));
  await drainAll([proxy], { deadlineMs: 20, log: logger.scope("app"), nameOf });
  expect(proxy.cut).toEqual(["connection closed due to connection drain"]);
  const [began, ended] = lines();
  expect(began).toContain("shutdown: draining");
  expect(ended).toContain("drain duration expired with pending connections, forcefully shutting down");
  expect(ended).toContain("a/x: 1");
  expect(ended).toContain("10.0.0.1:4000 (default/client) -> 10.0.0.2:80 (default/server)");
});
