/** Names in pods of other kinds than those of names.test.ts: one address family, dedicated mode, no capture (spec/ztunnel.md §9). */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { LAB_NAMESPACE } from "./mesh/mod.ts";
import { Nameserver, PodResolver } from "./peers/mod.ts";
import { hasIpv6 } from "./topology/mod.ts";

const PORTS = { 80: 8080 };
/** Where pods send their questions: addresses that nobody has. */
const SERVER = "10.96.0.53";
const SERVER6 = "fd96::53";
const SUFFIX = `${LAB_NAMESPACE}.svc.cluster.local.`;
/** QR, AA, RD, RA. */
const AUTHORITATIVE = 0x8580;

/** A cluster of one family, with one question of each kind. */
function oneFamily(addresses: "ipv4" | "ipv6", environment: Record<string, string> = {}): () => PodResolver {
  const pod = (name: string, node: number, captured: boolean) => ({ name, node, captured, addresses });
  let started: PodResolver | undefined;
  let questions: () => readonly string[] = () => [];
  const shared = sharedMesh({
    pods: [pod("client", 0, true), pod("nameserver", 1, false)],
    meshed: ["client"],
    dnsCapture: true,
    environment,
    resolvConf: (lab) => `nameserver ${lab.pod("nameserver").ip}\noptions timeout:1 attempts:1\n`,
    configuration: (lab) => ({
      workloads: [{ pod: lab.pod("client"), hbone: true }],
      services: [{ name: "both", vip: "", ports: PORTS, fields: { vips: ["/10.96.0.11", "/fd96::11"] } }],
    }),
  }, async (mesh) => {
    const nameserver = await Nameserver.start(mesh.lab.pod("nameserver"), {
      "known.test.": { a: ["192.0.2.7"], aaaa: ["2001:db8::7"] },
    });
    const resolver = await PodResolver.start(mesh.lab.pod("client"), addresses === "ipv4" ? SERVER : SERVER6);
    mesh.onClose(async () => void await Promise.all([nameserver.stop(), resolver.stop()]));
    questions = () => nameserver.questions;
    started = resolver;
  });
  test("services, and what the nameserver says", async () => {
    const { ip } = shared().lab.pod("client");
    const resolver = started as PodResolver;
    for (const protocol of ["udp", "tcp"] as const) {
      expect((await resolver.ask("both", { protocol })).answers.map(({ data }) => data)).toEqual(["10.96.0.11"]);
      const known = await resolver.ask("known.test", { protocol });
      expect(known.answers.map(({ data }) => data)).toEqual(["192.0.2.7"]);
    }
    expect(questions().filter((line) => line.endsWith(`a known.test. from ${ip}`)).length).toBeGreaterThan(0);
  }, TEST_MS);
  return () => started as PodResolver;
}

labSuite("names in pods of IPv4 with IPV6_ENABLED=false", () => {
  const resolver = oneFamily("ipv4", { IPV6_ENABLED: "false" });
  test("no service has an address of IPv6", async () => {
    const answer = await resolver().ask({ name: "both", type: "AAAA" });
    expect([answer.flags, answer.answers]).toEqual([AUTHORITATIVE, []]);
  }, TEST_MS);
});

if (hasIpv6()) {
  labSuite("names in pods of IPv6 alone", () => {
    const resolver = oneFamily("ipv6");
    test("the nameserver is asked over IPv6, and services have both addresses", async () => {
      const answer = await resolver().ask({ name: "both", type: "AAAA" });
      expect(answer.answers.map(({ data }) => data)).toEqual(["fd96::11"]);
    }, TEST_MS);
  });
}

labSuite("names in dedicated mode", () => {
  let resolver: PodResolver | undefined;
  sharedMesh({
    pods: [{ name: "client", node: 0, captured: true }, { name: "nameserver", node: 0, captured: false }],
    meshed: [],
    nodes: ["a"],
    start: false,
    dnsCapture: true,
    resolvConf: (lab) => `search corp.test\nnameserver ${lab.pod("nameserver").ip}\n`,
    configuration: (lab) => ({
      workloads: [{ pod: lab.pod("client"), hbone: true }],
      services: [{ name: "outside", vip: "10.96.0.15", ports: PORTS, fields: { hostname: "outside.example" } }],
    }),
  }, async (mesh) => {
    const nameserver = await Nameserver.start(mesh.lab.pod("nameserver"), { "known.test.": { a: ["192.0.2.7"] } });
    const started = await PodResolver.start(mesh.lab.pod("client"), SERVER);
    mesh.onClose(async () => void await Promise.all([nameserver.stop(), started.stop()]));
    await mesh.dedicate("client").untilReady();
    resolver = started;
  });

  test("search domains are those of resolv.conf", async () => {
    const answer = await resolver?.ask("outside.example.corp.test");
    expect(answer?.answers.map(({ name, data }) => [name, data])).toEqual([
      ["outside.example.corp.test.", "outside.example."],
      ["outside.example.", "10.96.0.15"],
    ]);
    expect((await resolver?.ask("known.test"))?.answers.map(({ data }) => data)).toEqual(["192.0.2.7"]);
    expect((await resolver?.ask(`outside.example.${SUFFIX}`))?.code).toBe("NXDOMAIN");
  }, TEST_MS);
});

labSuite("names with ISTIO_META_DNS_CAPTURE=false", () => {
  const shared = sharedMesh({
    pods: [{ name: "client", node: 0, captured: true }],
    meshed: ["client"],
    nodes: ["a"],
    environment: { ISTIO_META_DNS_CAPTURE: "false" },
    configuration: (lab) => ({ workloads: [{ pod: lab.pod("client"), hbone: true }] }),
  });
  test("nothing listens for questions in the pod", () => {
    expect(shared().lab.pod("client").namespace.run(["ss", "-Hlntu"])).not.toContain(":15053");
  });
});
