/** Random messages of any schema, mostly of values that mean something, and now and then of some that do not. */
import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { Random } from "../http2/random.ts";

const TEXTS = [
  "",
  "a",
  "shop",
  "ns/s.ns.svc.cluster.local",
  "shop/web",
  "ünicode",
  "x".repeat(40),
  "y".repeat(600),
  "*",
];
const NUMBERS = [0, 1, 24, 32, 33, 80, 128, 8080, 65535, 65536, 70000, 0xffff_ffff];

/** How many in a hundred values are such that the resource has to be refused. */
const ODD = 2;
const DEEPEST = 8;

function bytes(random: Random): Uint8Array {
  if (random.chance(ODD)) return random.bytes(random.below(20));
  const address = random.bytes(random.chance(60) ? 4 : 16);
  if (address.length === 16 && random.chance(20)) {
    address.fill(0, 0, 10);
    address.fill(0xff, 10, 12);
  }
  return address;
}

function scalar(field: DescField & { fieldKind: "scalar" } | { scalar: ScalarType; name: string }, random: Random) {
  switch (field.scalar) {
    case ScalarType.STRING:
      return random.pick(TEXTS);
    case ScalarType.BYTES:
      return bytes(random);
    case ScalarType.BOOL:
      return random.chance(50);
    default:
      // A prefix of any length is good for addresses of either family.
      return field.name === "length" && !random.chance(ODD) ? random.below(33) : random.pick(NUMBERS);
  }
}

function enumeration(names: readonly unknown[], random: Random): number {
  return random.chance(ODD) ? random.pick([-1, names.length, 1000]) : random.below(names.length);
}

/** A message of this kind, filled at random. */
export function randomMessage<S extends DescMessage>(schema: S, random: Random, depth = 0): Message {
  const message = reflect(schema, create(schema));
  const set = (field: DescField, value: unknown) => message.set(field, value as never);
  for (const member of schema.members) {
    const field = member.kind === "oneof" ? random.pick(member.fields) : member;
    if (field.name === "extensions" || random.chance(member.kind === "oneof" ? ODD : 40)) continue;
    if (field.fieldKind === "scalar") set(field, scalar(field, random));
    else if (field.fieldKind === "enum") set(field, enumeration(field.enum.values, random));
    else if (field.fieldKind === "message") {
      if (depth < DEEPEST) set(field, reflect(field.message, randomMessage(field.message, random, depth + 1) as never));
    } else if (field.fieldKind === "list") {
      const list = message.get(field);
      for (let i = random.below(4); i > 0; i--) {
        if (field.listKind === "scalar") list.add(listNumber(field.name, random) ?? scalar(field, random));
        else if (field.listKind === "enum") list.add(enumeration(field.enum.values, random) || 1);
        else list.add(reflect(field.message, randomMessage(field.message, random, depth + 1) as never));
      }
    } else if (field.mapKind === "message") {
      for (let i = random.below(4); i > 0; i--) {
        const key = random.chance(ODD) ? random.pick(TEXTS) : `ns${random.below(3)}/s${random.below(5)}`;
        message.get(field).set(key, reflect(field.message, randomMessage(field.message, random, depth + 1) as never));
      }
    }
  }
  return message.message;
}

/** Ports of policies, which are refused where those of services are cut. */
function listNumber(name: string, random: Random): number | undefined {
  return name.endsWith("destination_ports") && !random.chance(ODD) ? random.below(65536) : undefined;
}
