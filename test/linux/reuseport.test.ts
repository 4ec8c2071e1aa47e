/** Two processes on one port, as far as one process can be both: whom the kernel gives what comes. */
import { afterEach, expect, test } from "bun:test";
import {
  acceptQueue,
  bindUdp,
  closeFd,
  connectTcp,
  connectUdp,
  listenTcp,
  portIsListenedOn,
  SystemError,
} from "../../src/linux/mod.ts";
import { adoptListener, finishListening } from "../../src/net/tcp.ts";

const SOME = 40;
const open: number[] = [];

function listen(port: number) {
  const listener = listenTcp({ address: { ip: "::", port }, backlog: 128, reusePort: true, reuseAddress: false });
  expect(listener.spread).toBeUndefined();
  return listener;
}

/** On loopback a connect is in the queue of its listener before it returns. Half of them by IPv4. */
function connectSome(port: number): void {
  for (let i = 0; i < SOME; i++) {
    const fd = connectTcp({ destination: { ip: i % 2 === 0 ? "127.0.0.1" : "::1", port } });
    if (fd instanceof SystemError) throw fd;
    open.push(fd);
  }
}

afterEach(() => open.splice(0).forEach(closeFd));

test("the newest of two listeners gets all new connections, and the other has them back when it goes", () => {
  const old = listen(0);
  const { port } = old.address;
  connectSome(port);
  expect(acceptQueue(old.fd)).toBe(SOME);
  const newer = listen(port);
  connectSome(port);
  expect([acceptQueue(old.fd), acceptQueue(newer.fd)]).toEqual([SOME, SOME]);
  closeFd(newer.fd); // it died
  connectSome(port);
  expect(acceptQueue(old.fd)).toBe(2 * SOME);
  const third = listen(port);
  closeFd(old.fd);
  connectSome(port);
  expect(acceptQueue(third.fd)).toBe(SOME);
  const fourth = listen(port); // the order is right after a change of places too
  connectSome(port);
  expect([acceptQueue(third.fd), acceptQueue(fourth.fd)]).toEqual([SOME, SOME]);
  closeFd(third.fd);
  closeFd(fourth.fd);
});

test("the newest of two UDP sockets gets all datagrams, and what the other has not read is still there", async () => {
  const heard = { old: 0, newer: 0 };
  const bind = (who: keyof typeof heard, port: number) =>
    bindUdp({ address: { ip: "127.0.0.1", port }, reusePort: true, received: () => void heard[who]++ });
  const old = bind("old", 0);
  const send = () => {
    for (let i = 0; i < SOME; i++) {
      const client = connectUdp({ server: old.address, received() {}, failed() {} });
      if (client instanceof SystemError) throw client;
      client.send(Uint8Array.of(1));
      client.close();
    }
  };
  send();
  expect(old.hasUnread).toBe(true);
  old.setDeaf(true);
  const newer = bind("newer", old.address.port);
  const settle = async () => {
    while (old.hasUnread || newer.hasUnread) await new Promise(setImmediate);
  };
  send();
  await settle();
  expect(heard).toEqual({ old: SOME, newer: SOME });
  old.close();
  send();
  await settle();
  expect(heard).toEqual({ old: SOME, newer: 2 * SOME });
  newer.close();
  expect(old.hasUnread).toBe(false);
});

test("a listener that is finished accepts what waits in its queue before it closes", async () => {
  const { fd, address } = listen(0);
  let accepted = 0;
  const listener = adoptListener<undefined>(fd, {
    open(socket) {
      accepted++;
      socket.terminate();
    },
    data() {},
  });
  connectSome(address.port);
  expect([acceptQueue(fd), accepted]).toEqual([SOME, 0]);
  await finishListening(listener);
  expect(accepted).toBe(SOME);
  expect(acceptQueue(fd)).toBeUndefined();
  await finishListening(listener); // once more does no harm
});

test("who listens on a port is found, and nobody else", () => {
  const { fd, address: { port } } = listen(0);
  const old = listenTcp({ address: { ip: "127.0.0.1", port: 0 }, backlog: 1, reusePort: false, reuseAddress: false });
  expect([port, old.address.port].map((some) => portIsListenedOn(some))).toEqual([true, true]);
  connectSome(port);
  closeFd(fd);
  closeFd(old.fd);
  // What is left are the ends of connections.
  expect([port, old.address.port].map((some) => portIsListenedOn(some))).toEqual([false, false]);
});

test("what is no TCP socket has no queue", () => {
  expect(acceptQueue(0)).toBeUndefined();
  expect(acceptQueue(-1)).toBeUndefined();
});
