import { describe, expect, test } from "bun:test";
import {
  descriptorsOf,
  encodeMessage,
  MAX_PACKET,
  parseMessage,
  type RelayOffer,
  type UpgradeMessage,
} from "../../../src/ztunnel/upgrade/messages.ts";

const OFFER: RelayOffer = {
  kind: "relay",
  id: 7,
  pod: { uid: "6b1c", namespace: { device: 4n, inode: 18_446_744_073_709_551_615n } },
  relay: {
    direction: "outbound",
    source: { ip: "10.0.0.1", port: 40_000 },
    destination: { ip: "10.96.0.1", port: 443 },
    dialled: { ip: "2001:db8::1", port: 8443 },
    workload: "cluster//Pod/shop/web",
    service: { hostname: "web.shop.svc.cluster.local", name: "web", namespace: "shop" },
    received: 2 ** 40,
    sent: 0,
    unsentUp: 5,
    unsentDown: 0,
    age: 12_345,
  },
};
const PASSTHROUGH: RelayOffer = {
  ...OFFER,
  relay: { ...OFFER.relay, direction: "inbound", workload: undefined, service: undefined, unsentUp: 0 },
};

describe("messages of an upgrade", () => {
  const messages: readonly UpgradeMessage[] = [
    { kind: "hello" },
    OFFER,
    PASSTHROUGH,
    { kind: "taken", id: 0 },
    { kind: "refused", id: 3, reason: "the pod is not served here" },
  ];
  for (const message of messages) {
    test(`${message.kind} says what it said`, () => expect(parseMessage(encodeMessage(message))).toEqual(message));
  }

  test("a relay brings two sockets, and a file where something is unsent", () => {
    expect(messages.map(descriptorsOf)).toEqual([0, 3, 2, 0, 0]);
  });

  test("what is too long for a packet is an error of whoever sends it", () => {
    expect(() => encodeMessage({ kind: "refused", id: 1, reason: "x".repeat(MAX_PACKET) })).toThrow("8");
  });
});

describe("what is wrong is named with its place", () => {
  const text = new TextDecoder().decode(encodeMessage(OFFER));
  const cases: readonly (readonly [string, RegExp | string, string])[] = [
    ["", "", "Unexpected"],
    ["", "[]", "message: not an object"],
    ["", "null", "message: not an object"],
    ["", '{"kind":"hello"}', "message.version: not a whole number"],
    ["", '{"version":2,"kind":"hello"}', "message.version: 2 is not 1"],
    ["", '{"version":1,"kind":"bye"}', 'message.kind: "bye" is unknown'],
    ["", '{"version":1,"kind":"taken"}', "message.id: not a whole number"],
    ['"id":7', '"id":-1', "message.id: not a whole number"],
    ['"id":7', '"id":1.5', "message.id: not a whole number"],
    ['"uid":"6b1c"', '"uid":6', "message.pod.uid: not a string"],
    ['"device":"4"', '"device":"four"', "message.pod.namespace.device: not a number"],
    ['"direction":"outbound"', '"direction":"up"', 'message.relay.direction: "up"'],
    ['"ip":"10.0.0.1"', '"ip":"10.0.0.256"', 'message.relay.source.ip: "10.0.0.256" is no IP address'],
    ['"port":443', '"port":65536', "message.relay.destination.port: not a whole number up to 65535"],
    ['"hostname":"web.shop.svc.cluster.local",', "", "message.relay.service.hostname: not a string"],
    ['"unsentUp":5', '"unsentUp":1e9', "message.relay.unsentUp: not a whole number up to 16777216"],
    ['"age":12345', '"age":"long"', "message.relay.age: not a whole number"],
  ];
  for (const [was, is, error] of cases) {
    test(error, () => {
      const broken = was === "" ? `${is}` : text.replace(was, `${is}`);
      expect(broken).not.toBe(text);
      expect(parseMessage(new TextEncoder().encode(broken))).toContain(error);
    });
  }

  test("bytes that are no UTF-8, and any byte changed: an error or a message, never an exception", () => {
    const bytes = encodeMessage(OFFER);
    for (let at = 0; at < bytes.length; at++) {
      for (const byte of [0, 0x22, 0x7d, 0xff]) {
        const changed = bytes.slice();
        changed[at] = byte;
        const parsed = parseMessage(changed);
        expect(typeof parsed === "string" || parsed.kind === "relay").toBe(true);
      }
      expect(typeof parseMessage(bytes.subarray(0, at))).toBe("string");
    }
  });
});
