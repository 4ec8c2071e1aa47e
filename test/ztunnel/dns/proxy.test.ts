import { afterEach, describe, expect, test } from "bun:test";
import { encodeMessage, frame, type Message, RCODE, TYPE } from "../../../src/dns/mod.ts";
import { newWorkload } from "../../../src/mesh/mod.ts";
import { address, bytesOf, EDNS, hex, message, query, record, soa } from "../../dns/records.ts";
import { mesh, pod, service } from "../../mesh/fixtures.ts";
import {
  type Answering,
  answerTo,
  ask,
  data,
  exchangeUdp,
  NameServer,
  parsed,
  type Proxy,
  type ProxyOptions,
  startProxy,
  Stream,
  within,
} from "./fixture.ts";

const client = pod("client", "10.0.0.1", { namespace: "default", canonicalName: "client", canonicalRevision: "v1" });
const MANY = Array.from({ length: 256 }, (_, i) => ({ network: "", ip: `240.0.${i >> 8}.${i & 255}` }));
const state = mesh({
  workloads: [client],
  services: [
    service("server", "10.96.0.10", { namespace: "default" }),
    service("large", "", { namespace: "default", hostname: "large", vips: MANY }),
  ],
});

const LABELS = (type: string, protocol: string, service = "client", revision = "v1") =>
  `{request_query_type="${type}",request_protocol="${protocol}",source_canonical_service="${service}",source_canonical_revision="${revision}"}`;

const running: { stop(): void }[] = [];
afterEach(() => running.splice(0).forEach((one) => one.stop()));

const silent: Answering = () => undefined;

async function start(
  answering: Answering = silent,
  over: Partial<ProxyOptions> = {},
): Promise<Proxy & { server: NameServer }> {
  const server = await NameServer.start(answering);
  const proxy = startProxy({ client, mesh: state, ...over, upstream: { port: server.port, ...over.upstream } });
  running.push(proxy.proxy, server);
  return { ...proxy, server };
}

const known: Answering = (asked) => {
  const [question] = asked.questions;
  if (question?.name !== "known.test.") {
    return answerTo(asked, { rcode: RCODE.NXDOMAIN, authorities: [soa("test.", 60, 60)] });
  }
  if (question.type !== TYPE.A) return answerTo(asked, { authorities: [soa("test.", 60, 60)] });
  return answerTo(asked, {
    authoritative: true,
    answers: [record("known.test.", TYPE.CNAME, ["real.test."]), address("real.test.", "192.0.2.7")],
    authorities: [record("test.", TYPE.NS, ["ns.test."])],
    additionals: [address("ns.test.", "192.0.2.53")],
    edns: EDNS,
  });
};

describe("golden bytes (spec/ztunnel.md §14.2)", () => {
  test("server., server.default AAAA, a doubled search suffix", async () => {
    const { address: to } = await start();
    const golden = [
      [
        "1234 0100 0001 0000 0000 0000 06736572766572 00 0001 0001",
        "1234 8580 0001 0001 0000 0000 06736572766572 00 0001 0001 c00c 0001 0001 0000001e 0004 0a60000a",
      ],
      [
        "1234 0100 0001 0000 0000 0000 06736572766572 0764656661756c74 00 001c 0001",
        "1234 8580 0001 0000 0000 0000 06736572766572 0764656661756c74 00 001c 0001",
      ],
    ];
    for (const [question, answer] of golden) {
      expect(hex(await exchangeUdp(to, bytesOf(question ?? "")))).toBe(hex(bytesOf(answer ?? "")));
    }
    for (
      const [asked, owner] of [
        ["server.svc.cluster.local.", "server."],
        ["server.default.svc.cluster.local.default.svc.cluster.local.", "server.default.svc.cluster.local."],
      ] as const
    ) {
      const { answers } = await ask(to, query(asked));
      expect(answers.map(({ name, type, ttl }) => [name, type, ttl])).toEqual([
        [asked, TYPE.CNAME, 30],
        [owner, TYPE.A, 30],
      ]);
      expect(answers[0]?.data).toEqual([owner]);
    }
  });
});

describe.each(["udp", "tcp"] as const)("over %s", (protocol) => {
  test("the mesh's names, whatever the case of their letters", async () => {
    const { address: to, server } = await start();
    for (const name of ["server.", "SERVER.Default.", "server.default.svc.cluster.local."]) {
      const answer = await ask(to, query(name, TYPE.A, { recursionDesired: false }), protocol);
      expect(answer).toMatchObject({
        response: true,
        authoritative: true,
        recursionDesired: false,
        recursionAvailable: true,
        rcode: RCODE.NOERROR,
        questions: [{ name }],
        answers: [{ name, ttl: 30 }],
        edns: undefined,
      });
      expect(data(answer)).toEqual(["10.96.0.10"]);
    }
    expect(server.asked).toEqual([]);
  });

  test("other names and other types are passed on", async () => {
    const { address: to, server } = await start(known);
    const answer = await ask(to, query("known.test."), protocol);
    expect(answer).toMatchObject({
      authoritative: false,
      recursionAvailable: true,
      rcode: RCODE.NOERROR,
      answers: [{ name: "known.test.", type: TYPE.CNAME, data: ["real.test."] }, { name: "real.test." }],
      authorities: [],
      additionals: [{ name: "ns.test." }],
      edns: undefined,
    });
    expect(await ask(to, query("server.default.svc.cluster.local.", TYPE.TXT), protocol)).toMatchObject({
      rcode: RCODE.NXDOMAIN,
      authoritative: false,
      authorities: [{ name: "test.", type: TYPE.SOA }],
    });
    expect(await ask(to, query("known.test.", 65_280), protocol)).toMatchObject({ rcode: RCODE.NOERROR, answers: [] });
    expect(server.asked).toEqual([
      "udp a known.test.",
      "udp txt server.default.svc.cluster.local.",
      "udp 65280 known.test.",
    ]);
  });

  test("EDNS is mirrored", async () => {
    const { address: to } = await start(known);
    for (const name of ["server.", "known.test."]) {
      for (const [asked, got] of [[4096, 4096], [100, 512]] as const) {
        const edns = { payloadSize: asked, version: 0, dnssecOk: true };
        const answer = await ask(to, query(name, TYPE.A, { edns }), protocol);
        expect(answer.edns).toEqual({ payloadSize: got, version: 0, dnssecOk: true });
      }
    }
    const future = { payloadSize: 1232, version: 1, dnssecOk: false };
    expect(await ask(to, query("server.", TYPE.A, { edns: future }), protocol)).toMatchObject({
      rcode: RCODE.BADVERS,
      answers: [],
      edns: { version: 0 },
    });
  });

  test("what is no question", async () => {
    const { address: to, server } = await start(known);
    const cases: [Message, number][] = [
      [query("server.", TYPE.A, { response: true }), RCODE.FORMERR],
      [query("server.", TYPE.A, { opcode: 4 }), RCODE.NOTIMP],
      [query("server.", TYPE.A, { opcode: 5, questions: [] }), RCODE.NOTIMP],
      [message({ questions: [] }), RCODE.FORMERR],
      [query("known.test.", TYPE.AXFR), RCODE.REFUSED],
    ];
    for (const [sent, rcode] of cases) {
      const { id, opcode } = sent;
      expect(await ask(to, sent, protocol)).toMatchObject({ id, opcode, response: true, rcode, answers: [] });
    }
    expect(server.asked).toEqual([]);
  });

  test("counted and told", async () => {
    const { address: to, counts, lines } = await start(known);
    await ask(to, query("server."), protocol);
    await ask(to, query("server.", TYPE.AAAA), protocol);
    await ask(to, query("known.test."), protocol);
    await ask(to, query("nowhere.test."), protocol);
    expect(counts()).toMatchObject({
      [`istio_dns_requests${LABELS("a", protocol)}`]: 3,
      [`istio_dns_requests${LABELS("aaaa", protocol)}`]: 1,
      [`istio_dns_upstream_requests${LABELS("a", protocol)}`]: 2,
      [`istio_dns_upstream_request_duration_seconds_count${LABELS("a", protocol)}`]: 2,
    });
    expect(Object.keys(counts()).some((name) => name.startsWith("istio_dns_upstream_failures"))).toBe(false);
    const told = lines.filter((line) => line.includes("dns query")).map((line) => line.split("\t").at(-1));
    expect(told).toEqual([
      'src.workload="client" src.namespace="default" query="A" domain="server." result="success" endpoints=1',
      'src.workload="client" src.namespace="default" query="AAAA" domain="server." result="no records" endpoints=0',
      'src.workload="client" src.namespace="default" query="A" domain="known.test." result="forwarded" endpoints=2',
      'src.workload="client" src.namespace="default" query="A" domain="nowhere.test." result="forwarded (NXDOMAIN)" endpoints=0',
    ]);
  });
});

describe("long answers", () => {
  test("cut over UDP at what was asked for, whole over TCP", async () => {
    const { address: to } = await start();
    const count = async (given: Partial<Message>, protocol: "udp" | "tcp" = "udp") => {
      const { truncated, answers } = await ask(to, query("large.", TYPE.A, given), protocol);
      return [truncated, answers.length];
    };
    expect(await count({})).toEqual([true, 30]);
    expect(await count({ edns: EDNS })).toEqual([true, 74]);
    expect(await count({ edns: { ...EDNS, payloadSize: 8192 } })).toEqual([false, 256]);
    expect(await count({}, "tcp")).toEqual([false, 256]);
  });

  test("of a name server: over TCP from there when its datagram is cut", async () => {
    const answers = Array.from({ length: 200 }, (_, i) => address("many.test.", `192.0.2.${i}`));
    const { address: to, server } = await start((asked, protocol) =>
      answerTo(asked, protocol === "udp" ? { truncated: true, answers: answers.slice(0, 20) } : { answers })
    );
    expect(await ask(to, query("many.test."), "tcp")).toMatchObject({ truncated: false, answers });
    expect(server.asked).toEqual(["udp a many.test.", "tcp a many.test."]);
    const cut = await ask(to, query("many.test."));
    expect([cut.truncated, cut.answers.length > 20 && cut.answers.length < 31]).toEqual([true, true]);
    expect(server.asked.length).toBe(2);
  });
});

describe("name servers", () => {
  test("forged answers do not count", async () => {
    const { address: to } = await start((asked) => [
      answerTo(asked, { id: asked.id ^ 1, answers: [address("x.test.", "6.6.6.6")] }),
      answerTo(asked, {
        questions: [{ name: "y.test.", type: 1, class: 1 }],
        answers: [address("x.test.", "6.6.6.6")],
      }),
      new Uint8Array([1, 2, 3]),
      answerTo(asked, { answers: [address("x.test.", "192.0.2.1")] }),
    ]);
    expect(data(await ask(to, query("x.test.")))).toEqual(["192.0.2.1"]);
  });

  test("codes are passed on, silence and refused connections are SERVFAIL, all told and counted", async () => {
    const refused = await start((asked) => answerTo(asked, { rcode: RCODE.REFUSED }));
    expect(await ask(refused.address, query("x.test."))).toMatchObject({ rcode: RCODE.REFUSED });
    expect(refused.lines.at(-1)).toContain('result="forwarding failed (REFUSED)"');
    const mute = await start(silent, { upstream: { timeoutMs: 50 } });
    expect(await ask(mute.address, query("x.test."))).toMatchObject({ rcode: RCODE.SERVFAIL });
    expect(mute.lines.at(-1)).toContain('result="forwarding failed (request timed out)"');
    const gone = await start();
    gone.server.stop();
    expect(await ask(gone.address, query("x.test."))).toMatchObject({ rcode: RCODE.SERVFAIL });
    expect(gone.lines.at(-1)).toContain("Connection refused (os error 111)");
    const nobody = await start(silent, { upstream: { nameservers: [] } });
    expect(await ask(nobody.address, query("x.test."))).toMatchObject({ rcode: RCODE.SERVFAIL });
    expect(nobody.lines.at(-1)).toContain("forwarding failed (no name servers)");
    for (const { counts } of [refused, mute, gone, nobody]) {
      expect(counts()).toMatchObject({ [`istio_dns_upstream_failures${LABELS("a", "udp")}`]: 1 });
    }
  });

  test("a truncated answer of one that has no TCP is SERVFAIL", async () => {
    const { address: to, lines } = await start(
      (asked, protocol) => protocol === "udp" ? answerTo(asked, { truncated: true }) : undefined,
      { upstream: { timeoutMs: 50 } },
    );
    expect(await ask(to, query("x.test."))).toMatchObject({ rcode: RCODE.SERVFAIL });
    expect(lines.at(-1)).toContain("request timed out");
  });

  test("one question for all who ask at a time", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { address: to, server } = await start((asked) => {
      resolve();
      return answerTo(asked, { answers: [address("x.test.", "192.0.2.1", 0)] });
    });
    const asking = Array.from({ length: 20 }, (_, i) => ask(to, query("x.test.", TYPE.A, { id: i })));
    await promise;
    const answers = await Promise.all(asking);
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(server.asked.length).toBeLessThan(20);
  });

  test("answers are kept for their time, with and without DNSSEC apart", async () => {
    const { address: to, server } = await start(known);
    await ask(to, query("known.test."));
    await ask(to, query("KNOWN.test."), "tcp");
    await ask(to, query("nowhere.test."));
    await ask(to, query("nowhere.test."));
    expect(server.asked.length).toBe(2);
    await ask(to, query("known.test.", TYPE.A, { edns: { ...EDNS, dnssecOk: true } }));
    await ask(to, query("known.test.", TYPE.A, { checkingDisabled: true }));
    expect(server.messages.slice(2).map(({ edns, checkingDisabled }) => [edns?.dnssecOk, checkingDisabled])).toEqual([
      [true, false],
      [false, true],
    ]);
  });
});

describe("bad input costs only itself", () => {
  test("datagrams", async () => {
    const { address: to } = await start();
    const whole = encodeMessage(query("server."));
    for (
      const bad of [
        whole.subarray(0, 5),
        whole.subarray(0, 20),
        bytesOf("1234 0100 0001 0000 0000 0000 c00c 0001 0001"),
      ]
    ) {
      const answer = await exchangeUdp(to, bad, 300).catch(() => undefined);
      if (bad.length < 12) expect(answer).toBeUndefined();
      else expect(parsed(answer as Uint8Array)).toMatchObject({ id: 0x1234, rcode: RCODE.FORMERR, questions: [] });
      expect(data(await ask(to, query("server.")))).toEqual(["10.96.0.10"]);
    }
    // Two who refuse each other's refusals would never stop.
    const refusal = query("server.", TYPE.A, { response: true, rcode: RCODE.FORMERR });
    expect(await exchangeUdp(to, encodeMessage(refusal), 100).catch(() => undefined)).toBeUndefined();
  });

  test("streams: what is no DNS ends its own connection", async () => {
    const { address: to } = await start();
    for (const bad of ["GET / HTTP/1.1\r\n\r\n", "\x00\x03abc", "\xff\xff"]) {
      const stream = await Stream.open(to);
      stream.send(Uint8Array.from(bad, (c) => c.charCodeAt(0)));
      await within("the end", stream.closed);
      expect(data(await ask(to, query("server."), "tcp"))).toEqual(["10.96.0.10"]);
    }
  });
});

describe("streams", () => {
  test("many questions in one piece, in pieces of one byte, and a half-closed one", async () => {
    const { address: to } = await start();
    const ids = Array.from({ length: 600 }, (_, i) => i);
    const asked = ids.map((id) => frame(encodeMessage(query("server.", TYPE.A, { id }))));
    const stream = await Stream.open(to);
    stream.send(Uint8Array.from(asked.flatMap((bytes) => [...bytes])));
    stream.finish();
    const seen: number[] = [];
    for (const _ of ids) seen.push(parsed(await stream.next()).id);
    expect(seen.sort((a, b) => a - b)).toEqual(ids);
    await within("the end", stream.closed);

    const slow = await Stream.open(to);
    for (const byte of asked[7] as Uint8Array) slow.send(Uint8Array.of(byte));
    expect(parsed(await slow.next()).id).toBe(7);
    slow.close();
  });

  test("answers come as they are ready", async () => {
    const { address: to, server } = await start();
    const stream = await Stream.open(to);
    server.answering = (asked) => answerTo(asked, { answers: [address("late.test.", "192.0.2.1")] });
    stream.send(Uint8Array.from(
      [query("late.test.", TYPE.A, { id: 1 }), query("server.", TYPE.A, { id: 2 })]
        .flatMap((one) => [...frame(encodeMessage(one))]),
    ));
    expect([parsed(await stream.next()).id, parsed(await stream.next()).id]).toEqual([2, 1]);
    stream.close();
  });

  test("a silent connection ends after five seconds", async () => {
    const { address: to } = await start();
    const stream = await Stream.open(to);
    const began = performance.now();
    stream.send(frame(encodeMessage(query("server."))));
    await stream.next();
    await within("the end", stream.closed, 7000);
    expect(performance.now() - began).toBeGreaterThan(4500);
  }, 10_000);
});

test("an unknown pod is told SERVFAIL after five seconds, one that becomes known is answered", async () => {
  const stranger = newWorkload({ name: "stranger", namespace: "default", serviceAccount: "stranger" });
  const unknown = await start(silent, { client: stranger });
  const first = ask(unknown.address, query("server."), "udp", 7000);
  const began = performance.now();
  expect(await first).toMatchObject({ rcode: RCODE.SERVFAIL });
  expect(performance.now() - began).toBeGreaterThan(4500);
  expect(unknown.lines.filter((line) => line.includes("\twarn\t"))).toEqual([
    expect.stringMatching(
      /src\.workload="stranger" src\.namespace="default" error="failed to fetch .*: stranger\.default \(stranger\)" queries=1$/,
    ),
  ]);
  expect(unknown.counts()).toEqual({ [`istio_dns_requests${LABELS("a", "udp", "unknown", "unknown")}`]: 1 });
  const second = ask(unknown.address, query("server."), "tcp", 7000);
  await ask((await start()).address, query("server.")); // some turns of the loop
  unknown.mesh.replace(
    mesh({
      workloads: [pod("stranger", "10.0.0.3", { namespace: "default" })],
      services: [service("server", "10.96.0.10", { namespace: "default" })],
    }),
    "",
  );
  expect(data(await second)).toEqual(["10.96.0.10"]);
}, 15_000);

describe("resolve(), for SOCKS5", () => {
  const resolve = (proxy: Proxy, name: string, family: "IPv4" | "IPv6" = "IPv4") =>
    within("a result", new Promise((done) => proxy.proxy.resolve(name, family, done)));

  test("names of the mesh and of the world", async () => {
    const proxy = await start(known);
    expect(await resolve(proxy, "server")).toEqual({ ip: "10.96.0.10" });
    expect(await resolve(proxy, "known.test.")).toEqual({ ip: "192.0.2.7" });
    expect(await resolve(proxy, "server", "IPv6")).toEqual({ error: "dns response had no valid IP addresses" });
    expect(await resolve(proxy, "nowhere.test")).toEqual({ error: "dns lookup: NXDOMAIN" });
    expect(await resolve(proxy, "localhost")).toEqual({ ip: "127.0.0.1" });
    expect(await resolve(proxy, "LocalHost", "IPv6")).toEqual({ ip: "::1" });
    expect(proxy.server.asked.filter((line) => /localhost/i.test(line))).toEqual([]);
    for (const name of ["a b", "a\\.b", "a\nb", "caf\xe9"]) {
      expect(await resolve(proxy, name)).toEqual({ error: `dns: not a domain name: ${JSON.stringify(name)}` });
    }
    expect(await resolve(proxy, "a..b")).toEqual({ error: 'dns: not a domain name: "a..b"' });
    expect(await resolve(proxy, "x".repeat(64))).toMatchObject({ error: expect.stringContaining("not a domain name") });
  });

  test("why a name server's answer did not come", async () => {
    const proxy = await start((asked) => answerTo(asked, { rcode: RCODE.REFUSED }));
    expect(await resolve(proxy, "x.test")).toEqual({ error: "dns lookup: REFUSED" });
    const closed = await start(silent);
    closed.server.stop();
    expect(await resolve(closed, "x.test")).toEqual({ error: "dns lookup: Connection refused (os error 111)" });
  });

  test("the pod's own record is missing", async () => {
    const stranger = newWorkload({ name: "stranger", namespace: "default", serviceAccount: "robot" });
    const { proxy } = await start(silent, { client: stranger });
    const result = new Promise((done) => proxy.resolve("server", "IPv4", done));
    expect(await within("a result", result, 7000)).toEqual({
      error: "failed to fetch information about local workload: robot.default (stranger)",
    });
  }, 10_000);
});

describe("localhost", () => {
  test.each([
    ["localhost.", TYPE.A, ["127.0.0.1"], "success"],
    ["LOCALHOST.", TYPE.AAAA, ["00000000000000000000000000000001"], "success"],
    ["any.thing.localhost.", TYPE.A, ["127.0.0.1"], "success"],
    ["localhost.", TYPE.MX, [], "no records"],
  ])("%s, type %i, is nobody else's", async (name, type, answers, result) => {
    const { address: to, server, lines } = await start(silent);
    const answer = await ask(to, query(name, type));
    expect([answer.rcode, data(answer)]).toEqual([RCODE.NOERROR, answers]);
    expect(server.asked).toEqual([]);
    expect(lines.at(-1)).toEndWith(`domain="${name}" result="${result}" endpoints=${answers.length}`);
  });

  test("a name that only ends so is a name like others; without IPv6 there is no ::1", async () => {
    const { address: to, server } = await start(known, { names: { ipv6: false } });
    expect(await ask(to, query("notlocalhost."))).toMatchObject({ rcode: RCODE.NXDOMAIN });
    expect(server.asked).toEqual(["udp a notlocalhost."]);
    expect(await ask(to, query("localhost.", TYPE.AAAA))).toMatchObject({ rcode: RCODE.NOERROR, answers: [] });
  });

  test("a service of that name is the mesh's", async () => {
    const own = mesh({
      workloads: [client],
      services: [service("localhost", "10.96.0.77", { namespace: "default" })],
    });
    const { address: to } = await start(silent, { mesh: own });
    expect(data(await ask(to, query("localhost.")))).toEqual(["10.96.0.77"]);
  });
});

describe("name servers that are away", () => {
  test("one line, not one for each question, and one when it answers again", async () => {
    const { address: to, lines, server } = await start(silent, { upstream: { timeoutMs: 50 } });
    for (const name of ["a.", "b.", "c."]) expect(await ask(to, query(name))).toMatchObject({ rcode: RCODE.SERVFAIL });
    server.answering = known;
    for (const name of ["known.test.", "nowhere.test."]) await ask(to, query(name));
    const told = lines.filter((line) => line.includes("name server")).map((line) => line.split("\t").slice(1));
    const fields = `server=127.0.0.1:${server.port} protocol="udp"`;
    expect(told).toEqual([
      ["warn", "dns", "name server does not answer", `${fields} error="request timed out"`],
      ["info", "dns", "name server answers again", fields],
    ]);
  });

  test("a client that waits five seconds is told, with resolv.conf as it is by default", async () => {
    const upstream = { nameservers: ["127.0.0.1", "127.0.0.2"], timeoutMs: 5000, attempts: 2 };
    const { address: to } = await start(silent, { upstream });
    const began = performance.now();
    expect(await ask(to, query("x.test."), "udp", 5000)).toMatchObject({ rcode: RCODE.SERVFAIL });
    expect(performance.now() - began).toBeLessThan(4900);
  }, 8000);
});

describe("the end", () => {
  test("drain: questions under way are answered, new ones are not heard", async () => {
    const questioned = Promise.withResolvers<Message>();
    const server = await NameServer.start((asked) => void questioned.resolve(asked));
    running.push(server);
    const { proxy, address: to } = await start(silent, { upstream: { port: server.port, timeoutMs: 300 } });
    const slow = ask(to, query("slow.test."));
    await within("the question", questioned.promise);
    const drained = proxy.drain();
    expect(await exchangeUdp(to, encodeMessage(query("server.")), 100).catch(() => undefined)).toBeUndefined();
    expect(await Stream.open(to).then((stream) => within("the end", stream.closed), () => "refused")).toBe("refused");
    expect(await slow).toMatchObject({ rcode: RCODE.SERVFAIL });
    await within("the end", drained);
  });

  test("stop: at once; the port is free", async () => {
    const { proxy, address: to, server } = await start(silent);
    const stream = await Stream.open(to);
    stream.send(frame(encodeMessage(query("slow.test."))));
    const before = server.asked.length;
    await ask(to, query("server."));
    proxy.stop();
    await within("the end", stream.closed);
    expect(server.asked.length).toBeGreaterThanOrEqual(before);
    const again = startProxy({
      client,
      mesh: state,
      upstream: {},
      listen: { kind: "localhost", ipv6: false, port: to.port },
    });
    running.push(again.proxy);
    expect(data(await ask(again.address, query("server.")))).toEqual(["10.96.0.10"]);
  });

  test("a taken port is told, and nothing stays open", async () => {
    const { address: to } = await start();
    const listen = { kind: "localhost", ipv6: false, port: to.port } as const;
    expect(() => startProxy({ client, mesh: state, upstream: {}, listen })).toThrow("EADDRINUSE");
  });
});
