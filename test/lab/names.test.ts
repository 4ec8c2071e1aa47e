/**
 * Names, as pods see them (spec/ztunnel.md §9): their questions are captured by the rules of §2.6 and answered from the
 * mesh, or by the nameserver of the proxy's own resolv.conf, which sees the pod ask. And names of workloads that have no
 * address (§4.5), and of SOCKS5 (§5.3).
 */
import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { LAB_NAMESPACE, total } from "./mesh/mod.ts";
import { Nameserver, PodResolver, ResolverError, type ZoneEntry } from "./peers/mod.ts";
import { eventually, hasIpv6, type Lab, LAB_DEADLINE_MS } from "./topology/mod.ts";
import {
  Conversation,
  DNS_TYPES,
  type DnsAnswer,
  doubling,
  encodeQuestion,
  openThroughSocks,
  parseAnswer,
} from "./traffic/mod.ts";

const PORT = 8080;
const PORTS = { 80: PORT };
const REQUEST = "hello world";
/** Where pods send their questions: an address that nobody has, as a cluster's DNS service. */
const SERVER = "10.96.0.53";
const SERVER6 = "fd96::53";
const SUFFIX = `${LAB_NAMESPACE}.svc.cluster.local.`;
/** QR, AA, RD, RA. */
const AUTHORITATIVE = 0x8580;
const TTL = 30;
/** More than a message of 512 bytes has room for. */
const MANY = 100;

const manyIps = (prefix: string) => Array.from({ length: MANY }, (_, index) => `${prefix}${index + 1}`);

function zone(lab: Lab): Record<string, ZoneEntry> {
  return {
    "known.test.": { a: ["192.0.2.7"], aaaa: ["2001:db8::7"], txt: ["said"], ttl: 60 },
    "brief.test.": { a: ["192.0.2.8"], ttl: 1 },
    "many.test.": { a: manyIps("192.0.2."), ttl: 60 },
    "refused.test.": { code: 5 },
    "silent.test.": null,
    "backend.test.": { a: [lab.pod("outsider").ip], ttl: 60 },
  };
}

labSuite("names in pods", () => {
  let nameserver: Nameserver | undefined;
  const resolvers = new Map<string, PodResolver>();
  let unknown: Promise<DnsAnswer> | undefined;
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "stranger", node: 0, captured: true },
      { name: "leaver", node: 0, captured: true },
      { name: "unknown", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "outsider", node: 1, captured: false },
      { name: "nameserver", node: 1, captured: false },
    ],
    meshed: ["client", "stranger", "leaver", "unknown", "server"],
    dnsCapture: true,
    environment: { UNSTABLE_ENABLE_SOCKS5: "true", RUST_LOG: "info,access=debug,dns=debug" },
    resolvConf: (lab) => {
      return `search wrong.test\nnameserver ${lab.pod("nameserver").ip}\noptions timeout:1 attempts:1 ndots:5\n`;
    },
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("stranger"), hbone: true, namespace: "shop" },
        { pod: lab.pod("leaver"), hbone: true },
        { pod: lab.pod("server"), hbone: true, services: { server: PORTS, headless: PORTS } },
        {
          pod: lab.pod("outsider"),
          name: "backend",
          hbone: false,
          services: { backend: PORTS },
          fields: { workloadIps: [], hostname: "backend.test" },
        },
      ],
      services: [
        { name: "server", vip: "10.96.0.10", ports: PORTS },
        { name: "both", vip: "", ports: PORTS, fields: { vips: ["/10.96.0.11", "/fd96::11"] } },
        { name: "narrow", vip: "", ports: PORTS, fields: { vips: ["/10.96.0.12", "/fd96::12"], ipFamilies: "IPv4" } },
        { name: "headless", vip: "", ports: PORTS, fields: { vips: [] } },
        { name: "hollow", vip: "", ports: PORTS, fields: { vips: [] } },
        { name: "many", vip: "", ports: PORTS, fields: { vips: manyIps("/10.97.0.") } },
        { name: "private", vip: "10.96.0.13", ports: PORTS, namespace: "shop", fields: { visibility: "Namespace" } },
        { name: "public", vip: "10.96.0.14", ports: PORTS, namespace: "shop" },
        { name: "outside", vip: "10.96.0.15", ports: PORTS, fields: { hostname: "outside.example" } },
        { name: "wild", vip: "10.96.0.16", ports: PORTS, fields: { hostname: "*.wild.example" } },
        { name: "backend", vip: "10.96.0.17", ports: PORTS },
      ],
    }),
  }, async (mesh) => {
    mesh.serve("server", PORT, doubling);
    mesh.serve("outsider", PORT, doubling);
    const started = await Nameserver.start(mesh.lab.pod("nameserver"), zone(mesh.lab));
    nameserver = started;
    mesh.onClose(async () => void await started.stop());
    for (const pod of ["client", "stranger", "leaver", "unknown", "outsider"]) {
      const resolver = await PodResolver.start(mesh.lab.pod(pod), SERVER);
      resolvers.set(pod, resolver);
      mesh.onClose(async () => void await resolver.stop());
    }
    // Begun here, for it takes a while.
    unknown = resolver("unknown").ask("server", { deadlineMs: LAB_DEADLINE_MS });
  });

  const resolver = (pod = "client") => resolvers.get(pod) as PodResolver;
  const questions = () => nameserver?.questions ?? [];
  /** The nameserver tells of a question in its own time: waits for so many about a name. */
  const heard = (name: string, count = 1, since = 0) =>
    eventually(`${count} questions about ${name}`, () => {
      const about = questions().slice(since).filter((line) => line.includes(` ${name} `));
      return about.length >= count && about;
    });

  const hits: readonly [name: string, type: "A" | "AAAA", addresses: readonly string[]][] = [
    ["server", "A", ["10.96.0.10"]],
    [`server.${LAB_NAMESPACE}`, "A", ["10.96.0.10"]],
    [`server.${LAB_NAMESPACE}.svc`, "A", ["10.96.0.10"]],
    [`server.${SUFFIX}`, "A", ["10.96.0.10"]],
    ["server", "AAAA", []],
    ["both", "A", ["10.96.0.11"]],
    ["both", "AAAA", ["fd96::11"]],
    ["narrow", "A", ["10.96.0.12"]],
    ["narrow", "AAAA", []],
    [`hollow.${SUFFIX}`, "A", []],
    ["public.shop", "A", ["10.96.0.14"]],
    ["outside.example", "A", ["10.96.0.15"]],
    ["a.wild.example", "A", ["10.96.0.16"]],
    ["a.b.wild.example", "A", ["10.96.0.16"]],
  ];
  for (const protocol of ["udp", "tcp"] as const) {
    test(`services by every name of theirs, over ${protocol}`, async () => {
      const before = questions().length;
      for (const [name, type, addresses] of hits) {
        const answer = await resolver().ask({ name, type, id: 77 }, { protocol });
        const owner = name.endsWith(".") ? name : `${name}.`;
        expect([name, type, answer]).toMatchObject([name, type, {
          id: 77,
          flags: AUTHORITATIVE,
          question: { name: owner },
          answers: addresses.map((data) => ({ name: owner, ttl: TTL, data })),
        }]);
        expect([name, answer.answers.length]).toEqual([name, addresses.length]);
      }
      // One for the nameserver would have come before this.
      await resolver().ask(`last-${protocol}.test`);
      expect(await heard(`last-${protocol}.test.`)).toHaveLength(1);
      expect(questions().slice(before).filter((line) => !line.includes(" last-"))).toEqual([]);
    }, TEST_MS);
  }

  test("a service without VIP gives the addresses of its pods", async () => {
    const { ip, ip6 } = shared().lab.pod("server");
    const answer = await resolver().ask("headless");
    expect(answer.answers.map(({ data }) => data)).toEqual([ip]);
    if (ip6 === undefined) return;
    const six = await resolver().ask({ name: "headless", type: "AAAA" });
    expect(six.answers.map(({ data }) => data)).toEqual([ip6]);
  }, TEST_MS);

  test("a name with a search domain behind it is an alias of the name before it", async () => {
    const asked = `outside.example.${SUFFIX}`;
    const answer = await resolver().ask(asked);
    expect(answer.flags).toBe(AUTHORITATIVE);
    expect(answer.answers.map(({ name, type, data }) => [name, type, data])).toEqual([
      [asked, DNS_TYPES.CNAME, "outside.example."],
      ["outside.example.", DNS_TYPES.A, "10.96.0.15"],
    ]);
  }, TEST_MS);

  test("a service of one namespace is there for that namespace alone", async () => {
    const inside = await resolver("stranger").ask("private");
    expect(inside.answers.map(({ data }) => data)).toEqual(["10.96.0.13"]);
    const outside = await resolver().ask("private.shop.svc.cluster.local");
    expect(outside).toMatchObject({ code: "NXDOMAIN", answers: [] });
  }, TEST_MS);

  test("what is not in the mesh is asked of the nameserver, which sees the pod, not the node", async () => {
    const { ip } = shared().lab.pod("client");
    const answer = await resolver().ask("known.test");
    expect(answer).toMatchObject({ code: "NOERROR", authoritative: false });
    expect(answer.answers.map(({ name, data }) => [name, data])).toEqual([["known.test.", "192.0.2.7"]]);
    const text = await resolver().ask({ name: "known.test", type: "TXT" });
    expect(text.answers.map(({ data }) => data)).toEqual([Buffer.from("\x04said").toString("hex")]);
    expect(await heard("known.test.", 2)).toEqual([`udp a known.test. from ${ip}`, `udp txt known.test. from ${ip}`]);
  }, TEST_MS);

  test("codes of the nameserver are passed on; its silence is SERVFAIL", async () => {
    expect((await resolver().ask("nowhere.test")).code).toBe("NXDOMAIN");
    expect((await resolver().ask("refused.test")).code).toMatch(/REFUSED|SERVFAIL/);
    const { process } = shared().ztunnel(0);
    const since = process.lines.length;
    expect((await resolver().ask("silent.test", { deadlineMs: LAB_DEADLINE_MS })).code).toBe("SERVFAIL");
    const server = `server=${shared().lab.pod("nameserver").ip}:53 protocol="udp"`;
    const told = (text: string) =>
      process.line((line) => line.includes("name server ") && line.includes(text), undefined, since);
    expect(await told("does not answer")).toEndWith(`${server} error="request timed out"`);
    expect((await resolver().ask("nowhere.test")).code).toBe("NXDOMAIN");
    await resolver().ask("back.test");
    expect(await told("answers again")).toEndWith(server);
    // The search list of the proxy's own resolv.conf is not for the pods.
    expect(questions().filter((line) => line.includes("wrong.test"))).toEqual([]);
  }, TEST_MS);

  test("a long answer is truncated over UDP, whole with EDNS and over TCP", async () => {
    for (const name of ["many", "many.test"]) {
      const short = await resolver().ask(name);
      expect([name, short.truncated, short.length <= 512, short.edns]).toEqual([name, true, true, undefined]);
      expect(short.answers.length).toBeLessThan(MANY);
      const wide = await resolver().ask({ name, edns: { size: 4096, dnssec: true } });
      expect([name, wide.truncated, wide.answers.length]).toEqual([name, false, MANY]);
      expect(wide.edns).toEqual({ size: 4096, version: 0, dnssec: true });
      const whole = await resolver().ask(name, { protocol: "tcp" });
      expect([name, whole.truncated, whole.answers.length]).toEqual([name, false, MANY]);
    }
  }, TEST_MS);

  test.skipIf(!hasIpv6())("questions to a nameserver of IPv6 are captured too", async () => {
    for (const protocol of ["udp", "tcp"] as const) {
      const answer = await resolver().ask("server", { protocol, server: SERVER6 });
      expect(answer.answers.map(({ data }) => data)).toEqual(["10.96.0.10"]);
    }
  }, TEST_MS);

  test("what is no question is refused, and disturbs nothing", async () => {
    const whole = encodeQuestion({ name: "server" });
    const response = encodeQuestion({ name: "server", flags: 0x8100 });
    const notify = encodeQuestion({ name: "server", flags: 0x2000 });
    expect(parseAnswer(await resolver().send(response)).code).toBe("FORMERR");
    expect(parseAnswer(await resolver().send(notify)).code).toBe("NOTIMP");
    const circle = Buffer.concat([whole.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
    const bad = [circle, whole.subarray(0, 5), whole.subarray(0, whole.length - 3), Buffer.alloc(600, 0xff)];
    for (const message of bad) {
      for (const protocol of ["udp", "tcp"] as const) {
        const answer = await resolver().send(message, { protocol, deadlineMs: 200 }).catch((error) => error);
        // Silence is right as well; an answer has to be a refusal.
        if (!(answer instanceof ResolverError)) expect(answer[3] & 0xf).not.toBe(0);
        expect((await resolver().ask("server", { protocol })).code).toBe("NOERROR");
      }
    }
  }, TEST_MS);

  test("every question is counted, by type, transport and who asks", async () => {
    const mesh = shared();
    const labels = { request_query_type: "a", source_canonical_service: "client" };
    const read = async (name: string, protocol: string) =>
      total(await mesh.ztunnel(0).metrics(), `istio_dns_${name}`, { ...labels, request_protocol: protocol });
    const names = ["requests_total", "upstream_requests_total", "upstream_failures_total"];
    for (const protocol of ["udp", "tcp"] as const) {
      const all = () => Promise.all(names.map((name) => read(name, protocol)));
      const before = await all();
      await resolver().ask("server", { protocol });
      await resolver().ask("unheard.test", { protocol });
      const after = await all();
      expect(after.map((value, index) => value - (before[index] ?? 0))).toEqual([2, 1, 0]);
    }
    expect(await read("upstream_request_duration_seconds_count", "udp")).toBeGreaterThan(0);
  }, TEST_MS);

  test("every question has a line at level debug", async () => {
    const { process } = shared().ztunnel(0);
    const since = process.lines.length;
    await resolver().ask(`server.${SUFFIX}`);
    const line = await process.line(
      (text) => text.includes(`server.${SUFFIX}`) && text.includes("success"),
      undefined,
      since,
    );
    expect(line).toContain('src.workload="client"');
    expect(line).toEndWith('query="A" domain="server.demo.svc.cluster.local." result="success" endpoints=1');
  }, TEST_MS);

  test("SOCKS5 by name: of a service, of the world outside, and of nobody", async () => {
    const mesh = shared();
    const { namespace } = mesh.lab.pod("client");
    for (const host of [`server.${SUFFIX}`, "backend.test"]) {
      const conversation = await openThroughSocks(namespace, { host, port: host === "backend.test" ? PORT : 80 });
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.close();
    }
    await heard("backend.test.");
    const { process } = mesh.ztunnel(0);
    const nobody = await openThroughSocks(namespace, { host: "nowhere.test", port: 80 }).catch((error) => error.code);
    expect(nobody).toBe("SOCKS5-4");
    const line = await process.line((text) => text.includes("request refused") && text.includes("nowhere.test"));
    expect(line).toMatch(
      /src\.addr=127\.0\.0\.1:[0-9]+ src\.workload="client" src\.namespace="demo" dst\.hostname="nowhere\.test" dst\.port=80 direction="outbound" error="dns lookup: NXDOMAIN"$/,
    );
  }, TEST_MS);

  test("a workload that has only a hostname is resolved when it is needed, by the node, and counted", async () => {
    const mesh = shared();
    const before = questions().length;
    const labels = { hostname: "backend.test", source_workload: "client" };
    for (let round = 1; round <= 2; round++) {
      const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip: "10.96.0.17", port: 80 });
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.finish();
      const line = await mesh.ztunnel(0).endOf(conversation.address);
      expect(line.message).toBe("connection complete");
      expect(line.fields).toMatchObject({
        "dst.addr": `${mesh.lab.pod("outsider").ip}:${PORT}`,
        "dst.workload": "backend",
      });
      const count = total(await mesh.ztunnel(0).metrics(), "istio_on_demand_dns_total", labels);
      expect(count).toBe(round);
    }
    // The second time from the cache.
    const node = mesh.lab.node(0).ip;
    const asked = (await heard("backend.test.", 1, before)).filter((line) => line.startsWith("udp a "));
    expect(asked).toEqual([`udp a backend.test. from ${node}`]);
  }, TEST_MS);

  test("a pod that is not captured asks for itself", async () => {
    const mesh = shared();
    const server = mesh.lab.pod("nameserver").ip;
    expect((await resolver("outsider").ask("server", { server })).code).toBe("NXDOMAIN");
  }, TEST_MS);

  test("a pod that leaves the mesh is not answered any more", async () => {
    const mesh = shared();
    expect((await resolver("leaver").ask("server")).code).toBe("NOERROR");
    await mesh.agent(0).remove(mesh.lab.pod("leaver").uid);
    const failure = await resolver("leaver").ask("server", { deadlineMs: 500 }).catch((error) => error);
    expect(failure).toBeInstanceOf(ResolverError);
    expect((await resolver().ask("server")).code).toBe("NOERROR");
  }, TEST_MS);

  test("a pod without a record is not answered from the mesh, nor by the nameserver", async () => {
    expect((await unknown)?.code).toBe("SERVFAIL");
    const line = await shared().ztunnel(0).process.line((text) => text.includes("without a record"));
    expect(line).toContain('src.workload="unknown" src.namespace="demo" error="failed to fetch information about');
    const { namespace } = shared().lab.pod("unknown");
    const refused = await openThroughSocks(namespace, { host: "server", port: 80 }).catch((error) => error.code);
    expect(refused).toBe("SOCKS5-4");
    const why = await shared().ztunnel(0).process.line((text) =>
      text.includes("request refused") && text.includes('src.workload="unknown"')
    );
    expect(why).toMatch(
      /dst\.hostname="server" dst\.port=80 .* error="failed to fetch information about local workload: /,
    );
  }, TEST_MS);

  // The last one: it takes the nameserver away.
  test("a nameserver that is gone: what it said last is said on, the mesh's own names are as before", async () => {
    expect((await resolver().ask("brief.test")).answers.map(({ data }) => data)).toEqual(["192.0.2.8"]);
    await nameserver?.stop();
    const stale = await eventually("an answer from the cache past its time", async () => {
      const answer = await resolver().ask("brief.test", { deadlineMs: LAB_DEADLINE_MS });
      return answer.answers[0]?.ttl !== 1 && answer;
    }, 30_000);
    expect(stale.code).toBe("NOERROR");
    expect(stale.answers.map(({ data }) => data)).toEqual(["192.0.2.8"]);
    expect((await resolver().ask("server")).flags).toBe(AUTHORITATIVE);
    expect((await resolver().ask("never.test", { deadlineMs: LAB_DEADLINE_MS })).code).toBe("SERVFAIL");
  }, TEST_MS);
});
