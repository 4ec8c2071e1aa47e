/** The decoders beside generated code: the captures as protojson, random messages, and their bytes in disorder. */
import { describe, expect, test } from "bun:test";
import {
  createRegistry,
  type DescMessage,
  equals,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { AuthorizationSchema } from "../../proto/gen/authorization_pb.ts";
import { DeltaDiscoveryResponseSchema } from "../../proto/gen/discovery_pb.ts";
import { AddressSchema } from "../../proto/gen/workload_pb.ts";
import { ADDRESS_TYPE, decodeAddress, decodeAuthorization } from "../../src/xds/mod.ts";
import { Random } from "../http2/random.ts";
import { ALL, bytesOf, jsonOf, resourcesOf, responseOf } from "./captures.ts";
import { expectedAddress, expectedPolicy, Refused } from "./expected.ts";
import { randomMessage } from "./random_messages.ts";

const registry = createRegistry(AddressSchema, AuthorizationSchema);

function unpack(any: Any | undefined) {
  const message = any && anyUnpack(any, registry);
  if (message === undefined) throw new Error("not of ztunnel's types");
  return message;
}

/** Our decoder's result, or `refused`. */
function decoded(typeUrl: string, bytes: Uint8Array): unknown {
  if (typeUrl === ADDRESS_TYPE) {
    const result = decodeAddress(bytes);
    return result.ok ? result.address : "refused";
  }
  const result = decodeAuthorization(bytes);
  return result.ok ? result.policy : "refused";
}

function orRefused(convert: () => unknown): unknown {
  try {
    return convert();
  } catch (error) {
    if (error instanceof Refused) return "refused";
    throw error;
  }
}

describe("captures", () => {
  for (const push of ALL) {
    test(`${push}: the bytes are what is written as protojson beside them`, () => {
      const json = fromJson(DeltaDiscoveryResponseSchema, jsonOf(push) as JsonValue, { registry });
      const resources = resourcesOf(responseOf(push));
      expect(resources.length).toBe(json.resources.length);
      for (const [i, { name, typeUrl, value }] of resources.entries()) {
        expect(name).toBe(json.resources[i]!.name);
        const message = unpack(json.resources[i]!.resource);
        const expected = message.$typeName === AddressSchema.typeName
          ? expectedAddress(message as MessageShape<typeof AddressSchema>)
          : expectedPolicy(message as MessageShape<typeof AuthorizationSchema>);
        expect(decoded(typeUrl, value)).toEqual(expected);
      }
    });

    test(`${push}: our .proto files name all of its fields`, () => {
      const json = fromJson(DeltaDiscoveryResponseSchema, jsonOf(push) as JsonValue, { registry });
      const binary = fromBinary(DeltaDiscoveryResponseSchema, bytesOf(push));
      for (const [i, { resource }] of binary.resources.entries()) {
        const [one, other] = [unpack(resource), unpack(json.resources[i]!.resource)];
        const schema: DescMessage = one.$typeName === AddressSchema.typeName ? AddressSchema : AuthorizationSchema;
        expect(equals(schema, one, other)).toBe(true);
        expect(one.$unknown).toBeUndefined();
      }
    });
  }
});

const ROUNDS = 3000;

describe("random messages", () => {
  test("Address", () => {
    let refused = 0;
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const message = randomMessage(AddressSchema, new Random(seed)) as MessageShape<typeof AddressSchema>;
      const expected = orRefused(() => expectedAddress(message));
      if (expected === "refused") refused++;
      const bytes = toBinary(AddressSchema, message);
      agree(`address ${seed}`, decoded(ADDRESS_TYPE, bytes), expected);
      const shuffled = shuffleAddress(bytes, new Random(seed));
      const reread = fromBinary(AddressSchema, shuffled);
      agree(`address ${seed} in disorder`, decoded(ADDRESS_TYPE, shuffled), orRefused(() => expectedAddress(reread)));
    }
    expect(refused).toBeGreaterThan(ROUNDS * 0.05);
    expect(refused).toBeLessThan(ROUNDS * 0.6);
  });

  test("Authorization", () => {
    let refused = 0;
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const message = randomMessage(AuthorizationSchema, new Random(seed)) as MessageShape<typeof AuthorizationSchema>;
      const expected = orRefused(() => expectedPolicy(message));
      if (expected === "refused") refused++;
      const bytes = toBinary(AuthorizationSchema, message);
      agree(`policy ${seed}`, decoded("", bytes), expected);
      const shuffled = shuffle(bytes, new Random(seed));
      const reread = fromBinary(AuthorizationSchema, shuffled);
      agree(`policy ${seed} in disorder`, decoded("", shuffled), orRefused(() => expectedPolicy(reread)));
    }
    expect(refused).toBeGreaterThan(ROUNDS * 0.05);
    expect(refused).toBeLessThan(ROUNDS * 0.9);
  });

  function agree(what: string, found: unknown, expected: unknown): void {
    if (!Bun.deepEquals(found, expected)) {
      throw new Error(`${what}: ${Bun.inspect(found, { depth: 9 })} is not ${Bun.inspect(expected, { depth: 9 })}`);
    }
  }
});

/** A message with its fields in another order, some of them twice. */
function shuffle(bytes: Uint8Array, random: Random): Uint8Array {
  return join(disorder(fieldsOf(bytes), random));
}

/** An Address with its one field in two parts, which have to be merged, and what is inside in another order. */
function shuffleAddress(bytes: Uint8Array, random: Random): Uint8Array {
  const body = fieldsOf(bytes)[0]?.body;
  if (body === undefined) return bytes;
  const inner = disorder(fieldsOf(body), random);
  const cut = random.below(inner.length + 1);
  return join([inner.slice(0, cut), inner.slice(cut)].map((part) => prefixed(bytes[0]!, join(part))));
}

interface Field {
  readonly raw: Uint8Array;
  readonly body: Uint8Array | undefined;
}

function disorder(fields: readonly Field[], random: Random): Uint8Array[] {
  const order = fields.flatMap(({ raw }) => random.chance(20) ? [raw, raw] : [raw]);
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

function varint(bytes: Uint8Array, at: number): [value: number, end: number] {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = bytes[at++];
    if (byte === undefined) throw new Error("a message of our own that cannot be read");
    value += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) return [value, at];
  }
}

/** Fields of a message without fixed-size numbers. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const [tag, afterTag] = varint(bytes, at);
    const [value, afterValue] = varint(bytes, afterTag);
    const isBody = (tag & 7) === 2;
    at = isBody ? afterValue + value : afterValue;
    fields.push({ raw: bytes.subarray(start, at), body: isBody ? bytes.subarray(afterValue, at) : undefined });
  }
  return fields;
}

function prefixed(tag: number, body: Uint8Array): Uint8Array {
  const length: number[] = [];
  let rest = body.length;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  return join([Uint8Array.of(tag, ...length, rest), body]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
