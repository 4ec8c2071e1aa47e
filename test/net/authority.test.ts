import { expect, test } from "bun:test";
import { type Authority, parseAuthority } from "../../src/net/authority.ts";

const address = (ip: string, port: number): Authority => ({ kind: "address", ip, port });
const hostname = (host: string, port: number): Authority => ({ kind: "hostname", host, port });
const invalid: Authority = { kind: "invalid" };

const authorities: [text: string, expected: Authority][] = [
  ["10.0.0.1:80", address("10.0.0.1", 80)],
  ["10.0.0.1:65535", address("10.0.0.1", 65535)],
  ["[fd00::1]:80", address("fd00::1", 80)],
  ["[FD00:0:0::1]:80", address("fd00::1", 80)],
  ["[::ffff:10.0.0.1]:80", address("10.0.0.1", 80)],
  ["cart.shop.svc.cluster.local:80", hostname("cart.shop.svc.cluster.local", 80)],
  ["*.example.org:443", hostname("*.example.org", 443)],
  ["user@10.0.0.1:80", hostname("user@10.0.0.1", 80)],
  ["10.0.0:80", hostname("10.0.0", 80)],
  [":80", hostname("", 80)],
  ["", invalid],
  [":", invalid],
  ["host", invalid],
  ["host:", invalid],
  ["host:http", invalid],
  ["host:-1", invalid],
  ["host:65536", invalid],
  ["host:1e3", invalid],
  ["10.0.0.1", invalid],
  ["[fd00::1]", invalid],
  ["fd00::1:80", invalid],
  ["[fd00::1:80", invalid],
  ["[zz]:80", invalid],
  ["a b:80", invalid],
  ["a/b:80", invalid],
  ["a?b:80", invalid],
  ["hôte:80", invalid],
  ["a\r\nb:80", invalid],
];
test.each(authorities)("%j", (text, expected) => {
  expect(parseAuthority(text)).toEqual(expected);
});
