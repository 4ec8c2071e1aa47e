import { beforeEach, describe, expect, test } from "bun:test";
import { type NamespaceHandle, type ZdsEffect, type ZdsEvent, ZdsState } from "../../../src/ztunnel/zds/state.ts";

let state: ZdsState;
beforeEach(() => {
  state = new ZdsState();
});

const info = { name: "web", namespace: "default", serviceAccount: "web" };
const space = (fd: number, inode = fd, device = 4): NamespaceHandle => ({
  fd,
  identity: { inode: BigInt(inode), device: BigInt(device) },
});
const add = (uid: string, namespace: NamespaceHandle): ZdsEvent => ({ kind: "add", uid, info, namespace });

/** Effects in one line each: what the tables compare. */
function line(effect: ZdsEffect): string {
  switch (effect.kind) {
    case "start":
      return `start ${effect.workload.uid} fd ${effect.workload.namespace.fd}`;
    case "stop":
      return `stop ${effect.uid}`;
    case "ack":
      return effect.error === undefined ? "ack" : `nack ${effect.error}`;
    case "close-fd":
      return `close-fd ${effect.fd}`;
    case "arm-retry":
      return `arm-retry ${effect.delay}`;
    case "readiness":
      return effect.pending ? "not ready" : "ready";
    case "fatal":
      return `fatal ${effect.message}`;
    default:
      return effect.kind;
  }
}

const feed = (...events: ZdsEvent[]): string[] => events.flatMap((event) => state.handle(event)).map(line);
const ok: ZdsEvent = { kind: "started" };
const failed = (error = "no"): ZdsEvent => ({ kind: "started", error });
const connected: ZdsEvent = { kind: "connected" };
const disconnected: ZdsEvent = { kind: "disconnected" };
const snapshot: ZdsEvent = { kind: "snapshot-sent" };
const retry: ZdsEvent = { kind: "retry" };
const keep = (uid: string): ZdsEvent => ({ kind: "keep", uid });
const del = (uid: string): ZdsEvent => ({ kind: "del", uid });

/** A connection whose snapshot held these pods, all running. */
function synchronised(...uids: string[]): void {
  feed(connected, ...uids.flatMap((uid, i) => [add(uid, space(100 + i)), ok]), snapshot);
}
const running = () => [...state.running.keys()];
const pending = () => [...state.pending.keys()];

describe("add", () => {
  test("starts a proxy and is acknowledged when it runs", () => {
    feed(connected);
    expect(feed(add("a", space(10)))).toEqual(["start a fd 10"]);
    expect(state.starting).toBe(true);
    expect(feed(ok)).toEqual(["ack"]);
    expect(running()).toEqual(["a"]);
  });

  test("again with the same namespace is success, and the second descriptor is closed", () => {
    synchronised("a");
    expect(feed(add("a", space(11, 100)))).toEqual(["close-fd 11", "ack"]);
  });

  test("with another namespace stops the old proxy at once and starts a new one", () => {
    synchronised("a");
    expect(feed(add("a", space(11, 500)), ok)).toEqual(["stop a", "start a fd 11", "ack"]);
    expect(feed(add("a", space(12, 500, 9)), ok)).toEqual(["stop a", "start a fd 12", "ack"]); // the device counts too
    expect(feed(add("a", space(13, 500, 9)))).toEqual(["close-fd 13", "ack"]);
  });

  test("that fails is refused with the reason, becomes pending and unready, and is tried again after 5 s", () => {
    synchronised();
    expect(feed(add("a", space(10)), failed("bind([::]:15008): EADDRINUSE"))).toEqual([
      "start a fd 10",
      "nack failure to start proxy : bind([::]:15008): EADDRINUSE",
      "arm-retry 5000",
      "not ready",
    ]);
    expect([running(), pending()]).toEqual([[], ["a"]]);
    expect(state.pending.get("a")?.error).toBe("bind([::]:15008): EADDRINUSE");
    expect(feed(retry)).toEqual(["start a fd 10"]);
    expect(feed(ok)).toEqual(["ready"]); // nobody waits for an answer to this one
    expect([running(), pending()]).toEqual([["a"], []]);
  });

  test("of a pending pod replaces its namespace", () => {
    synchronised();
    feed(add("a", space(10)), failed());
    expect(feed(add("a", space(11)), ok)).toEqual(["close-fd 10", "start a fd 11", "ack", "ready"]);
    expect(pending()).toEqual([]);
    feed(add("a", space(12)), failed());
    expect(feed(add("a", space(13)), failed())).toEqual([
      "close-fd 12",
      "start a fd 13",
      "nack failure to start proxy : no",
    ]);
    expect(feed(retry)).toEqual(["start a fd 13"]);
  });

  test("with another namespace that fails leaves neither proxy", () => {
    synchronised("a");
    feed(add("a", space(11, 500)), failed());
    expect([running(), pending()]).toEqual([[], ["a"]]);
  });

  test("without workload_info breaks the protocol", () => {
    feed(connected);
    expect(feed({ kind: "add", uid: "a", info: undefined, namespace: space(10) })).toEqual([
      "close-fd 10",
      'nack failure to process message : ProtocolError("workload_info is required but not present")',
      'fatal ProtocolError("workload_info is required but not present")',
    ]);
  });
});

describe("keep", () => {
  test("spares a running pod at the reconciliation", () => {
    synchronised("a", "b");
    expect(feed(disconnected, connected, keep("a"), snapshot)).toEqual(["not ready", "ack", "stop b", "ack", "ready"]);
    expect(running()).toEqual(["a"]);
  });

  test("needs no running proxy", () => {
    feed(connected);
    expect(feed(keep("unknown"), snapshot)).toEqual(["ack", "ack", "ready"]);
  });

  test("after the snapshot breaks the protocol", () => {
    synchronised("a");
    expect(feed(keep("a"))).toEqual([
      'nack failure to process message : ProtocolError("pod keep received after snapshot")',
      'fatal ProtocolError("pod keep received after snapshot")',
    ]);
  });
});

describe("del", () => {
  test("after the snapshot stops the proxy at once", () => {
    synchronised("a", "b");
    expect(feed(del("a"))).toEqual(["stop a", "ack"]);
    expect(running()).toEqual(["b"]);
  });

  test("of an unknown pod is success, before and after the snapshot", () => {
    feed(connected);
    expect(feed(del("x"), snapshot, del("x"))).toEqual(["ack", "ack", "ready", "ack"]);
  });

  test("before the snapshot only forgets; the reconciliation stops", () => {
    synchronised("a", "b");
    feed(disconnected, connected, keep("a"), keep("b"));
    expect(feed(del("a"))).toEqual(["ack"]);
    expect(running()).toEqual(["a", "b"]);
    expect(feed(snapshot)).toEqual(["stop a", "ack", "ready"]);
  });

  test("of a pending pod closes its namespace and makes ready", () => {
    synchronised();
    feed(add("a", space(10)), failed());
    expect(feed(del("a"))).toEqual(["close-fd 10", "ack", "ready"]);
    expect(feed(retry)).toEqual([]);
  });

  test("of a pending pod before the snapshot as well", () => {
    feed(connected, add("a", space(10)), failed());
    expect(feed(del("a"), snapshot)).toEqual(["close-fd 10", "ack", "ack", "ready"]);
  });
});

describe("snapshot_sent", () => {
  test("makes ready when nothing is pending", () => {
    feed(connected, add("a", space(10)), ok);
    expect(state.notReady).toBe(true);
    expect(feed(snapshot)).toEqual(["ack", "ready"]);
    expect(state.notReady).toBe(false);
  });

  test("does not when something is", () => {
    feed(connected, add("a", space(10)), failed());
    expect(feed(snapshot)).toEqual(["ack"]);
    expect(feed(retry, failed())).toEqual(["start a fd 10", "arm-retry 5000"]);
    expect(feed(retry, ok)).toEqual(["start a fd 10", "ready"]);
  });

  test("twice breaks the protocol", () => {
    synchronised();
    expect(feed(snapshot)).toEqual([
      'nack failure to process message : ProtocolError("pod snapshot received already")',
      'fatal ProtocolError("pod snapshot received already")',
    ]);
  });

  test("once on each connection is fine", () => {
    synchronised("a");
    expect(feed(disconnected, connected, snapshot)).toEqual(["not ready", "stop a", "ack", "ready"]);
  });
});

describe("retries", () => {
  test("take all pending pods in turn, and the timer is armed once", () => {
    synchronised();
    expect(feed(add("a", space(10)), failed())).toContain("arm-retry 5000");
    expect(feed(add("b", space(11)), failed())).toEqual(["start b fd 11", "nack failure to start proxy : no"]);
    expect(feed(retry)).toEqual(["start a fd 10"]);
    expect(feed(failed())).toEqual(["start b fd 11"]);
    expect(feed(ok)).toEqual(["arm-retry 5000"]);
    expect(pending()).toEqual(["a"]);
  });

  test("do nothing while disconnected, and a new connection forgets what is pending", () => {
    synchronised("r");
    feed(add("a", space(10)), failed());
    expect(feed(disconnected, retry)).toEqual([]);
    expect(feed(connected)).toEqual(["close-fd 10", "disarm-retry"]);
    expect([running(), pending()]).toEqual([["r"], []]);
    expect(feed(add("a", space(11)), failed())).toContain("arm-retry 5000");
  });
});

describe("connections", () => {
  test("running proxies outlive them", () => {
    synchronised("a");
    expect(feed(disconnected)).toEqual(["not ready"]);
    expect(feed(connected)).toEqual([]);
    expect(running()).toEqual(["a"]);
    expect(feed(add("a", space(11, 100)))).toEqual(["close-fd 11", "ack"]);
    expect(feed(snapshot)).toEqual(["ack", "ready"]);
  });

  test("what cannot be read is refused and closes them; later packets of it are dropped", () => {
    synchronised("a");
    expect(feed({ kind: "unreadable", reason: "nonsense" })).toEqual([
      "nack failure to read message : nonsense",
      "close-connection",
    ]);
    expect(feed(add("b", space(20)), del("a"), snapshot, { kind: "unreadable", reason: "x" })).toEqual(["close-fd 20"]);
    expect(feed(disconnected, connected, add("a", space(21, 100)), snapshot)).toEqual([
      "not ready",
      "close-fd 21",
      "ack",
      "ack",
      "ready",
    ]);
  });

  test("the pod that failed before the snapshot counts as named", () => {
    synchronised("a");
    feed(disconnected, connected, add("a", space(11, 500)), failed());
    expect(feed(snapshot)).toEqual(["ack"]);
    expect(pending()).toEqual(["a"]);
  });
});

describe("the end", () => {
  test("closes what is pending and leaves what runs", () => {
    synchronised("a");
    feed(add("b", space(20)), failed());
    expect(feed({ kind: "stopped" })).toEqual(["close-fd 20", "disarm-retry"]);
    expect(running()).toEqual(["a"]);
    expect(feed(disconnected, connected, add("c", space(21)), retry)).toEqual(["close-fd 21"]);
  });

  test("in the middle of a start waits for its outcome to settle the descriptor", () => {
    synchronised();
    feed(add("a", space(20)));
    expect(feed({ kind: "stopped" })).toEqual([]);
    expect(feed(failed())).toEqual(["close-fd 20"]);
  });

  test("in the middle of a retry too", () => {
    synchronised();
    feed(add("a", space(20)), failed(), add("b", space(21)), failed(), retry);
    expect(feed({ kind: "stopped" })).toEqual(["close-fd 21"]);
    expect(feed(failed())).toEqual(["close-fd 20"]);
    expect(pending()).toEqual([]);
  });

  test("in the middle of a start that succeeds leaves it running", () => {
    synchronised();
    feed(add("a", space(20)), { kind: "stopped" });
    expect(feed(ok)).toEqual([]);
    expect(running()).toEqual(["a"]);
  });
});

test("events during a start, and outcomes without one, are bugs of the caller", () => {
  feed(connected, add("a", space(10)));
  expect(() => feed(snapshot)).toThrow('ZDS event "snapshot-sent" while a proxy is starting');
  feed(ok);
  expect(() => feed(ok)).toThrow("not asked for");
});

test("every descriptor has exactly one owner, whatever happens", () => {
  let seed = 99;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  for (let round = 0; round < 300; round++) {
    state = new ZdsState();
    const ours = new Set<number>();
    const proxies = new Map<string, number>();
    let nextFd = 1;
    let starting: { uid: string; fd: number } | undefined;
    const apply = (event: ZdsEvent) => {
      for (const effect of state.handle(event)) {
        if (effect.kind === "close-fd") expect(ours.delete(effect.fd)).toBe(true);
        if (effect.kind === "start") {
          starting = { uid: effect.workload.uid, fd: effect.workload.namespace.fd };
          expect(ours.has(starting.fd)).toBe(true);
          expect(proxies.has(starting.uid)).toBe(false);
        }
        if (effect.kind === "stop") expect(proxies.delete(effect.uid)).toBe(true);
      }
    };
    for (let step = 0; step < 60; step++) {
      if (starting !== undefined) {
        const { uid, fd } = starting;
        starting = undefined;
        if (random(2) === 0) {
          apply({ kind: "started", error: "no" });
        } else {
          ours.delete(fd);
          proxies.set(uid, fd);
          apply(ok);
        }
        continue;
      }
      const uid = `pod${random(4)}`;
      const choice = random(20);
      if (choice < 9) {
        const fd = nextFd++;
        ours.add(fd);
        apply(add(uid, space(fd, random(3))));
      } else if (choice < 12) apply(del(uid));
      else if (choice < 14) apply(retry);
      else if (choice < 16) apply(disconnected);
      else if (choice < 18) apply(connected);
      else if (choice === 18) apply({ kind: "unreadable", reason: "x" });
      else apply(snapshot);
      expect([...proxies.keys()].toSorted()).toEqual(running().toSorted());
    }
    while (starting !== undefined) { // a failed retry asks for the next one
      starting = undefined;
      apply(failed());
    }
    apply({ kind: "stopped" });
    expect([...ours]).toEqual([]);
  }
});
