import { expect, test } from "bun:test";
import { MetricRegistry, registerHeldMetrics } from "../../src/telemetry/mod.ts";
import { listenTcp } from "../../src/linux/mod.ts";
import { acceptHandlers, adoptListener } from "../../src/net/tcp.ts";
import type { TcpEndpoint } from "../../src/net/tcp_endpoint.ts";
import { Hold } from "../../src/ztunnel/hold.ts";

function connection() {
  return {
    aborted: 0,
    abort() {
      this.aborted++;
    },
  };
}

function holding() {
  const metrics = registerHeldMetrics(new MetricRegistry());
  return { metrics, hold: new Hold(metrics) };
}

test("a connection waits and goes on, counted", () => {
  const { metrics, hold } = holding();
  const waiting = connection();
  expect(hold.take(waiting, "certificate")).toBe("held");
  expect([metrics.waiting.certificate.value, metrics.waiting.workload.value]).toEqual([1, 0]);
  expect(hold.release(waiting)).toBe(true);
  expect(hold.release(waiting)).toBe(false);
  expect([metrics.waiting.certificate.value, metrics.total.certificate.value, waiting.aborted]).toEqual([0, 1, 0]);
});

test("no more than 1024 wait; the others are told so and counted", () => {
  const { metrics, hold } = holding();
  for (let i = 0; i < 1024; i++) expect(hold.take(connection(), "workload")).toBe("held");
  const late = connection();
  expect(hold.take(late, "workload")).toBe("full");
  expect([hold.size, metrics.refused.workload.value, late.aborted]).toEqual([1024, 1, 0]);
});

test("connections that left keep no place from others, and do not go on", () => {
  const { metrics, hold } = holding();
  const left = Array.from({ length: 1000 }, () => ({ ...connection(), closed: false }));
  for (const one of left) hold.take(one, "resource");
  for (let i = 0; i < 24; i++) hold.take(connection(), "certificate");
  for (const one of left) one.closed = true;
  expect(hold.size).toBe(1024);
  expect(hold.take(connection(), "resource")).toBe("held");
  expect([hold.size, metrics.waiting.resource.value, metrics.waiting.certificate.value]).toEqual([25, 1, 24]);
  expect(hold.release(left[0]!)).toBe(false);
  expect(metrics.waiting.resource.value).toBe(1);
});

test("one that has said all, and has left most likely, gives way to a new one", () => {
  const { metrics, hold } = holding();
  const silent = Array.from({ length: 2 }, () => ({ ...connection(), halfClosed: true }));
  for (const one of silent) hold.take(one, "resource");
  for (let i = 0; i < 1022; i++) hold.take({ ...connection(), halfClosed: false }, "certificate");
  expect(silent.map(({ aborted }) => aborted)).toEqual([0, 0]);
  expect(hold.take(connection(), "certificate")).toBe("held");
  expect([silent.map(({ aborted }) => aborted), hold.release(silent[0]!)]).toEqual([[1, 0], false]);
  expect([metrics.refused.resource.value, metrics.waiting.resource.value, hold.size]).toEqual([1, 1, 1024]);
  expect(hold.take(connection(), "certificate")).toBe("held");
  expect(hold.take(connection(), "certificate")).toBe("full");
});

test("clients that leave while they are held make room for others", async () => {
  const accepted: TcpEndpoint[] = [];
  let came = () => {};
  const listening = listenTcp({
    address: { ip: "127.0.0.1", port: 0 },
    backlog: 16,
    reusePort: false,
    reuseAddress: true,
    noDelay: true,
  });
  const handlers = acceptHandlers((endpoint) => (accepted.push(endpoint), came()), () => {});
  const proxy = adoptListener(listening.fd, handlers);
  const arrived = () => new Promise<void>((resolve) => came = resolve);
  for (const leave of ["end", "terminate"] as const) {
    const { hold } = holding();
    const next = arrived();
    const client = await Bun.connect({
      hostname: "127.0.0.1",
      port: listening.address.port,
      socket: { data() {}, error() {} },
    });
    await next;
    const endpoint = accepted.at(-1)!;
    hold.take(endpoint, "resource");
    while (hold.size < 1024) hold.take(connection(), "certificate");
    expect(hold.take(connection(), "certificate")).toBe("full");
    client[leave]();
    while (!endpoint.closed && !endpoint.halfClosed) await new Promise(setImmediate);
    expect(hold.take(connection(), "certificate")).toBe("held");
    hold.close();
  }
  proxy.stop(true);
});

test("when the workload goes, what waits is aborted and never goes on; later ones are aborted at once", () => {
  const { metrics, hold } = holding();
  const waiting = connection();
  hold.take(waiting, "workload");
  hold.close();
  expect([waiting.aborted, hold.release(waiting), metrics.waiting.workload.value]).toEqual([1, false, 0]);
  const late = connection();
  expect(hold.take(late, "workload")).toBe("gone");
  expect([late.aborted, hold.size]).toEqual([1, 0]);
});

test("who waits until nothing is held goes on when the last one has", async () => {
  const { hold } = holding();
  await hold.whenEmpty();
  const [first, second] = [connection(), connection()];
  hold.take(first, "certificate");
  hold.take(second, "name");
  let empty = false;
  const waiting = hold.whenEmpty().then(() => {
    empty = true;
  });
  hold.release(first);
  await Promise.resolve();
  expect(empty).toBe(false);
  hold.release(second);
  await waiting;
  hold.take(connection(), "workload");
  const closing = hold.whenEmpty();
  hold.close();
  await closing;
});
