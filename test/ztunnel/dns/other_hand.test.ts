/** Beside another implementation: c-ares asks, and reads what we wrote. And floods of nonsense. */
import { Buffer } from "node:buffer";
import { Resolver } from "node:dns";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encodeMessage, type Message, type ResourceRecord, TYPE } from "../../../src/dns/mod.ts";
import { address, query, record, seeded } from "../../dns/records.ts";
import { mesh, pod, service } from "../../mesh/fixtures.ts";
import { answerTo, ask, data, exchangeUdp, NameServer, type Proxy, startProxy, within } from "./fixture.ts";

const u16 = (...numbers: number[]) => Uint8Array.from(numbers.flatMap((n) => [n >> 8, n & 255]));
const texts = (...all: string[]) => Uint8Array.from(all.flatMap((one) => [one.length, ...Buffer.from(one)]));

const SOA_NUMBERS = new Uint8Array(20);
const numbers = new DataView(SOA_NUMBERS.buffer);
[2024, 3600, 600, 86_400, 60].forEach((n, i) => numbers.setUint32(4 * i, n));

const ZONE: ResourceRecord[] = [
  address("a.test.", "192.0.2.1"),
  address("a.test.", "192.0.2.2"),
  address("a.test.", "2001:db8::1"),
  record("alias.test.", TYPE.CNAME, ["a.test."]),
  record("test.", TYPE.MX, [u16(10), "mail.test."]),
  record("test.", TYPE.MX, [u16(20), "a.test."]),
  record("_http._tcp.test.", TYPE.SRV, [u16(1, 2, 8080), "a.test."]),
  record("test.", TYPE.NS, ["ns.test."]),
  record("test.", TYPE.SOA, ["ns.test.", "admin.test.", SOA_NUMBERS]),
  record("test.", TYPE.TXT, [texts("one part")]),
  record("1.2.0.192.in-addr.arpa.", TYPE.PTR, ["a.test."]),
  record("test.", 35, [u16(100, 10), texts("u", "E2U+sip", "!^.*$!sip:a@test!"), "."]),
  record("test.", 257, [Uint8Array.from([0, 5, ...Buffer.from("issueca.test")])]),
];

let server: NameServer;
let proxy: Proxy;
let resolver: Resolver;
const client = pod("client", "10.0.0.1", { namespace: "default" });

beforeAll(async () => {
  server = await NameServer.start((asked): Message => {
    const [question] = asked.questions;
    const of = (name: string | undefined) =>
      ZONE.filter((one) =>
        one.name === name?.toLowerCase() && (one.type === question?.type || one.type === TYPE.CNAME)
      );
    const answers = of(question?.name);
    const alias = answers.find(({ type }) => type === TYPE.CNAME);
    if (alias !== undefined) answers.push(...of(alias.data[0] as string));
    return answerTo(asked, { answers, rcode: answers.length > 0 ? 0 : 3 });
  });
  proxy = startProxy({
    client,
    upstream: { port: server.port },
    mesh: mesh({
      workloads: [client],
      services: [
        service("server", "10.96.0.10", { namespace: "default" }),
        service("outside", "10.96.0.11", { namespace: "default", hostname: "outside.example" }),
        service("dual", "", {
          namespace: "default",
          vips: [{ network: "", ip: "10.96.0.12" }, { network: "", ip: "fd96::12" }],
        }),
      ],
    }),
  });
  resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([`127.0.0.1:${proxy.address.port}`]);
});
afterAll(() => {
  proxy.proxy.stop();
  server.stop();
});

type Method =
  | "resolve4"
  | "resolve6"
  | "resolveMx"
  | "resolveSrv"
  | "resolveNs"
  | "resolveSoa"
  | "resolveTxt"
  | "resolvePtr"
  | "resolveNaptr"
  | "resolveCaa"
  | "resolveCname";

function resolve(method: Method, name: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const answered = (error: Error | null, result: unknown) => error === null ? resolve(result) : reject(error);
  (resolver[method] as (name: string, answered: (error: Error | null, result: unknown) => void) => void)
    .call(resolver, name, answered);
  return within(`${method} ${name}`, promise);
}

test.each<[Method, string, unknown]>([
  ["resolve4", "server", ["10.96.0.10"]],
  ["resolve4", "server.default.svc.cluster.local", ["10.96.0.10"]],
  ["resolve4", "outside.example.default.svc.cluster.local", ["10.96.0.11"]],
  ["resolve6", "dual.default", ["fd96::12"]],
  ["resolve4", "alias.test", ["192.0.2.1", "192.0.2.2"]],
  ["resolve6", "alias.test", ["2001:db8::1"]],
  ["resolveCname", "alias.test", ["a.test"]],
  ["resolveNs", "test", ["ns.test"]],
  ["resolvePtr", "1.2.0.192.in-addr.arpa", ["a.test"]],
  ["resolveTxt", "test", [["one part"]]],
  ["resolveSrv", "_http._tcp.test", [{ priority: 1, weight: 2, port: 8080, name: "a.test" }]],
  ["resolveMx", "test", [{ priority: 10, exchange: "mail.test" }, { priority: 20, exchange: "a.test" }]],
  ["resolveSoa", "test", {
    nsname: "ns.test",
    hostmaster: "admin.test",
    serial: 2024,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minttl: 60,
  }],
  ["resolveNaptr", "test", [{
    flags: "u",
    service: "E2U+sip",
    regexp: "!^.*$!sip:a@test!",
    replacement: "",
    order: 100,
    preference: 10,
  }]],
  ["resolveCaa", "test", [{ critical: 0, issue: "ca.test" }]],
])("c-ares: %s %s", async (method, name, expected) => {
  const found = await resolve(method, name);
  const sorted = Array.isArray(found) ? [...found].sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0)) : found;
  expect(sorted).toEqual(expected as never);
  // And once more, from the cache.
  expect(JSON.stringify(await resolve(method, name)).length).toBe(JSON.stringify(found).length);
});

test("c-ares: what is not there", async () => {
  // The runtime says ENOTFOUND also where c-ares says ENODATA.
  expect(await resolve("resolve6", "server").catch((error) => error.code)).toMatch(/ENODATA|ENOTFOUND/);
  expect(await resolve("resolve4", "nowhere.test").catch((error) => error.code)).toMatch(/ENOTFOUND/);
});

test("a flood of nonsense disturbs nobody", async () => {
  const random = seeded(99);
  const below = (n: number) => Math.floor(random() * n);
  const whole = encodeMessage(query("server."));
  const socket = await Bun.udpSocket({
    hostname: "127.0.0.1",
    connect: { hostname: "127.0.0.1", port: proxy.address.port },
    socket: { data() {} },
  });
  for (let i = 0; i < 3000; i++) {
    const bytes = whole.slice(0, below(whole.length + 1));
    for (let j = below(6); j > 0 && bytes.length > 0; j--) bytes[below(bytes.length)] = below(256);
    // Not the type: what is nobody's is asked of the name server, which is not what is tried here.
    if (bytes.length > 12) socket.send(i % 2 === 0 ? bytes : Uint8Array.from({ length: below(600) }, () => below(256)));
    if (i % 100 === 99) expect(data(await ask(proxy.address, query("server.")))).toEqual(["10.96.0.10"]);
  }
  socket.close();
  expect(await exchangeUdp(proxy.address, whole)).toBeDefined();
  expect(data(await ask(proxy.address, query("server."), "tcp"))).toEqual(["10.96.0.10"]);
});
