/** Bytes that mean nothing, or nearly something: a decoder answers, and answers soon (spec/ztunnel.md §12.4). */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, test } from "bun:test";
import { compilePolicy } from "../../src/policy/mod.ts";
import { decodeAddress, decodeAuthorization, decodeDeltaResponse } from "../../src/xds/mod.ts";
import { Random } from "../http2/random.ts";
import { ALL, bytesOf, resourcesOf, responseOf } from "./captures.ts";

const samples = ALL.flatMap((push) => resourcesOf(responseOf(push)).map(({ value }) => new Uint8Array(value)));
const pushes = ALL.map(bytesOf);

/** Decodes as everything; whatever is accepted has to be of use. */
function decodeAll(bytes: Uint8Array): void {
  const address = decodeAddress(bytes);
  if (!address.ok) expectText(address.error);
  else if (address.address.kind === "workload") {
    for (const ip of address.address.update.workload.addresses) if (ip === "") throw new Error("no address");
  }
  const policy = decodeAuthorization(bytes);
  if (!policy.ok) expectText(policy.error);
  else {
    const compiled = compilePolicy(policy.policy);
    if (!compiled.ok) throw new Error(compiled.error);
  }
  const response = decodeDeltaResponse(bytes);
  if (!response.ok) expectText(response.error);
  else {
    const { resources } = response.response;
    for (let i = 0; i < resources.length; i++) {
      const result = resources.at(i);
      if (!result.ok) expectText(result.error);
    }
  }
}

/** Errors name a place; one of the runtime's own kind (`undefined is not an object`) would be a bug. */
function expectText(error: string): void {
  if (
    !/^(address|workload|service|policy|resource|DeltaDiscoveryResponse)/.test(error) ||
    /undefined|\[object|NaN/.test(error)
  ) {
    throw new Error(`not an error of ours: ${error}`);
  }
}

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = new Uint8Array(bytes);
  for (let times = 1 + random.below(4); times > 0 && copy.length > 0; times--) {
    const at = random.below(copy.length);
    switch (random.below(4)) {
      case 0:
        copy[at] = random.below(256);
        break;
      case 1:
        copy[at]! ^= 1 << random.below(8);
        break;
      case 2:
        copy[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
        break;
      case 3:
        copy.copyWithin(at, random.below(copy.length), copy.length);
    }
  }
  return random.chance(30) ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}

const BUDGET = 5000; // ms; all of a test's inputs together take a tenth of it

describe("no input makes a decoder throw or hang", () => {
  test("arbitrary bytes", () => {
    const begun = performance.now();
    for (let seed = 1; seed <= 20_000; seed++) {
      const random = new Random(seed);
      decodeAll(random.bytes(random.below(100)));
    }
    expect(performance.now() - begun).toBeLessThan(BUDGET);
  });

  test("captured resources and pushes, changed here and there", () => {
    const begun = performance.now();
    for (let seed = 1; seed <= 20_000; seed++) {
      const random = new Random(seed);
      decodeAll(mutate(random.pick(samples), random));
    }
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      decodeAll(mutate(random.pick(pushes), random));
    }
    expect(performance.now() - begun).toBeLessThan(BUDGET);
  });

  test("every captured resource, cut after every byte", () => {
    for (const sample of samples.slice(0, 30)) {
      for (let end = 0; end < sample.length; end++) {
        const cut = sample.subarray(0, end);
        decodeAll(cut);
        // Cut inside the one field of an Address: refused, whatever the length says.
        if (end > 0 && end < sample.length && decodeAddress(sample).ok) expect(decodeAddress(cut).ok).toBe(false);
      }
    }
  });

  const deep = new Uint8Array(100_000).fill(0x0b); // groups in groups of the field 1
  const nested = new Uint8Array(100_000);
  for (let i = 0; i < nested.length; i += 2) nested.set([0x9b, 0x06], i); // of an unknown field
  const absurd: [what: string, bytes: Uint8Array][] = [
    ["100 000 groups of a known field", deep],
    ["50 000 groups of an unknown one", nested],
    ["1 MB of zeros", new Uint8Array(1 << 20)],
    ["1 MB of ones", new Uint8Array(1 << 20).fill(255)],
    ["500 000 empty workloads", repeat(Uint8Array.of(10, 0), 500_000)],
    ["500 000 empty rules", repeat(Uint8Array.of(42, 0), 500_000)],
    ["a rule of 100 000 empty matches", repeat(Uint8Array.of(42, 4, 10, 2, 18, 0), 100_000)],
  ];
  for (const [what, bytes] of absurd) {
    test(what, () => {
      const begun = performance.now();
      decodeAll(bytes);
      expect(performance.now() - begun).toBeLessThan(BUDGET);
    });
  }
});

describe("many entries cost in proportion to their number", () => {
  const fastest = (bytes: Uint8Array) =>
    Math.min(...Array.from({ length: 5 }, () => {
      const begun = Bun.nanoseconds();
      if (!decodeAddress(bytes).ok) throw new Error("refused");
      return Bun.nanoseconds() - begun;
    }));
  for (
    const [what, make] of [
      ["ports of a service", portsOf],
      ["services of a workload", membershipsOf],
    ] as const
  ) {
    // Eight times as many: 64 times as long if each were held against all before it.
    test(what, () => void expect(fastest(make(40_000))).toBeLessThan(30 * fastest(make(5_000))));
  }
});

function portsOf(count: number): Uint8Array {
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited).fork();
  for (let port = 0; port < count; port++) {
    writer.tag(5, WireType.LengthDelimited).fork().tag(1, WireType.Varint).uint32(port).join();
  }
  return writer.join().finish();
}

function membershipsOf(count: number): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).fork();
  for (let i = 0; i < count; i++) {
    writer.tag(22, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(`shop/s${i}.svc`).join();
  }
  return writer.join().finish();
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i++) all.set(bytes, i * bytes.length);
  return all;
}
