/** Whatever comes over the stream, the client goes on and what is in force stays. */
import { describe, expect, test } from "bun:test";
import { GrpcError, type GrpcErrorKind } from "../../../src/grpc/mod.ts";
import { MeshState } from "../../../src/mesh/mod.ts";
import { Random } from "../../http2/random.ts";
import { ALL, bytesOf, FIRST, loadMesh } from "../captures.ts";
import { dumpOf } from "../dump.ts";
import { type FakeResource, responseBytes } from "./fake_channel.ts";
import { meshTypes } from "./mesh_types.ts";
import { connected, FIRST as TYPE, SECOND, TextType } from "./setting.ts";

const pushes = ALL.map(bytesOf);

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = new Uint8Array(bytes);
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(copy.length);
    if (random.chance(50)) copy[at] = random.below(256);
    else copy[at]! ^= 1 << random.below(8);
  }
  return random.chance(30) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}

/** Lets a stream that the client has given up come again. */
async function recover({ channel, clock }: Pick<ReturnType<typeof connected>, "channel" | "clock">): Promise<void> {
  await Promise.resolve();
  while (clock.waits.length > 0) {
    clock.pass(15_000);
    channel.last.open();
    clock.settle();
  }
}

describe("bytes that mean nothing, or nearly something", () => {
  test("never throw out of the client, and never lose what was in force", async () => {
    const mesh = new MeshState("node-a");
    const one = connected(meshTypes(mesh));
    const { channel, clock, client, lines } = one;
    for (const name of FIRST) channel.last.push(bytesOf(`wds/${name}`));
    clock.settle();
    const before = dumpOf(mesh);
    let undecodable = 0;
    for (let seed = 1; seed <= 3_000; seed++) {
      const random = new Random(seed);
      const streams = channel.streams.length;
      channel.last.push(random.bytes(random.below(60)));
      clock.settle();
      await recover(one);
      if (channel.streams.length > streams) undecodable++;
      channel.last.raw.length = 0;
      channel.streams.splice(0, channel.streams.length - 1);
    }
    expect(undecodable).toBeGreaterThan(1_000);
    expect(dumpOf(mesh)).toEqual(before);
    expect(client.status()).toMatchObject({ connected: true, types: [{ resources: 65 }, { resources: 7 }] });
    expect(lines().some((line) => line.includes("internal error"))).toBe(false);
  });

  test("captured pushes, changed and cut: the next whole push makes all good", async () => {
    const mesh = new MeshState("node-a");
    const one = connected(meshTypes(mesh));
    const { channel, clock, lines } = one;
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      channel.last.push(mutate(random.pick(pushes), random));
      clock.settle();
      await recover(one);
      channel.last.raw.length = 0;
      channel.streams.splice(0, channel.streams.length - 1);
    }
    for (const name of FIRST) channel.last.push(bytesOf(`wds/${name}`));
    clock.settle();
    expect(lines().some((line) => line.includes("internal error"))).toBe(false);
    const names = (of: MeshState) => new Set([...of.workloads()].map(({ uid }) => uid));
    for (const uid of names(loadMesh("wds"))) expect(names(mesh)).toContain(uid);
  });
});

/** What the types hold must be what a plain reading of all pushes says. */
describe("random lives of a client", () => {
  test("what is in force is always what the control plane has said", () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed);
      const [first, second] = [new TextType(TYPE), new TextType(SECOND, "names")];
      const one = connected([first, second]);
      const { channel, clock, client } = one;
      first.before = () => clock.work(random.below(3));
      first.refuse = (text) => text.startsWith("bad") ? "no" : undefined;
      const model = new Map<string, string>();
      let nonce = 0;
      for (let step = 0; step < 60; step++) {
        switch (random.below(8)) {
          case 0: {
            const kind = random.pick<GrpcErrorKind>(["connect", "status", "protocol"]);
            channel.last.end(random.chance(30) ? undefined : new GrpcError(kind, random.below(17), "so"));
            break;
          }
          case 1:
            clock.pass(random.below(20_000));
            break;
          case 2:
            if (client.status().nextTry === undefined && !client.status().connected) channel.last.open();
            break;
          case 3:
            clock.turn();
            break;
          case 4:
            client.subscribe(SECOND, [`n${random.below(5)}`]);
            client.unsubscribe(SECOND, [`n${random.below(5)}`]);
            break;
          default: {
            if (!client.status().connected) break;
            const resources: FakeResource[] = Array.from({ length: random.below(60) }, () => {
              const text = `${random.chance(10) ? "bad" : "good"}${random.below(1_000)}`;
              return { name: `r${random.below(40)}`, value: new TextEncoder().encode(text) };
            });
            const removed = Array.from({ length: random.below(10) }, () => `r${random.below(40)}`);
            // A stream takes nothing before the one before it is at its end; then it takes all.
            clock.settle();
            channel.last.push(responseBytes(TYPE, `n${nonce++}`, resources, removed));
            const there = new Set(resources.map(({ name }) => name));
            for (const name of removed) if (!there.has(name)) model.delete(name);
            for (const { name, value } of resources) {
              const text = new TextDecoder().decode(value);
              if (text.startsWith("good")) model.set(name, text);
            }
          }
        }
      }
      clock.settle();
      const sorted = (map: Map<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
      expect([seed, sorted(first.texts)]).toEqual([seed, sorted(model)]);
      client.close();
      expect(clock.waits).toEqual([]);
    }
  });
});
