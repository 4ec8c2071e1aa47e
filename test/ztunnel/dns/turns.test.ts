import { expect, test } from "bun:test";
import { encodeMessage, TYPE } from "../../../src/dns/mod.ts";
import { InTurn } from "../../../src/ztunnel/dns/in_turn.ts";
import { Turns, type Waiting } from "../../../src/ztunnel/dns/turns.ts";
import { UdpServer } from "../../../src/ztunnel/dns/udp_server.ts";
import { query } from "../../dns/records.ts";
import { within } from "./fixture.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

class Member implements Waiting {
  left: number;
  readonly served: number[] = [];

  constructor(left: number) {
    this.left = left;
  }

  serve(most: number): boolean {
    const now = Math.min(most, this.left);
    this.left -= now;
    this.served.push(now);
    return this.left > 0;
  }
}

test("so many in a turn, and no more until the next", async () => {
  const turns = new Turns(10);
  const taken = () => {
    let count = 0;
    while (turns.take()) count++;
    return count;
  };
  expect([taken(), taken()]).toEqual([10, 0]);
  await turn();
  expect(taken()).toBe(10);
});

test("those who wait get a little each, in their order, until they have no more", async () => {
  const turns = new Turns(40);
  const members = [new Member(40), new Member(5), new Member(100)];
  for (const member of members) turns.wait(member);
  for (let i = 0; i < 10; i++) await turn();
  expect(members.map(({ served }) => served)).toEqual([[16, 16, 8], [5], [8, 16, 16, 16, 16, 16, 12]]);
});

test("with little for all, nobody is passed over", async () => {
  const turns = new Turns(16);
  const members = Array.from({ length: 3 }, () => new Member(1000));
  for (const member of members) turns.wait(member);
  for (let i = 0; i < 9; i++) await turn();
  const served = members.map((member) => member.served.length);
  expect(Math.max(...served) - Math.min(...served)).toBeLessThanOrEqual(1);
  for (const member of members) turns.leave(member);
  await turn();
  expect(members.map((member) => member.served.length)).toEqual(served);
});

/** An answer that costs so many ms. */
function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test("answers that take long end the turn, one at least is given in each", async () => {
  const turns = new Turns(1000, 3);
  let answered = 0;
  while (turns.take()) {
    busy(1);
    answered++;
  }
  expect(answered).toBeWithin(1, 4);
  await turn();
  expect(turns.take()).toBe(true);
  const slow: Waiting = {
    serve() {
      busy(5);
      return ++served < 4;
    },
  };
  let served = 0;
  turns.wait(slow);
  for (let i = 1; i <= 4; i++) {
    await turn();
    expect(served).toBe(i);
  }
});

test("many who waited for one thing are told over several turns, in their order; after the end nobody is", async () => {
  const told: number[] = [];
  const line = new InTurn(new Turns(1000, 3));
  const call = (i: number) =>
    line.call(() => {
      busy(1);
      told.push(i);
    });
  for (let i = 0; i < 20; i++) call(i);
  expect(told.length).toBeWithin(1, 4);
  for (let before = 0; told.length < 20; before = told.length) {
    await turn();
    expect(told.length - before).toBeWithin(1, 10);
  }
  expect(told).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await turn();
  for (let i = 20; i < 40; i++) call(i);
  const last = told.length;
  line.close();
  for (let i = 0; i < 5; i++) await turn();
  expect(told.length).toBe(last);
});

test("a flood of one does not keep another waiting, and ends in the kernel", async () => {
  const question = encodeMessage(query("server.", TYPE.A));
  const served = { flooded: 0, calm: 0 };
  const dropped = { flooded: 0, calm: 0 };
  const overflown = Promise.withResolvers<void>();
  const server = (who: "flooded" | "calm") =>
    new UdpServer({ address: { ip: "127.0.0.1", port: 0 }, reusePort: false }, (message, reply) => {
      served[who]++;
      const until = performance.now() + 0.05; // an answer costs time
      while (performance.now() < until);
      reply(message.slice());
      return true;
    }, (datagrams) => {
      dropped[who] += datagrams;
      if (dropped.flooded > 1000) overflown.resolve();
    });
  const flooded = server("flooded");
  const calm = server("calm");
  const flood = Bun.spawn([
    process.execPath,
    "-e",
    `const s = await Bun.udpSocket({ connect: { hostname: "127.0.0.1", port: ${flooded.address.port} }, socket: { data() {} } });
     const q = Uint8Array.from(${JSON.stringify([...question])});
     console.log("ready");
     for (;;) { for (let i = 0; i < 2000; i++) s.send(q); await 0; }`,
  ], { stdout: "pipe" });
  try {
    await flood.stdout.getReader().read();
    const begun = async () => {
      while (served.flooded === 0) await turn();
    };
    await within("the flood", begun());
    let answered = Promise.withResolvers<void>();
    const client = await Bun.udpSocket({
      connect: { hostname: "127.0.0.1", port: calm.address.port },
      socket: { data: () => answered.resolve() },
    });
    const waits: number[] = [];
    for (let i = 0; i < 30; i++) {
      answered = Promise.withResolvers<void>();
      const began = performance.now();
      client.send(question);
      await within("an answer", answered.promise, 2000);
      waits.push(performance.now() - began);
    }
    client.close();
    await within("counted drops", overflown.promise);
    expect(served.calm).toBe(30);
    expect(served.flooded).toBeGreaterThan(100);
    expect(dropped.calm).toBe(0);
    waits.sort((a, b) => a - b);
    expect(waits[15] as number).toBeLessThan(200);
  } finally {
    flood.kill("SIGKILL");
    flooded.close();
    calm.close();
  }
});
