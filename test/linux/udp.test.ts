import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { bindUdp, connectUdp, openFdCount, SystemError, type UdpConnection } from "../../src/linux/mod.ts";
import { SO_MARK, SO_REUSEPORT, SOL_SOCKET } from "../../src/linux/constants.ts";
import { getOption } from "../../src/linux/socket.ts";
import { type ChildNamespace, makeNamespace, namespacePrivilege, rerunInUserNamespace } from "./child_namespace.ts";

const privilege = namespacePrivilege();
const MARK = 0x539;
const DEADLINE_MS = 20_000;

test.skipIf(privilege !== "user-namespace")("everything below, in a user namespace", () => {
  const { status, output } = rerunInUserNamespace(fileURLToPath(import.meta.url));
  expect(status, output).toBe(0);
});

/** What arrives, one after the other. */
class Mailbox<T> {
  readonly #items: T[] = [];
  #waiting: ((item: T) => void) | undefined;

  readonly put = (item: T): void => {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  };

  next(ms: number = DEADLINE_MS): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting = resolve;
    const timer = setTimeout(() => reject(new Error("nothing came")), ms);
    return promise.finally(() => clearTimeout(timer));
  }
}

function connected(options: Parameters<typeof connectUdp>[0]): UdpConnection {
  const connection = connectUdp(options);
  if (connection instanceof SystemError) throw connection;
  return connection;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array) => new TextDecoder().decode(value);

function echo(space: number | undefined, ip: string) {
  const server = bindUdp({
    ...(space === undefined ? {} : { namespace: space, mark: MARK }),
    address: { ip, port: 0 },
    reusePort: true,
    received: (datagram, port, from) => void server.send(Uint8Array.from(datagram), port, from),
  });
  return server;
}

describe.skipIf(privilege !== "direct")("in another namespace", () => {
  let space: ChildNamespace;
  beforeAll(async () => {
    space = await makeNamespace();
  });
  afterAll(() => space.release());

  test.each(["127.0.0.1", "::1"])("a server and its client, and only there: %s", async (ip) => {
    const server = echo(space.fd, ip);
    const { port } = server.address;
    expect(port).toBeGreaterThan(0);
    expect(getOption(server.fd, SOL_SOCKET, SO_MARK, "SO_MARK")).toBe(MARK);
    expect(getOption(server.fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT")).toBe(1);
    const heard = new Mailbox<Uint8Array>();
    const failures = new Mailbox<string>();
    const client = connected({
      namespace: space.fd,
      mark: MARK,
      server: { ip, port },
      received: heard.put,
      failed: failures.put,
    });
    expect(getOption(client.fd, SOL_SOCKET, SO_MARK, "SO_MARK")).toBe(MARK);
    for (const said of ["hello", "", "x".repeat(9000)]) {
      expect(client.send(bytes(said))).toBeUndefined();
      expect(text(await heard.next())).toBe(said);
    }
    // Here is nobody of that port.
    const outside = connected({ server: { ip, port }, received: heard.put, failed: failures.put });
    outside.send(bytes("hello"));
    expect(await failures.next()).toBe("ECONNREFUSED");
    server.close();
    client.send(bytes("hello"));
    expect(await failures.next()).toBe("ECONNREFUSED");
    client.close();
    outside.close();
  });

  test("where there is no way, it is said", () => {
    const refused = connectUdp({
      namespace: space.fd,
      server: { ip: "192.0.2.1", port: 53 },
      received() {},
      failed() {},
    });
    expect(refused).toMatchObject({ code: "ENETUNREACH", message: expect.stringContaining("ENETUNREACH") });
  });
});

test("a taken port is an error, and nothing stays open", () => {
  const first = bindUdp({ address: { ip: "127.0.0.1", port: 0 }, reusePort: false, received() {} });
  const before = openFdCount();
  const again = () => bindUdp({ address: first.address, reusePort: false, received() {} });
  expect(again).toThrow(SystemError);
  expect(again).toThrow("EADDRINUSE");
  expect(openFdCount()).toBe(before);
  first.close();
  again().close();
});

test("so is an address of somebody else", () => {
  const before = openFdCount();
  expect(() => bindUdp({ address: { ip: "203.0.113.1", port: 0 }, reusePort: false, received() {} })).toThrow(
    "EADDRNOTAVAIL",
  );
  expect(openFdCount()).toBe(before);
});

test("each connected socket has a port of its own, chosen at random", () => {
  const sockets = Array.from(
    { length: 20 },
    () => connected({ server: { ip: "127.0.0.1", port: 9 }, received() {}, failed() {} }),
  );
  const ports = sockets.map(({ port }) => port);
  expect(new Set(ports).size).toBe(20);
  const steps = ports.slice(1).map((port, i) => Math.abs(port - (ports[i] as number)));
  expect(steps.filter((step) => step > 100).length).toBeGreaterThan(15);
  for (const socket of sockets) socket.close();
});

test("strangers are not heard by a connected socket", async () => {
  const heard = new Mailbox<string>();
  const server = bindUdp({
    address: { ip: "127.0.0.1", port: 0 },
    reusePort: false,
    received: (datagram, port, ip) => {
      stranger.send(bytes("forged"), port, ip);
      server.send(Uint8Array.from(datagram), port, ip);
    },
  });
  const stranger = bindUdp({ address: { ip: "127.0.0.1", port: 0 }, reusePort: false, received() {} });
  const client = connected({ server: server.address, received: (it) => heard.put(text(it)), failed() {} });
  for (let i = 0; i < 3; i++) {
    client.send(bytes(`true ${i}`));
    expect(await heard.next()).toBe(`true ${i}`);
  }
  for (const socket of [server, stranger, client]) socket.close();
});

test("deaf and hearing again; what was sent meanwhile is gone, also when garbage was collected before", async () => {
  Bun.gc(true);
  const garbage = Array.from({ length: 20_000 }, () => new Uint8Array(new ArrayBuffer(8)).fill(0x5a));
  expect(garbage.length).toBe(20_000); // in the place of whatever was let go of
  const heard = new Mailbox<string>();
  const server = bindUdp({
    address: { ip: "127.0.0.1", port: 0 },
    reusePort: false,
    received: (datagram) => heard.put(text(datagram)),
  });
  const client = connected({ server: server.address, received() {}, failed() {} });
  server.setDeaf(true);
  for (let i = 0; i < 10; i++) client.send(bytes("lost"));
  expect(server.drops).toBe(10);
  server.setDeaf(false);
  client.send(bytes("heard"));
  expect(await heard.next()).toBe("heard");
  server.close();
  server.setDeaf(true);
  expect(server.drops).toBeUndefined();
  expect(server.send(bytes("x"), 9, "127.0.0.1")).toBe(false);
  client.close();
});
