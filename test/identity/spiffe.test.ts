import { describe, expect, test } from "bun:test";
import { formatIdentity, parseIdentity } from "../../src/identity/mod.ts";

describe("parseIdentity", () => {
  test("reads what formatIdentity writes", () => {
    const id = { trustDomain: "cluster.local", namespace: "default", serviceAccount: "web-1.a_b" };
    expect(formatIdentity(id)).toBe("spiffe://cluster.local/ns/default/sa/web-1.a_b");
    expect(parseIdentity(formatIdentity(id))).toEqual(id);
  });

  const refused = [
    "",
    "spiffe://",
    "spiffe://td/ns/a/sa/",
    "spiffe:///ns/a/sa/b",
    "spiffe://td/ns//sa/b",
    "spiffe://td/ns/a/sa/b/",
    "spiffe://td/ns/a/sa/b/c",
    "spiffe://td/ns/a/serviceaccount/b",
    "spiffe://td/sa/b/ns/a",
    "SPIFFE://td/ns/a/sa/b",
    "https://td/ns/a/sa/b",
    "spiffe://td:1/ns/a/sa/b",
    "spiffe://u@td/ns/a/sa/b",
    "spiffe://td/ns/a/sa/b?c",
    "spiffe://td/ns/a/sa/b#c",
    "spiffe://td/ns/a/sa/%62",
    "spiffe://td/ns/../sa/b",
    "spiffe://td/ns/a/sa/.",
    " spiffe://td/ns/a/sa/b",
    "spiffe://td/ns/a/sa/b\n",
    "spiffe://td/ns/a/sa/b\0",
    "spiffe://td/ns/a/sa/b, URI:spiffe://td/ns/a/sa/c",
    "spiffe://td/ns/a/sa/é",
    `spiffe://td/ns/a/sa/${"b".repeat(2048)}`,
  ];
  for (const uri of refused) {
    test(`refuses ${JSON.stringify(uri.slice(0, 60))}`, () => expect(parseIdentity(uri)).toBeUndefined());
  }
});
