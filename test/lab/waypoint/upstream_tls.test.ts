/**
 * Settings of upstream connections that change under traffic: the very next request is sent as the rules say now, whatever
 * connections there are. Servers: `legacy` outside the mesh, with and without TLS on one port; `v1` in the mesh.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OutsideCa } from "../../waypoint/upstream/certificates.ts";
import { labSuite, type Mesh, type MeshPlan, sharedMesh, TEST_MS } from "../fixture.ts";
import { hostnameOf, LAB_NAMESPACE, waypointGateway, writeFile } from "../mesh/mod.ts";
import { type EchoedRequest, SecureApplication, type SeenConnection, TunnelEnd } from "../peers/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation, type Http1Answer, jsonOf } from "../traffic/mod.ts";
import { ACCESS_LOG, ask, HTTP, HTTP_TARGET, logged, open, TCP } from "./mesh.ts";

const LEGACY_VIP = "10.96.8.11";
const ECHO_VIP = "10.96.8.12";
const LEGACY_TARGET = 8443;
const LEGACY = hostnameOf("legacy");
const LEGACY_PORTS = { [HTTP]: LEGACY_TARGET, [TCP]: LEGACY_TARGET };
const ECHO_PORTS = { [HTTP]: HTTP_TARGET };

const plan: MeshPlan = {
  pods: [
    { name: "client", node: 0, captured: true },
    { name: "legacy", node: 1, captured: false },
    { name: "v1", node: 1, captured: false },
    { name: "waypoint", node: 1, captured: false },
  ],
  meshed: ["client"],
  waypoints: [{ pod: "waypoint" }],
  configuration: (lab) => {
    const waypoint = lab.pod("waypoint");
    return {
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("legacy"), hbone: false, services: { legacy: LEGACY_PORTS } },
        { pod: lab.pod("v1"), hbone: true, services: { echo: ECHO_PORTS } },
        { pod: waypoint, hbone: true },
      ],
      services: [
        {
          name: "legacy",
          vip: LEGACY_VIP,
          ports: LEGACY_PORTS,
          appProtocols: { [HTTP]: "HTTP", [TCP]: "TCP" },
          waypoint,
        },
        { name: "echo", vip: ECHO_VIP, ports: ECHO_PORTS, appProtocols: { [HTTP]: "HTTP" }, waypoint },
      ],
      objects: [waypointGateway(), ACCESS_LOG],
    };
  },
};

labSuite("upstream settings that change", () => {
  let ca: OutsideCa;
  let stranger: OutsideCa;
  let legacy: SecureApplication;
  let roots: string;
  const directory = mkdtempSync(join(tmpdir(), "roots-"));
  let generation = 0;
  beforeAll(() => {
    ca = new OutsideCa();
    stranger = new OutsideCa();
    roots = rootsFile("good", ca.root);
  });
  afterAll(() => {
    for (const issuer of [ca, stranger]) issuer.remove();
    rmSync(directory, { recursive: true });
  });
  const shared = sharedMesh(plan, async (mesh) => {
    const { certificate, key } = ca.issue(`DNS:${LEGACY},DNS:b.test,URI:spiffe://outside/legacy`);
    legacy = await SecureApplication.start(mesh.lab.pod("legacy"), { port: LEGACY_TARGET, key, chain: certificate });
    mesh.onClose(async () => void await legacy.stop());
    const identity = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/v1`;
    const tunnels = await TunnelEnd.start(mesh.lab.pod("v1"), mesh.issuer().issue({ identity }));
    mesh.onClose(async () => void await tunnels.stop());
    await mesh.echo("v1", { http: [HTTP_TARGET] });
  });

  function rootsFile(name: string, pem: string): string {
    const path = join(directory, `${name}.pem`);
    writeFileSync(path, pem);
    return path;
  }

  /** Has a rule for `legacy` served instead of the one before; its name tells when it is. */
  async function shape(mesh: Mesh, trafficPolicy: Record<string, unknown>): Promise<void> {
    const name = `generation-${++generation}`;
    const rule = {
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata: { name, namespace: LAB_NAMESPACE },
      spec: { host: LEGACY, trafficPolicy },
    };
    writeFile(join(mesh.configurationPath, "legacy.yaml"), `${JSON.stringify(rule)}\n`);
    const source = `"DestinationRule ${LAB_NAMESPACE}/${name}"`;
    await eventually(source, async () => (await mesh.waypoint().dumpText()).includes(source));
  }

  const tls = (more: Record<string, unknown> = {}) => ({
    tls: { mode: "SIMPLE", sni: LEGACY, caCertificates: roots, ...more },
  });
  const request = (path = "/") => ask(shared(), { vip: LEGACY_VIP, path, host: LEGACY });
  const seen = async (): Promise<SeenConnection> => {
    const answer = await request();
    expect([answer.status, answer.body.toString()]).toEqual([200, expect.stringContaining("secure")]);
    return jsonOf(answer);
  };
  const refusal = async (): Promise<string> => {
    const { answer, record } = await logged(shared(), { vip: LEGACY_VIP, host: LEGACY });
    expect([answer.status, record.flags]).toEqual([503, "URX,UF"]);
    return record.upstreamFailure;
  };

  test(
    "TLS off, on, off: the next request is sent so, the old connection ends, a running request does not",
    async () => {
      const plain = await seen();
      expect(plain).toMatchObject({ secure: false, sni: "", proxy: null });
      expect((await seen()).connection).toBe(plain.connection);
      const path = `/running?delay=2000&id=${crypto.randomUUID()}`;
      const running = request(path);
      await legacy.asked(path);

      await shape(shared(), tls());
      const secured = await seen();
      expect(secured).toMatchObject({ secure: true, sni: LEGACY });
      const ended: Http1Answer = await running;
      expect(jsonOf<SeenConnection>(ended)).toMatchObject({ secure: false });
      await legacy.closed(jsonOf<SeenConnection>(ended).connection);

      // The same again, and what is no matter of connections: nothing is closed.
      await shape(shared(), tls());
      await shape(shared(), { ...tls(), loadBalancer: { simple: "ROUND_ROBIN" } });
      expect((await seen()).connection).toBe(secured.connection);

      await shape(shared(), { tls: { mode: "DISABLE" } });
      // Without any request: what is idle closes when the rule changes.
      await legacy.closed(secured.connection);
      expect(await seen()).toMatchObject({ secure: false });
    },
    TEST_MS,
  );

  test("an unverified server is verified from then on: wrong roots are 503 with the reason", async () => {
    const wrong = rootsFile("wrong", stranger.root);
    await shape(shared(), tls({ insecureSkipVerify: true, caCertificates: wrong }));
    const { connection, secure } = await seen();
    expect(secure).toBe(true);
    await shape(shared(), tls({ caCertificates: wrong }));
    expect(await refusal()).toMatch(/TLS.*(issuer|verify|self.signed)/i);
    await legacy.closed(connection);
    await shape(shared(), tls());
    expect((await seen()).secure).toBe(true);
  }, TEST_MS);

  test("a file of roots with other contents counts when the rule is read again", async () => {
    const changing = rootsFile("changing", ca.root);
    await shape(shared(), tls({ caCertificates: changing }));
    const { secure } = await seen();
    expect(secure).toBe(true);
    rootsFile("changing", stranger.root);
    await shape(shared(), tls({ caCertificates: changing }));
    expect(await refusal()).toContain("TLS");
  }, TEST_MS);

  test("names asked for: tightened and loosened", async () => {
    await shape(shared(), tls({ subjectAltNames: ["spiffe://outside/legacy"] }));
    const first = await seen();
    await shape(shared(), tls({ subjectAltNames: ["spiffe://outside/other"] }));
    expect(await refusal()).toContain("spiffe://outside/other");
    await legacy.closed(first.connection);
    await shape(shared(), tls({ subjectAltNames: ["spiffe://outside/other", "b.test"] }));
    expect((await seen()).connection).toBeGreaterThan(first.connection);
  }, TEST_MS);

  test("SNI: another name, and that of the request where none is said", async () => {
    await shape(shared(), tls({ sni: "b.test" }));
    expect((await seen()).sni).toBe("b.test");
    await shape(shared(), tls({ sni: LEGACY }));
    expect((await seen()).sni).toBe(LEGACY);
    await shape(shared(), tls({ sni: undefined }));
    const automatic = await seen();
    expect(automatic.sni).toBe(LEGACY);
    const other = await ask(shared(), { vip: LEGACY_VIP, host: "b.test" });
    expect(jsonOf<SeenConnection>(other).sni).toBe("b.test");
    expect((await seen()).connection).toBe(automatic.connection);
    await shape(shared(), tls({ sni: undefined, subjectAltNames: ["nobody.test"] }));
    expect(await refusal()).toContain("nobody.test");
    expect((await ask(shared(), { vip: LEGACY_VIP, host: "b.test" })).status).toBe(503);
  }, TEST_MS);

  for (const [version, secure] of [["V1", true], ["V2", true], ["V1", false], ["V2", false]] as const) {
    test(`PROXY protocol ${version} ${secure ? "before TLS" : "in plaintext"}`, async () => {
      const policy = secure ? tls() : {};
      await shape(shared(), policy);
      expect(await seen()).toMatchObject({ secure, proxy: null });
      await shape(shared(), { ...policy, proxyProtocol: { version } });
      const client = await open(shared(), HTTP, LEGACY_VIP);
      const first = jsonOf<SeenConnection>(await client.exchange({ host: LEGACY }));
      const proxy = {
        version: version === "V1" ? 1 : 2,
        // The client's address, but the port of the tunnel that it comes in.
        source: expect.stringContaining(`${shared().lab.pod("client").ip}:`),
        destination: `${LEGACY_VIP}:${HTTP}`,
      };
      expect(first).toMatchObject({ secure, proxy });
      expect(jsonOf<SeenConnection>(await client.exchange({ host: LEGACY })).connection).toBe(first.connection);
      const other = version === "V1" ? "V2" : "V1";
      await shape(shared(), { ...policy, proxyProtocol: { version: other } });
      const next = jsonOf<SeenConnection>(await client.exchange({ host: LEGACY }));
      expect(next.proxy).toEqual({ ...proxy, version: other === "V1" ? 1 : 2 });
      client.close();
      await legacy.closed(first.connection);
    }, TEST_MS);
  }

  test("a TCP port of an endpoint without a tunnel: plain, TLS, with a PROXY header", async () => {
    const visit = async (): Promise<SeenConnection> => {
      const { namespace } = shared().lab.pod("client");
      const conversation = await Conversation.open(namespace, { ip: LEGACY_VIP, port: TCP });
      conversation.write(`GET / HTTP/1.1\r\nHost: ${LEGACY}\r\nConnection: close\r\n\r\n`);
      const answer = await conversation.readToEnd();
      conversation.close();
      return JSON.parse(/\{.*\}/.exec(answer)?.[0] ?? "{}");
    };
    await shape(shared(), {});
    expect(await visit()).toMatchObject({ secure: false, proxy: null });
    await shape(shared(), tls());
    expect(await visit()).toMatchObject({ secure: true, sni: LEGACY });
    await shape(shared(), { ...tls(), proxyProtocol: { version: "V2" } });
    const source = expect.stringContaining(`${shared().lab.pod("client").ip}:`);
    expect((await visit()).proxy).toEqual({ version: 2, source, destination: `${LEGACY_VIP}:${TCP}` });
    await shape(shared(), tls({ subjectAltNames: ["nobody.test"] }));
    expect((await visit()).connection).toBeUndefined();
  }, TEST_MS);

  test("another service account is expected of an endpoint: its tunnel is not used for it", async () => {
    const mesh = shared();
    const echo = () => logged(mesh, { vip: ECHO_VIP, host: hostnameOf("echo") });
    expect(jsonOf<EchoedRequest>((await echo()).answer).pod).toBe("v1");
    const { workloads } = mesh.configuration;
    const account = (serviceAccount: string) =>
      workloads.map((workload) => (workload.pod.name === "v1" ? { ...workload, serviceAccount } : workload));
    await mesh.configure({ workloads: account("somebody") });
    const expected = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/somebody`;
    await eventually("the expectation", async () => (await mesh.waypoint().dumpText()).includes(expected));
    const { answer, record } = await echo();
    expect([answer.status, record.flags]).toEqual([503, "URX,UF"]);
    expect(record.upstreamFailure).toContain("sa/v1");
    await mesh.configure({ workloads });
    await eventually("the old expectation", async () => !(await mesh.waypoint().dumpText()).includes(expected));
    expect((await echo()).answer.status).toBe(200);
  }, TEST_MS);
});
