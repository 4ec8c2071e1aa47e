/**
 * What a large mesh costs, decoded from the wire as a control plane sends it: memory, look-ups, and updates of one
 * workload in a small and a large mesh.
 *
 *     bun test/bench/core/mesh.ts
 *
 * Memory is that of the whole process: measured in a child that does nothing else.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { MeshState, type MeshUpdate, newWorkload, type Service, type WorkloadUpdate } from "../../../src/mesh/mod.ts";
import { decodeAddress } from "../../../src/xds/mod.ts";

export interface MeshFigures {
  readonly workloads: number;
  readonly services: number;
  /** Of a fresh process before and after it has loaded the mesh, bytes. */
  readonly baseRss: number;
  readonly rss: number;
  /** The most that it had on the way, bytes. */
  readonly peakRss: number;
  /** To decode and apply everything, ms. */
  readonly load: number;
  /** One look-up, ns. */
  readonly byAddress: number;
  readonly byVip: number;
  /** Neither a workload nor a VIP has the address. */
  readonly unknownAddress: number;
  /** In a mesh with 8 000 CIDR VIPs of 8 lengths in either family, ns. */
  readonly byRange: number;
  readonly byRangeIpv6: number;
  readonly outsideRanges: number;
  /** Choice of an endpoint of a service with 10 000, ns: any, and the closest. */
  readonly choose: number;
  readonly chooseClosest: number;
  /** Replacement of one workload, decoded already, µs; by the number of workloads. */
  readonly update: readonly { readonly workloads: number; readonly median: number }[];
  /** The same where its service has 10 000 endpoints of which some have been chosen before, µs. */
  readonly updateLargeService: number;
}

const NAMESPACES = 100;
const NODES = 1_000;
const BATCH = 500;

function ipBytes(base: number, index: number): Uint8Array {
  return new Uint8Array([base, (index >>> 16) & 255, (index >>> 8) & 255, index & 255]);
}

function ipText(base: number, index: number): string {
  return ipBytes(base, index).join(".");
}

const namespaceOf = (application: number) => `team-${application % NAMESPACES}`;
const nameOf = (application: number) => `application-${application}`;
const serviceKeyOf = (application: number) =>
  `${namespaceOf(application)}/${nameOf(application)}.${namespaceOf(application)}.svc.cluster.local`;

/** istio.workload.Address of a pod, one of the replicas of an application; every other is in two services. */
export function encodeWorkload(index: number, applications: number, revision = "v1"): Uint8Array {
  const application = index % applications;
  const namespace = namespaceOf(application);
  const name = `${nameOf(application)}-6d5f8c7b9d-${index.toString(36).padStart(5, "x")}`;
  const writer = new BinaryWriter().uint32(10).fork();
  const text = (field: number, value: string) => writer.uint32(field << 3 | 2).string(value);
  text(20, `Kubernetes//Pod/${namespace}/${name}`);
  text(1, name);
  text(2, namespace);
  writer.uint32(3 << 3 | 2).bytes(ipBytes(10, index));
  text(4, "network-1");
  writer.uint32(5 << 3).int32(1);
  text(6, "cluster.local");
  text(7, nameOf(application));
  text(9, `ip-10-40-${index % NODES}.eu-west-1.compute.internal`);
  text(10, nameOf(application));
  text(11, revision);
  writer.uint32(12 << 3).int32(2);
  text(13, nameOf(application));
  text(18, "cluster-1");
  writer.uint32(24 << 3 | 2).fork();
  text(1, "eu-west-1");
  text(2, `eu-west-1${"abc"[index % 3]}`);
  writer.join();
  const joined = index % 2 === 0 ? [application] : [application, (application + 1) % applications];
  for (const service of joined) {
    writer.uint32(22 << 3 | 2).fork();
    text(1, serviceKeyOf(service));
    writer.uint32(2 << 3 | 2).fork().uint32(1 << 3 | 2).fork().uint32(8).uint32(80).uint32(16).uint32(8080).join()
      .join();
    writer.join();
  }
  return writer.join().finish();
}

export function encodeService(application: number): Uint8Array {
  const writer = new BinaryWriter().uint32(18).fork();
  const text = (field: number, value: string) => writer.uint32(field << 3 | 2).string(value);
  text(1, nameOf(application));
  text(2, namespaceOf(application));
  text(3, `${nameOf(application)}.${namespaceOf(application)}.svc.cluster.local`);
  writer.uint32(4 << 3 | 2).fork();
  text(1, "network-1");
  writer.uint32(2 << 3 | 2).bytes(ipBytes(172, application)).join();
  writer.uint32(5 << 3 | 2).fork().uint32(8).uint32(80).uint32(16).uint32(8080).join();
  return writer.join().finish();
}

function decode(encoded: readonly Uint8Array[]): MeshUpdate {
  const workloads: WorkloadUpdate[] = [];
  const services: Service[] = [];
  for (const bytes of encoded) {
    const result = decodeAddress(bytes);
    if (!result.ok) throw new Error(result.error);
    if (result.address.kind === "workload") workloads.push(result.address.update);
    else services.push(result.address.service);
  }
  return { workloads, services };
}

/** Fills a mesh batch by batch, as a push is taken in. `eachBatch` is told what it took to decode and apply one, ms. */
function load(workloads: number, services: number, eachBatch: (time: number) => void = () => {}): MeshState {
  const state = new MeshState("ip-10-40-7.eu-west-1.compute.internal");
  const batches = (count: number, encode: (index: number) => Uint8Array) => {
    for (let at = 0; at < count; at += BATCH) {
      const encoded = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => encode(at + i));
      const started = performance.now();
      state.apply(decode(encoded));
      eachBatch(performance.now() - started);
    }
  };
  batches(services, encodeService);
  batches(workloads, (index) => encodeWorkload(index, services));
  return state;
}

/** Time of one call in the fastest of some rounds, ns: what other processes took is not ours. `run` makes `calls`. */
function nanoseconds(calls: number, run: () => void): number {
  let fastest = Infinity;
  for (let round = 0; round < 11; round++) {
    const started = Bun.nanoseconds();
    run();
    fastest = Math.min(fastest, (Bun.nanoseconds() - started) / calls);
  }
  return fastest;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

/** So that what is measured cannot be left out. */
let found = 0;

function lookups(ips: readonly string[], find: (ip: string) => unknown): number {
  return nanoseconds(ips.length, () => {
    for (const ip of ips) if (find(ip) !== undefined) found++;
  });
}

/** Replacements of one workload each, µs. */
function updates(state: MeshState, workloads: number, services: number): number {
  const times: number[] = [];
  for (let i = 0; i < 2_000; i++) {
    const index = Math.imul(i, 7919) % workloads;
    const update = decode([encodeWorkload(index, services, `v${i}`)]);
    const started = Bun.nanoseconds();
    state.apply(update);
    times.push((Bun.nanoseconds() - started) / 1_000);
  }
  return median(times);
}

function spread(count: number, base: number, limit: number): string[] {
  return Array.from({ length: count }, (_, i) => ipText(base, Math.imul(i, 7919) % limit));
}

function rangedMesh(): MeshState {
  const state = new MeshState();
  const service = (encoded: number, cidr: string): Service => {
    const [record] = decode([encodeService(encoded)]).services!;
    return { ...record!, vips: [], cidrVips: [{ network: "network-1", cidr }] };
  };
  state.apply({
    services: Array.from({ length: 4_000 }, (_, i) => [
      service(2 * i, `${ipText(20, i << 8)}/${24 - i % 8}`),
      service(2 * i + 1, `fd00:${i.toString(16)}::/${64 - i % 8}`),
    ]).flat(),
  });
  return state;
}

const [HERE, THERE] = ["a", "b"].map((node) =>
  newWorkload({ node, network: "network-1", locality: { region: "eu-west-1", zone: "eu-west-1a", subzone: "" } })
);

/** A service with 10 000 endpoints, of which choices have been made in both ways. */
function largeService() {
  const state = load(10_000, 1);
  const [key] = decode([encodeService(0)]).services!;
  const service = () => state.service(key!.namespace, key!.hostname)!;
  const pick = (source = HERE!) => state.endpointPool(service()).choose(source, 80, { random: Math.random });
  const any = nanoseconds(10_000, () => {
    for (let i = 0; i < 10_000; i++) if (pick() !== undefined) found++;
  });
  state.apply({
    services: [{
      ...key!,
      loadBalancer: {
        mode: "Failover",
        routingPreferences: ["Network", "Region", "Zone"],
        healthPolicy: "OnlyHealthy",
      },
    }],
  });
  pick(THERE);
  const closest = nanoseconds(10_000, () => {
    for (let i = 0; i < 10_000; i++) if (pick() !== undefined) found++;
  });
  return { any, closest, update: updates(state, 10_000, 1) };
}

/** What the child prints: the large mesh alone. */
async function measureLargeMesh(workloads: number, services: number) {
  Bun.gc(true);
  const baseRss = process.memoryUsage.rss();
  let peakRss = baseRss;
  let time = 0;
  const state = load(workloads, services, (batch) => {
    time += batch;
    peakRss = Math.max(peakRss, process.memoryUsage.rss());
  });
  Bun.gc(true);
  // The allocator gives pages back when it has been idle.
  await Bun.sleep(1_500);
  const rss = process.memoryUsage.rss();
  const address = (ip: string) => state.workloadByAddress("network-1", ip);
  const vip = (ip: string) => state.serviceByVip("network-1", ip, "team-1");
  return {
    workloads,
    services,
    baseRss,
    rss,
    peakRss,
    load: time,
    byAddress: lookups(spread(20_000, 10, workloads), address),
    byVip: lookups(spread(20_000, 172, services), vip),
    unknownAddress: lookups(spread(20_000, 93, 1 << 20), (ip) => address(ip) ?? vip(ip)),
    update: updates(state, workloads, services),
  };
}

/** @param size of the large mesh */
export async function meshFigures(size = { workloads: 100_000, services: 10_000 }): Promise<MeshFigures> {
  const child = Bun.spawn(
    [process.execPath, fileURLToPath(import.meta.url), "--child", String(size.workloads), String(size.services)],
    { stdout: "pipe", stderr: "inherit" },
  );
  const output = await new Response(child.stdout).text();
  if (await child.exited !== 0) throw new Error("bench: the mesh could not be measured");
  const large = JSON.parse(output) as Awaited<ReturnType<typeof measureLargeMesh>>;

  const ranged = rangedMesh();
  const inRange = (ip: string) => ranged.serviceByVip("network-1", ip, "team-1");
  const ipv6 = Array.from(
    { length: 20_000 },
    (_, i) => `fd00:${(i % 4_000).toString(16)}::${(i % 250 + 1).toString(16)}`,
  );
  const choice = largeService();
  const small = { workloads: 1_000, services: 100 };
  const smallUpdate = updates(load(small.workloads, small.services), small.workloads, small.services);
  return {
    ...large,
    byRange: lookups(spread(20_000, 20, 4_000 << 8), inRange),
    byRangeIpv6: lookups(ipv6, inRange),
    outsideRanges: lookups(spread(20_000, 93, 1 << 20), inRange),
    choose: choice.any,
    chooseClosest: choice.closest,
    update: [{ workloads: small.workloads, median: smallUpdate }, { workloads: large.workloads, median: large.update }],
    updateLargeService: choice.update,
  };
}

export function renderMeshFigures(figures: MeshFigures): string {
  const megabytes = (bytes: number) => `${(bytes / (1 << 20)).toFixed(0)} MB`;
  const updateTimes = figures.update.map(({ workloads, median }) => `${median.toFixed(2)} µs among ${workloads}`);
  return [
    `${figures.workloads} workloads, ${figures.services} services: RSS ${megabytes(figures.rss)} ` +
    `(at most ${megabytes(figures.peakRss)}, empty ${megabytes(figures.baseRss)}), loaded in ${
      figures.load.toFixed(0)
    } ms`,
    `look-up: address ${figures.byAddress.toFixed(0)} ns, VIP ${figures.byVip.toFixed(0)} ns, ` +
    `neither ${figures.unknownAddress.toFixed(0)} ns`,
    `8 000 CIDR VIPs: IPv4 ${figures.byRange.toFixed(0)} ns, IPv6 ${figures.byRangeIpv6.toFixed(0)} ns, ` +
    `outside ${figures.outsideRanges.toFixed(0)} ns`,
    `choice among 10 000 endpoints: any ${figures.choose.toFixed(0)} ns, closest ${
      figures.chooseClosest.toFixed(0)
    } ns`,
    `update of one workload: ${updateTimes.join(", ")}; in a service of 10 000 ${
      figures.updateLargeService.toFixed(2)
    } µs`,
  ].join("\n");
}

if (import.meta.main) {
  const [flag, workloads, services] = process.argv.slice(2);
  if (flag === "--child") console.log(JSON.stringify(await measureLargeMesh(Number(workloads), Number(services))));
  else console.log(renderMeshFigures(await meshFigures()));
}
