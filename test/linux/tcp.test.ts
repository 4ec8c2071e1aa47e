import { afterEach, describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  IPPROTO_TCP,
  IPV6_V6ONLY,
  SO_KEEPALIVE,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_IPV6,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_NODELAY,
  TCP_USER_TIMEOUT,
} from "../../src/linux/constants.ts";
import {
  closeFd,
  connectTcp,
  duplicateFd,
  errnoName,
  listenTcp,
  localAddress,
  openFdCount,
  openFileLimit,
  openNamespace,
  peerAddress,
  raiseOpenFileLimit,
  setResetOnClose,
  socketError,
  SystemError,
} from "../../src/linux/mod.ts";
import { getOption } from "../../src/linux/socket.ts";
import { available } from "./child_namespace.ts";

const open: number[] = [];
afterEach(() => open.splice(0).forEach(closeFd));

const ANY_PORT = { ip: "127.0.0.1", port: 0 };
const PLAIN = { address: ANY_PORT, backlog: 8, reusePort: false, reuseAddress: false };
const LIVENESS = { keepAlive: { timeMs: 180_000, intervalMs: 17_500, retries: 9 }, userTimeoutMs: 1_800_000 };

function listen(over: Partial<Parameters<typeof listenTcp>[0]> = {}) {
  const listener = listenTcp({ ...PLAIN, ...over });
  open.push(listener.fd);
  return listener;
}

function connect(destination: { ip: string; port: number }, over: object = {}): number {
  const fd = connectTcp({ destination, ...over });
  if (fd instanceof SystemError) throw fd;
  open.push(fd);
  return fd;
}

function liveness(fd: number): Record<string, number> {
  return {
    keepalive: getOption(fd, SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"),
    idle: getOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"),
    interval: getOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"),
    count: getOption(fd, IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT"),
    userTimeout: getOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"),
    noDelay: Math.sign(getOption(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY")),
  };
}
const LIVELY = { keepalive: 1, idle: 180, interval: 18, count: 9, userTimeout: 1_800_000, noDelay: 1 };

describe("listeners", () => {
  test("take IPv4 and IPv6 on one socket unless told otherwise", () => {
    const both = listen({ address: { ip: "::", port: 0 } });
    expect(both.address.port).toBeGreaterThan(0);
    expect(getOption(both.fd, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY")).toBe(0);
    const fd = connect({ ip: "127.0.0.1", port: both.address.port });
    expect(peerAddress(fd)).toEqual({ ip: "127.0.0.1", port: both.address.port });
    const one = listen({ address: { ip: "::", port: 0 }, v6Only: true });
    expect(getOption(one.fd, SOL_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY")).toBe(1);
  });

  test.each([[true, false], [false, true], [false, false]])("SO_REUSEPORT %p, SO_REUSEADDR %p", (port, address) => {
    const { fd } = listen({ reusePort: port, reuseAddress: address });
    expect(getOption(fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT")).toBe(port ? 1 : 0);
    expect(getOption(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR")).toBe(address ? 1 : 0);
  });

  test("share a port only when both want to", () => {
    const first = listen({ reusePort: true });
    expect(listen({ address: first.address, reusePort: true }).address).toEqual(first.address);
    const place = `127.0.0.1:${first.address.port}`;
    const before = openFdCount();
    expect(() => listen({ address: first.address })).toThrow(`bind(${place}): EADDRINUSE`);
    expect(openFdCount()).toBe(before); // the socket that could not bind is closed
  });

  test("and connections take what the kernel has of liveness that is beyond it", () => {
    const { address } = listen();
    const most = { timeMs: 86_400_000, intervalMs: 86_400_000, retries: 1_000 };
    expect(liveness(connect(address, { keepAlive: most, userTimeoutMs: 2 ** 40 }))).toMatchObject({
      idle: 32_767,
      interval: 32_767,
      count: 127,
      userTimeout: 2 ** 31 - 1,
    });
    const least = { timeMs: 0, intervalMs: 0, retries: 0 };
    expect(liveness(connect(address, { keepAlive: least }))).toMatchObject({ idle: 1, interval: 1, count: 1 });
  });

  test("hand their options down to the sockets they accept", async () => {
    const { fd, address } = listen({ ...LIVENESS, noDelay: true });
    open.pop(); // the runtime owns it now
    const accepted = Promise.withResolvers<number>();
    const server = Bun.listen(
      {
        fd,
        socket: { open: (socket: { fd?: number }) => accepted.resolve(socket.fd ?? -1), data() {} },
      } as unknown as Parameters<typeof Bun.listen>[0],
    );
    connect(address);
    expect(liveness(await accepted.promise)).toEqual(LIVELY);
    server.stop(true);
  });

  test("name the call and the place that failed", () => {
    const caught = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        return error;
      }
    };
    const error = caught(() => listen({ address: { ip: "192.0.2.1", port: 8080 } }));
    expect(error).toBeInstanceOf(SystemError);
    expect(error).toMatchObject({ call: "bind(192.0.2.1:8080)", code: "EADDRNOTAVAIL", errno: 99 });
    expect(String(error)).toBe("bind(192.0.2.1:8080): EADDRNOTAVAIL");
    expect(String(caught(() => listen({ address: { ip: "2001:db8::1", port: 8080 } })))).toBe(
      "bind([2001:db8::1]:8080): EADDRNOTAVAIL",
    );
    expect(String(caught(() => openNamespace("/proc/self/ns/none")))).toBe("open(/proc/self/ns/none): ENOENT");
  });
});

describe("connections", () => {
  test("have keepalive, user timeout and no delay", () => {
    const { address } = listen();
    expect(liveness(connect(address, LIVENESS))).toEqual(LIVELY);
    expect(liveness(connect(address))).toMatchObject({ keepalive: 0, userTimeout: 0, noDelay: 1 });
  });

  test("can start from another address of ours", () => {
    const { address } = listen();
    // Binding to it needs no privilege, but being transparent does: then it is a warning.
    const refusals: string[] = [];
    const fd = connect(address, {
      source: "127.0.0.77",
      onSourceRefused: (error: SystemError) => refusals.push(`${error}`),
    });
    if (refusals.length > 0) expect(refusals).toEqual(["setsockopt(IP_TRANSPARENT): EPERM"]);
    else expect(localAddress(fd)?.ip).toBe("127.0.0.77");
  });

  test("tell in SO_ERROR that nobody listens", () => {
    const { fd, address } = listen();
    open.pop();
    closeFd(fd);
    const client = connectTcp({ destination: address });
    // On loopback the answer is there before connect() returns; either way has to name it.
    if (client instanceof SystemError) expect(String(client)).toBe(`connect(127.0.0.1:${address.port}): ECONNREFUSED`);
    else {
      expect(errnoName(socketError(client))).toBe("ECONNREFUSED");
      expect(socketError(client)).toBe(0); // reading it clears it
      closeFd(client);
    }
  });

  test("are reset by a close after setResetOnClose", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const port = (server.address() as { port: number }).port;
    const fd = connectTcp({ destination: { ip: "127.0.0.1", port } });
    if (fd instanceof SystemError) throw fd;
    const [accepted] = await once(server, "connection") as [Socket];
    const failed = once(accepted, "error");
    setResetOnClose(fd);
    closeFd(fd);
    expect((await failed)[0]).toMatchObject({ code: "ECONNRESET" });
    server.close();
  });
});

describe("descriptors", () => {
  test("what is no socket has no address", () => {
    const file = openSync("/dev/null", "r");
    expect([localAddress(file), peerAddress(file)]).toEqual([undefined, undefined]);
    expect(errnoName(socketError(file))).toBe("ENOTSOCK");
    expect(() => setResetOnClose(file)).toThrow("setsockopt(SO_LINGER): ENOTSOCK");
    closeSync(file);
    expect(() => duplicateFd(file)).toThrow("fcntl(F_DUPFD_CLOEXEC): EBADF");
  });

  test("a listener has an address and no peer", () => {
    const { fd, address } = listen();
    expect(localAddress(fd)).toEqual(address);
    expect(peerAddress(fd)).toBeUndefined();
  });

  test("are counted, duplicated, limited", () => {
    const before = openFdCount();
    const { fd } = listen();
    const second = duplicateFd(fd);
    open.push(second);
    expect(openFdCount()).toBe(before + 2);
    expect(localAddress(second)).toEqual(localAddress(fd));
    const { soft, hard } = openFileLimit();
    expect(soft).toBeGreaterThan(0);
    expect(raiseOpenFileLimit()).toBe(hard);
    expect(openFileLimit()).toEqual({ soft: hard, hard });
  });
});

test("errno names", () => {
  expect([1, 11, 95, 98, 110, 111, 115].map(errnoName)).toEqual(
    ["EPERM", "EAGAIN", "EOPNOTSUPP", "EADDRINUSE", "ETIMEDOUT", "ECONNREFUSED", "EINPROGRESS"],
  );
  expect(errnoName(4095)).toBe("errno 4095");
});

const drop = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"];
const canDrop = available("setpriv") && spawnSync("setpriv", [...drop, "true"]).status === 0;
test.skipIf(!canDrop)(
  `without capabilities each refusal is named${canDrop ? "" : " (skipped: setpriv fails)"}`,
  async () => {
    const { address } = listen();
    const script = fileURLToPath(new URL("./powerless.ts", import.meta.url));
    const child = spawn("setpriv", [...drop, process.execPath, script, String(address.port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => output += chunk);
    await once(child, "close");
    expect(JSON.parse(output)).toEqual({
      marking: "setsockopt(SO_MARK): EPERM",
      namespace: "setns(own network namespace): EPERM",
      tried: false,
      required: "setsockopt(IP_TRANSPARENT): EPERM",
      mark: "setsockopt(SO_MARK): EPERM",
      markedConnect: "setsockopt(SO_MARK): EPERM",
      sourceRefusal: "setsockopt(IP_TRANSPARENT): EPERM",
      peer: "127.0.0.1",
    });
  },
);
