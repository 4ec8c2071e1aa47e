import { expect, test } from "bun:test";
import { formatForwarded, forwardedHost } from "../../src/hbone/forwarded.ts";

test("written", () => {
  expect(formatForwarded({ ip: "10.0.0.1", port: 80 }, undefined)).toBe('for="10.0.0.1:80"');
  expect(formatForwarded({ ip: "fd00::1", port: 80 }, "cart.shop")).toBe('for="[fd00::1]:80";host=cart.shop');
});

const headers: [header: string, host: string | undefined][] = [
  ['for="10.0.0.1:80";host=cart.shop', "cart.shop"],
  ['host="cart.shop"', "cart.shop"],
  ["HOST=cart.shop", "cart.shop"],
  ["for=a; host = cart.shop ;proto=http", "cart.shop"],
  ["for=a, host=b", "b"],
  ["host=;for=a", undefined],
  ['host=""', undefined],
  ["for=a", undefined],
  ["", undefined],
  ["host", undefined],
  ["host=hôte", undefined],
];
test.each(headers)("%j", (header, host) => {
  expect(forwardedHost(header)).toBe(host);
});
