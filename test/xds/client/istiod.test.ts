/** The client over a real channel, against the istiod for tests: other hands' HTTP/2, TLS and messages. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GrpcChannel } from "../../../src/grpc/mod.ts";
import { MeshState } from "../../../src/mesh/mod.ts";
import { MetricRegistry, XdsMetrics } from "../../../src/telemetry/mod.ts";
import { DEFAULT_TLS_POLICY } from "../../../src/tls/mod.ts";
import { ADDRESS_TYPE, AdsClient, ztunnelNode } from "../../../src/xds/mod.ts";
import { badResources, type Break, type Istiod, podWorkload, startIstiod } from "../../istiod/mod.ts";
import { keptLogger } from "../../telemetry/lines.ts";
import { FIRST, loadMesh } from "../captures.ts";
import { dumpOf } from "../dump.ts";
import { meshTypes } from "./mesh_types.ts";

const NODE = ztunnelNode({
  podName: "ztunnel-a",
  podNamespace: "istio-system",
  instanceIp: "10.244.0.3",
  nodeName: "node-a",
  metadata: { CLUSTER_ID: "Kubernetes" },
});
const DEADLINE_MS = 60_000;
const WDS = FIRST.map((name) => join(import.meta.dirname, `../captures/wds/${name}.pb`));
const pod = (name: string, ip: string) => podWorkload({ name, ips: [ip], node: { name: "node-a" } });
const uid = (name: string) => `Kubernetes//Pod/default/${name}`;

describe("the client and an istiod", () => {
  let istiod: Istiod;
  let mesh: MeshState;
  let client: AdsClient;
  let channel: GrpcChannel;
  const { logger, lines } = keptLogger();

  beforeEach(async () => {
    istiod = await startIstiod();
    mesh = new MeshState("node-a");
    lines();
    channel = new GrpcChannel({
      target: { host: istiod.address, port: istiod.port },
      roots: () => readFileSync(istiod.rootPath, "utf8"),
      serverNames: ["istiod.istio-system.svc"],
      tlsPolicy: DEFAULT_TLS_POLICY,
      metadata:
        () => [["authorization", `Bearer ${readFileSync(istiod.tokenPath, "utf8")}`], ["clusterid", "Kubernetes"]],
    });
    const log = logger.scope("ztunnel::xds::client");
    const metrics = new XdsMetrics(new MetricRegistry());
    client = new AdsClient({ channel, node: NODE, types: meshTypes(mesh), log, metrics });
    client.start();
  });
  afterEach(async () => {
    client.close();
    channel.close();
    await istiod.close();
  });

  /** The first requests of the latest stream, once both are there. */
  async function introduction(after = 0) {
    const isFirst = (request: { meaning: string }) => request.meaning === "first";
    await istiod.seen.until("request", () => istiod.seen.all("request").filter(isFirst).length >= after + 2, {
      deadlineMs: DEADLINE_MS,
    });
    return istiod.seen.all("request").filter(isFirst).slice(after);
  }

  test("recorded answers: the same mesh, and synced", async () => {
    await istiod.load(WDS);
    await istiod.synced(DEADLINE_MS);
    await client.synced;
    expect(dumpOf(mesh)).toEqual(dumpOf(loadMesh("wds")));
    expect(client.status()).toMatchObject({
      connected: true,
      synced: true,
      types: [{ resources: 65 }, { resources: 7 }],
    });
  });

  test("what cannot be used is refused by name; the rest of the push is in force", async () => {
    await client.synced;
    const bad = badResources().unknownEnum;
    const push = await istiod.put({ put: [bad, pod("a", "10.1.0.1")] });
    const [answer] = await istiod.answers(push, DEADLINE_MS);
    expect(answer?.meaning).toBe("nack");
    expect(answer?.error?.message).toStartWith(`${bad.name}: `);
    expect(mesh.workloadByUid(uid("a"))).toBeDefined();
    expect(client.status().types[0]?.refused?.error).toBe(answer?.error?.message ?? "");
  });

  const BREAKS: Break[] = [
    { how: "status", code: 0, message: "" },
    { how: "status", code: 14, message: "going away" },
    { how: "reset stream", code: 8 },
    { how: "goaway", code: 0, end: true },
    { how: "tcp reset" },
    { how: "tcp end" },
    { how: "half a message" },
  ];
  for (const how of BREAKS) {
    test(`after ${JSON.stringify(how)} it is there again, and says what it has`, async () => {
      await istiod.put({ put: [pod("a", "10.1.0.1")] });
      await client.synced;
      await istiod.synced(DEADLINE_MS);
      await istiod.breakStreams(how);
      const [addresses] = await introduction(2);
      expect(addresses).toMatchObject({
        node: { id: NODE.id },
        typeUrl: ADDRESS_TYPE,
        initialVersions: { [uid("a")]: expect.any(String) },
      });
      const { version, sent } = await istiod.put({ put: [pod("b", "10.1.0.2")] });
      // The stream that was broken may still count as open there.
      await istiod.answers({ version, sent: sent.filter(({ stream }) => stream === addresses?.stream) }, DEADLINE_MS);
      expect([uid("a"), uid("b")].map((name) => mesh.workloadByUid(name)?.uid)).toEqual([uid("a"), uid("b")]);
    });
  }

  test("an outage: what came and went meanwhile is there and gone afterwards, and all else was never away", async () => {
    await istiod.put({ put: [pod("a", "10.1.0.1"), pod("b", "10.1.0.2")] });
    await client.synced;
    await istiod.synced(DEADLINE_MS);
    await istiod.kill("kept");
    expect(mesh.workloadByUid(uid("a"))).toBeDefined();
    await istiod.start(() => istiod.put({ put: [pod("c", "10.1.0.3")], removedAddresses: [uid("a")] }));
    await introduction(2);
    await istiod.synced(DEADLINE_MS);
    expect([..."abc"].map((name) => mesh.workloadByUid(uid(name)) !== undefined)).toEqual([false, true, true]);
    expect(lines().filter((line) => line.includes("connected to the control plane")).length).toBe(2);
  });

  test("more names than istiod takes in a request: a reconnect is none the worse for it", async () => {
    await istiod.generate({ workloads: 60_000, services: 100 });
    await client.synced;
    const { resources = 0 } = client.status().types[0] ?? {};
    expect(resources).toBeGreaterThan(60_000);
    const named = [...mesh.workloads()].map((workload) => workload.uid);
    await istiod.kill("kept");
    const gone = [named[0]!, named[30_000]!, named.at(-1)!];
    await istiod.start(() => istiod.put({ removedAddresses: gone }));
    const [addresses] = await introduction(2);
    const told = addresses?.initialCount ?? 0;
    expect(told).toBeGreaterThan(30_000);
    expect(told).toBeLessThan(resources);
    await istiod.synced(DEADLINE_MS);
    expect(gone.map((name) => mesh.workloadByUid(name))).toEqual([undefined, undefined, undefined]);
    expect([...mesh.workloads()].length).toBe(named.length - 3);
    expect(client.status().types[0]?.resources).toBe(resources - 3);
  }, 2 * DEADLINE_MS);
});
