import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import type { SocketAddress } from "../../src/net/address.ts";
import {
  closeFd,
  connectTcp,
  FatalNamespaceError,
  inNamespace,
  isNetworkNamespace,
  listenTcp,
  loopbackHasIpv6,
  namespaceIdentity,
  openFdCount,
  openNamespace,
  originalDestination,
  ownNamespace,
  peerAddress,
  sameNamespace,
  socketError,
  SocketStock,
  SystemError,
} from "../../src/linux/mod.ts";
import { IP_TRANSPARENT, IPPROTO_TCP, SO_MARK, SOL_IP, SOL_SOCKET, TCP_NODELAY } from "../../src/linux/constants.ts";
import { getOption } from "../../src/linux/socket.ts";
import {
  available,
  type ChildNamespace,
  makeNamespace,
  namespacePrivilege,
  rerunInUserNamespace,
} from "./child_namespace.ts";

const privilege = namespacePrivilege();
const MARK = 0x539;

test.skipIf(privilege !== "user-namespace")("everything below, in a user namespace", () => {
  const { status, output } = rerunInUserNamespace(fileURLToPath(import.meta.url));
  expect(status, output).toBe(0);
});

const why = privilege === "direct" ? "" : " (skipped: this process may not make network namespaces)";

/** A listener given to the runtime, and the descriptors of what it accepts. */
function accepting(fd: number): { next(): Promise<number>; stop(): void } {
  const accepted: number[] = [];
  const waiting: ((fd: number) => void)[] = [];
  const listener = Bun.listen(
    {
      fd,
      socket: {
        open(socket: { fd?: number }) {
          const accept = waiting.shift();
          if (accept === undefined) accepted.push(socket.fd ?? -1);
          else accept(socket.fd ?? -1);
        },
        data() {},
      },
    } as unknown as Parameters<typeof Bun.listen>[0],
  );
  return {
    next: () => {
      const fd = accepted.shift();
      return fd === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(fd);
    },
    stop: () => listener.stop(true),
  };
}

describe.skipIf(privilege !== "direct")(`network namespaces${why}`, () => {
  let space: ChildNamespace;
  beforeAll(async () => {
    space = await makeNamespace("ip addr add 10.77.0.1/32 dev lo && ip -6 addr add fd77::1/128 dev lo nodad");
  });
  afterAll(() => space.release());

  const listen = (over: Partial<Parameters<typeof listenTcp>[0]> = {}) =>
    listenTcp({
      namespace: space.fd,
      address: { ip: "::", port: 0 },
      backlog: 128,
      reusePort: true,
      reuseAddress: false,
      mark: MARK,
      transparent: "require",
      noDelay: true,
      ...over,
    });
  const connect = (destination: SocketAddress, source?: string, refusals?: SystemError[]) => {
    const fd = connectTcp({
      namespace: space.fd,
      destination,
      mark: MARK,
      onSourceRefused: (error) => refusals?.push(error),
      ...(source === undefined ? {} : { source }),
    });
    if (fd instanceof SystemError) throw fd;
    return fd;
  };

  test("a namespace is known by its identity", () => {
    const again = openNamespace(`/proc/self/fd/${space.fd}`);
    expect(sameNamespace(namespaceIdentity(space.fd), namespaceIdentity(again))).toBe(true);
    expect(sameNamespace(namespaceIdentity(space.fd), namespaceIdentity(ownNamespace()))).toBe(false);
    closeFd(again);
    expect(isNetworkNamespace(space.fd)).toBe(true);
    const user = openNamespace("/proc/self/ns/uts");
    expect(isNetworkNamespace(user)).toBe(false);
    expect(() => inNamespace(user, () => 1)).toThrow("setns(CLONE_NEWNET): EINVAL");
    closeFd(user);
  });

  test("a stock gives sockets of its namespace, and closes what it did not give", () => {
    const before = openFdCount();
    const stock = new SocketStock(space.fd);
    const listener = listen();
    const connected = Array.from({ length: 20 }, () => {
      const fd = connectTcp({ stock, destination: { ip: "10.77.0.1", port: listener.address.port }, mark: MARK });
      if (fd instanceof SystemError) throw fd;
      return fd;
    });
    // The address exists in that namespace only, and its kernel connects at once.
    for (const fd of connected) expect(peerAddress(fd)).toEqual({ ip: "10.77.0.1", port: listener.address.port });
    for (const fd of connected) closeFd(fd);
    closeFd(listener.fd);
    expect(openFdCount()).toBeGreaterThan(before);
    stock.close();
    expect(openFdCount()).toBe(before);
    // The descriptor's number may be another namespace's by now.
    expect(connectTcp({ stock, destination: { ip: "10.77.0.1", port: 1 } })).toMatchObject({ code: "ECANCELED" });
  });

  const here = () => {
    const fd = openNamespace("/proc/thread-self/ns/net");
    const { inode } = namespaceIdentity(fd);
    closeFd(fd);
    return inode;
  };

  test("inNamespace goes there and comes back, through errors and nesting", () => {
    const home = here();
    const there = namespaceIdentity(space.fd).inode;
    expect(inNamespace(space.fd, here)).toBe(there);
    expect(here()).toBe(home);
    expect(() =>
      inNamespace(space.fd, () => {
        throw new Error("inside");
      })
    ).toThrow("inside");
    expect(here()).toBe(home);
    expect(inNamespace(space.fd, () => [inNamespace(ownNamespace(), here), here()])).toEqual([home, there]);
    expect(here()).toBe(home);
    expect(FatalNamespaceError.prototype).toBeInstanceOf(Error);
  });

  test("loopback's IPv6 is asked where it matters", () => {
    expect(loopbackHasIpv6(space.fd)).toBe(true);
    space.run("echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
    expect(loopbackHasIpv6(space.fd)).toBe(false);
    space.run("echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6; ip -6 addr add fd77::1/128 dev lo nodad");
    expect(loopbackHasIpv6(space.fd)).toBe(true);
  });

  test.each(["127.0.0.1", "::1"])("listens and connects in the namespace, and only there: %s", async (ip) => {
    const { fd, address, transparent } = listen();
    expect([address.ip, transparent]).toEqual(["::", true]);
    const server = accepting(fd);
    const client = connect({ ip, port: address.port });
    const accepted = await server.next();
    expect(peerAddress(client)).toEqual({ ip, port: address.port });
    expect(peerAddress(accepted)?.ip).toBe(ip);
    expect(socketError(client)).toBe(0);
    // What the listener has, its connections have: an accept needs no system call more.
    expect(getOption(accepted, SOL_SOCKET, SO_MARK, "SO_MARK")).toBe(MARK);
    expect(getOption(accepted, SOL_IP, IP_TRANSPARENT, "IP_TRANSPARENT")).toBe(1);
    expect(getOption(accepted, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY")).not.toBe(0);
    expect(getOption(client, SOL_SOCKET, SO_MARK, "SO_MARK")).toBe(MARK);
    // The same port of our own namespace is another one.
    const same = { ip: ip.includes(":") ? "::" : "0.0.0.0", port: address.port };
    const outside = listenTcp({ address: same, backlog: 1, reusePort: false, reuseAddress: false });
    expect(outside.address).toEqual(same);
    closeFd(outside.fd);
    closeFd(client);
    server.stop();
  });

  test.each([["10.77.0.1", "192.0.2.77"], ["fd77::1", "2001:db8::77"]])(
    "connects to %s from %s",
    async (ip, source) => {
      // What comes back to an address that is not ours has to be taken in: the rule that istio-cni installs.
      const family = ip.includes(":") ? "-6" : "-4";
      const all = ip.includes(":") ? "::/0" : "0.0.0.0/0";
      space.run(`ip ${family} route add local ${all} dev lo table 100; ip ${family} rule add pref 100 lookup 100`);
      const { fd, address } = listen();
      const server = accepting(fd);
      const refusals: SystemError[] = [];
      const first = connect({ ip, port: address.port }, source, refusals);
      const second = connect({ ip, port: address.port }, source, refusals);
      const peers = [await server.next(), await server.next()].map((fd) => peerAddress(fd));
      expect(refusals).toEqual([]);
      expect(peers.map((peer) => peer?.ip)).toEqual([source, source]);
      expect(peers[0]?.port).not.toBe(peers[1]?.port);
      expect(peers[0]?.port).toBeGreaterThan(1023);
      closeFd(first);
      closeFd(second);
      server.stop();
      space.run(`ip ${family} rule del pref 100`);
    },
  );

  test("a source of the other family is left out", async () => {
    const { fd, address } = listen();
    const server = accepting(fd);
    const client = connect({ ip: "127.0.0.1", port: address.port }, "2001:db8::1");
    expect(peerAddress(await server.next())?.ip).toBe("127.0.0.1");
    closeFd(client);
    server.stop();
  });

  test("no route is the connect's error", () => {
    const result = connectTcp({ namespace: space.fd, destination: { ip: "198.51.100.1", port: 80 } });
    expect(String(result)).toBe("connect(198.51.100.1:80): ENETUNREACH");
  });

  const nft = available("nft");
  test.skipIf(!nft).each([["10.77.0.1", 81], ["fd77::1", 82]] as const)(
    `SO_ORIGINAL_DST of a redirected connection to %s${nft ? "" : " (skipped: no nft)"}`,
    async (ip, port) => {
      const { fd, address } = listen();
      const redirect = `tcp dport ${port} redirect to :${address.port}`;
      const table = `table inet test${port} { chain output { type nat hook output priority -100; ${redirect}\n}\n}`;
      space.run("nft -f -", table);
      const server = accepting(fd);
      const client = connect({ ip, port });
      const accepted = await server.next();
      expect(originalDestination(accepted)).toEqual({ ip, port });
      // What was not redirected is tracked all the same, as going where it went.
      const direct = connect({ ip, port: address.port });
      expect(originalDestination(await server.next())).toEqual({ ip, port: address.port });
      closeFd(client);
      closeFd(direct);
      server.stop();
      space.run(`nft delete table inet test${port}`);
    },
  );

  test("nobody tracks, nothing known", async () => {
    const { fd, address } = listen();
    const server = accepting(fd);
    const client = connect({ ip: "127.0.0.1", port: address.port });
    expect(originalDestination(await server.next())).toBeUndefined();
    closeFd(client);
    server.stop();
  });
});
