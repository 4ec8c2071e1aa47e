import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeFd, FatalNamespaceError, openNamespace, SystemError } from "../../../src/linux/mod.ts";
import { ZdsClient, type ZdsClock } from "../../../src/ztunnel/zds/mod.ts";
import { Agent } from "./agent.ts";

/** A clock whose time passes when the test says so. */
class ManualClock implements ZdsClock {
  readonly timers: { delay: number; callback: () => void }[] = [];
  readonly #waiting: (() => void)[] = [];

  after(delay: number, callback: () => void): () => void {
    const timer = { delay, callback };
    this.timers.push(timer);
    this.#waiting.splice(0).forEach((go) => go());
    return () => {
      const index = this.timers.indexOf(timer);
      if (index >= 0) this.timers.splice(index, 1);
    };
  }

  random(): number {
    return 0.5;
  }

  /** Lets the only timer run out, once there is one, and tells how long it was. */
  async pass(): Promise<number> {
    while (this.timers.length === 0) await new Promise<void>((go) => this.#waiting.push(go));
    expect(this.timers.length).toBe(1);
    const [timer] = this.timers.splice(0);
    timer?.callback();
    return timer?.delay ?? -1;
  }
}

let directory: string;
let path: string;
let clock: ManualClock;
let client: ZdsClient | undefined;
let agent: Agent | undefined;
let calls: string[];
let owned: number[];
let start: (uid: string, fd: number) => Promise<void> | void;
/** Resolves when this line has been logged or called. */
let until: (line: string) => Promise<void>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zds-"));
  path = join(directory, "socket");
  clock = new ManualClock();
  calls = [];
  owned = [];
  start = () => {};
});

afterEach(() => {
  client?.close();
  client = undefined;
  agent?.close();
  agent = undefined;
  owned.forEach(closeFd);
  rmSync(directory, { recursive: true });
});

function makeClient(): ZdsClient {
  const watchers = new Map<string, () => void>();
  const note = (line: string) => {
    calls.push(line);
    watchers.get(line)?.();
  };
  until = (line) => calls.includes(line) ? Promise.resolve() : new Promise((resolve) => watchers.set(line, resolve));
  client = new ZdsClient({
    path,
    clock,
    handler: {
      startWorkload(uid, info, fd) {
        note(`start ${uid} ${info.namespace}/${info.name} as ${info.serviceAccount}`);
        const outcome = start(uid, fd);
        if (outcome === undefined) owned.push(fd);
        return outcome?.then(() => void owned.push(fd));
      },
      stopWorkload: (uid) => note(`stop ${uid}`),
      readiness: (pending) => note(pending ? "not ready" : "ready"),
      fatal: (message) => note(`fatal ${message}`),
      log: () => {},
    },
  });
  return client;
}

async function connected(): Promise<Agent> {
  agent = await Agent.listen(path);
  makeClient().start();
  expect(await agent.accept()).toEqual(Uint8Array.of(8, 1));
  return agent;
}

const ownNamespace = () => openNamespace("/proc/self/ns/net");
/** How many descriptors of this process are namespaces. */
const namespacesOpen = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("net:[");
    } catch {
      return false; // the directory's own descriptor has gone
    }
  }).length;

describe("with an agent", () => {
  test("a pod's life: added, kept, removed", async () => {
    const before = namespacesOpen();
    const agent = await connected();
    const fd = ownNamespace();
    expect(await agent.add("a", fd)).toBe("");
    expect(await agent.request({ case: "keep", value: { uid: "k" } })).toBe("");
    expect(calls).toEqual(["not ready", "start a default/name-a as web"]);
    expect(await agent.snapshotSent()).toBe("");
    expect(await agent.add("a", fd)).toBe(""); // the same namespace
    expect([...client?.state.running.keys() ?? []]).toEqual(["a"]);
    expect(namespacesOpen()).toBe(before + 2); // ours, and the one that startWorkload got
    expect(await agent.request({ case: "del", value: { uid: "a" } })).toBe("");
    expect(calls).toEqual(["not ready", "start a default/name-a as web", "ready", "stop a"]);
    closeFd(fd);
  });

  test("a start that takes time holds the answer back, and what comes meanwhile waits", async () => {
    const agent = await connected();
    const gate = Promise.withResolvers<void>();
    start = () => gate.promise;
    const fd = ownNamespace();
    const answer = agent.add("a", fd);
    await until("start a default/name-a as web");
    expect(client?.state.starting).toBe(true);
    gate.resolve();
    expect(await answer).toBe("");
    closeFd(fd);
  });

  test("a proxy that cannot start: refused, tried again after 5 s, ready only then", async () => {
    const before = namespacesOpen();
    const agent = await connected();
    let attempts = 0;
    start = () => {
      attempts++;
      if (attempts === 1) throw new SystemError("bind([::]:15008)", 98);
      if (attempts === 2) return Promise.reject(new Error("later"));
    };
    const fd = ownNamespace();
    expect(await agent.add("a", fd)).toBe("failure to start proxy : bind([::]:15008): EADDRINUSE");
    closeFd(fd);
    expect(await agent.snapshotSent()).toBe("");
    expect(client?.state.pending.size).toBe(1);
    expect(await clock.pass()).toBe(5000);
    expect(await clock.pass()).toBe(5000);
    await until("ready");
    expect(attempts).toBe(3);
    expect(client?.state.pending.size).toBe(0);
    expect(namespacesOpen()).toBe(before + 1);
  });

  test("an unreadable message is refused, and the next connection is made at once", async () => {
    const agent = await connected();
    await agent.snapshotSent();
    const answer = await agent.raw(Uint8Array.of(0xff));
    expect(new TextDecoder().decode(answer)).toContain("failure to read message : invalid WorkloadRequest: ");
    expect(await agent.receive()).toEqual(new Uint8Array(0));
    await agent.hangUp();
    expect(await agent.accept()).toEqual(Uint8Array.of(8, 1));
    expect(clock.timers).toEqual([]);
    expect(await agent.snapshotSent()).toBe("");
    expect(calls).toEqual(["not ready", "ready", "not ready", "ready"]);
  });

  test.each([[0, [0, 0]], [1, [0]]] as const)(
    "descriptors that do not belong are closed (case %d)",
    async (_case, fds) => {
      const agent = await connected();
      const before = readdirSync("/proc/self/fd").length;
      const packet = fds.length === 2 ? Uint8Array.of(0x0a, 0) : Uint8Array.of(0x1a, 0);
      const answer = new TextDecoder().decode(await agent.raw(packet, [...fds]));
      expect(answer).toContain(`came with ${fds.length} descriptors`);
      await agent.receive();
      expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 1); // the connection that replaced this one
    },
  );

  test("a packet that is too long is refused", async () => {
    const agent = await connected();
    const answer = await agent.raw(new Uint8Array(1025));
    expect(new TextDecoder().decode(answer)).toContain("failure to read message : packet was truncated");
  });

  test("a broken protocol is refused and ends the process", async () => {
    const agent = await connected();
    await agent.snapshotSent();
    const text = 'ProtocolError("pod keep received after snapshot")';
    expect(await agent.request({ case: "keep", value: { uid: "k" } })).toBe(`failure to process message : ${text}`);
    expect(await agent.receive()).toEqual(new Uint8Array(0));
    expect(calls).toEqual(["not ready", "ready", `fatal ${text}`]);
  });

  test("a thread lost in another namespace ends the process", async () => {
    const agent = await connected();
    start = () => {
      throw new FatalNamespaceError(new SystemError("setns(CLONE_NEWNET)", 1));
    };
    const fd = ownNamespace();
    agent.add("a", fd).catch(() => {});
    await until("fatal cannot return to the process's own network namespace: setns(CLONE_NEWNET): EPERM");
    closeFd(fd);
  });

  test("running pods outlive the connection; the next snapshot decides", async () => {
    const agent = await connected();
    const fd = ownNamespace();
    await agent.add("a", fd);
    await agent.add("b", fd);
    await agent.snapshotSent();
    calls.length = 0;
    await agent.hangUp();
    await agent.accept();
    expect(await agent.add("a", fd)).toBe("");
    expect(await agent.snapshotSent()).toBe("");
    expect(calls).toEqual(["not ready", "stop b", "ready"]);
    closeFd(fd);
  });

  test("connections that come to nothing are not repeated in a busy loop", async () => {
    const agent = await connected();
    await agent.hangUp();
    await agent.accept(); // the first is repeated at once
    expect(clock.timers).toEqual([]);
    await agent.hangUp();
    expect(await clock.pass()).toBe(500);
    await agent.accept();
    await agent.hangUp();
    expect(await clock.pass()).toBe(1000);
    await agent.accept();
    await agent.snapshotSent();
    await agent.hangUp();
    await agent.accept(); // one that served is repeated at once again
    await agent.hangUp();
    await agent.accept();
    await agent.hangUp();
    expect(await clock.pass()).toBe(5); // it has been ready since
  });

  test("close() leaves running proxies alone, closes pending namespaces", async () => {
    const before = namespacesOpen();
    const agent = await connected();
    const fd = ownNamespace();
    await agent.add("a", fd);
    start = () => {
      throw new Error("no");
    };
    await agent.add("b", fd);
    expect(namespacesOpen()).toBe(before + 3);
    client?.close();
    expect(namespacesOpen()).toBe(before + 2);
    expect(await agent.receive()).toEqual(new Uint8Array(0));
    expect(calls).not.toContain("stop a");
    expect(clock.timers).toEqual([]);
    closeFd(fd);
  });
});

describe("without an agent", () => {
  test("the delay doubles from 20 ms to 15 s, and starts anew after a connection", async () => {
    makeClient().start();
    const delays: number[] = [];
    while (delays.length < 12) delays.push(await clock.pass());
    expect(delays).toEqual([20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
    agent = await Agent.listen(path);
    await clock.pass();
    expect(await agent.accept()).toEqual(Uint8Array.of(8, 1));
    await agent.snapshotSent();
    rmSync(path);
    await agent.hangUp();
    expect(await clock.pass()).toBe(20);
  });

  test("close() while waiting ends it all", () => {
    makeClient().start();
    expect(clock.timers.length).toBe(1);
    client?.close();
    expect(clock.timers).toEqual([]);
  });
});
