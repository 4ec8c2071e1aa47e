import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import type { HostnameResolver, ResolvedHostname } from "../../src/dns/mod.ts";
import type { ConnectOwner, Pool } from "../../src/hbone/mod.ts";
import { type SocketStock, SystemError } from "../../src/linux/mod.ts";
import type { MeshState } from "../../src/mesh/mod.ts";
import { TcpEndpoint, type TcpSocket } from "../../src/net/tcp_endpoint.ts";
import {
  AccessLog,
  Logger,
  MetricRegistry,
  OnDemandDnsMetrics,
  registerConnectMetrics,
  registerHeldMetrics,
  TrafficMetrics,
} from "../../src/telemetry/mod.ts";
import { connectFailure } from "../../src/hbone/mod.ts";
import { Ejections } from "../../src/ztunnel/ejection.ts";
import { MeshSource } from "../../src/ztunnel/mesh_source.ts";
import { OutboundConnection } from "../../src/ztunnel/outbound.ts";
import { WorkloadContext } from "../../src/ztunnel/workload_context.ts";
import { address, infoOf, mesh, pod, service, SETTINGS } from "../mesh/fixtures.ts";

const client = pod("client", "10.0.0.1");
const neighbour = pod("neighbour", "10.0.0.9");
const web = service("web", "10.96.0.1");
const VIP = address("10.96.0.1:80");

/** The pool's side of a CONNECT. */
interface Asked {
  readonly owner: ConnectOwner;
  abandoned: boolean;
}

/** One pod, and everything around its outgoing connections. */
function outgoing(state: MeshState) {
  const registry = new MetricRegistry();
  const lines: string[] = [];
  const logger = new Logger({ write: (text: string) => void lines.push(text), flush() {} });
  const lookups: ((result: ResolvedHostname) => void)[] = [];
  const plane = {
    config: { idleTimeout: undefined },
    mesh: new MeshSource(state),
    routing: SETTINGS,
    accessLog: new AccessLog(logger),
    traffic: new TrafficMetrics(registry),
    connects: registerConnectMetrics(registry),
    held: registerHeldMetrics(registry),
    onDemandDns: new OnDemandDnsMetrics(registry),
    ejections: new Ejections(),
    certificates: { peek: () => ({}) },
    hostnames: { resolve: (_name, _prefer, done) => void lookups.push(done) } as Pick<HostnameResolver, "resolve">,
  } as unknown as ConstructorParameters<typeof WorkloadContext>[0];
  const asked: Asked[] = [];
  const pool = {
    connect(_target: unknown, _headers: unknown, owner: ConnectOwner) {
      const one: Asked = { owner, abandoned: false };
      asked.push(one);
      return { abandon: () => void (one.abandoned = true) };
    },
  } as unknown as Pool;
  const contextOf = (workload = client) => new WorkloadContext(plane, infoOf(workload), undefined, undefined);
  const connect = (context: WorkloadContext, to = VIP) => {
    const socket = { end() {}, terminate() {}, pause() {}, resume() {} } as unknown as TcpSocket;
    const downstream = new TcpEndpoint(socket);
    new OutboundConnection(context, pool, downstream, address("10.0.0.1:40000"), to).start();
    return downstream;
  };
  return { plane, asked, lines, lookups, contextOf, connect };
}

/** A context whose sockets cannot be made. */
function exhausted(context: WorkloadContext, code: "EMFILE"): WorkloadContext {
  const stock = { take: () => new SystemError("socket(SOCK_STREAM)", constants.errno[code]) } as unknown as SocketStock;
  Object.assign(context.dialOptions, { stock });
  return context;
}

describe("connects that fail", () => {
  const one = pod("one", "10.0.0.2", { protocol: "TCP" });
  const two = pod("two", "10.0.0.3", { protocol: "TCP" });

  test("for want of descriptors of ours: no endpoint is blamed", () => {
    const state = mesh({
      workloads: [client, one, two],
      services: [web],
      members: [{ of: web, workload: one }, { of: web, workload: two }],
    });
    const { plane, contextOf, connect, lines } = outgoing(state);
    const downstream = connect(exhausted(contextOf(), "EMFILE"));
    expect(downstream.closed).toBe(true);
    expect(plane.ejections?.size).toBe(0);
    expect(plane.connects.connectRetries.value).toBe(0);
    expect(lines.join("")).toContain("Too many open files (os error 24)");
  });

  test("at once: the attempt that follows is the one that is given up with the pod", () => {
    // The kernel refuses to connect to a group at once.
    const group = pod("group", "224.0.0.1", { protocol: "TCP" });
    const tunnel = pod("tunnel", "10.0.0.4");
    const state = mesh({
      workloads: [client, group, tunnel],
      services: [web],
      members: [{ of: web, workload: group }, { of: web, workload: tunnel }],
    });
    const { plane, contextOf, connect, asked } = outgoing(state);
    const context = contextOf();
    while (plane.connects.connectRetries.value === 0) connect(context);
    context.tracker.cutAll(connectFailure("gone"));
    expect(asked.map(({ abandoned }) => abandoned)).not.toContain(false);
    expect(context.tracker.size).toBe(0);
  });

  test("of one pod say nothing about the connects of another", () => {
    const tunnels = [pod("a", "10.0.0.5"), pod("b", "10.0.0.6")];
    const state = mesh({
      workloads: [client, neighbour, ...tunnels],
      services: [web],
      members: tunnels.map((workload) => ({ of: web, workload })),
    });
    const { plane, contextOf, connect, asked } = outgoing(state);
    connect(contextOf(client));
    asked[0]?.owner.connectFailed(connectFailure("a network policy of this pod", "NETWORK_POLICY", true));
    const avoided = (of: typeof client) => tunnels.filter((tunnel) => plane.ejections?.avoid(of, VIP)?.(tunnel)).length;
    expect([avoided(client), avoided(neighbour)]).toEqual([1, 0]);
  });
});

describe("a pod that goes while a name is looked up", () => {
  const named = pod("named", [], { hostname: "db.example.com" });

  test("its connection ends with it, and nobody is dialled", () => {
    const state = mesh({ workloads: [client, named], services: [web], members: [{ of: web, workload: named }] });
    const { contextOf, connect, lookups, asked, lines } = outgoing(state);
    const context = contextOf();
    const downstream = connect(context);
    expect([lookups.length, downstream.closed]).toEqual([1, false]);
    context.close();
    expect(downstream.closed).toBe(true);
    lookups[0]?.({ ip: "192.0.2.1" });
    expect(asked.length).toBe(0);
    expect(lines).toEqual([]);
    expect(connect(context).closed).toBe(true);
  });

  test("a process that drains waits for it", async () => {
    const state = mesh({ workloads: [client, named], services: [web], members: [{ of: web, workload: named }] });
    const { contextOf, connect, lookups, asked } = outgoing(state);
    const context = contextOf();
    connect(context);
    let empty = false;
    const drained = context.whenEmpty().then(() => empty = true);
    lookups[0]?.({ ip: "192.0.2.1" });
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect([asked.length, empty]).toEqual([1, false]);
    asked[0]?.owner.connectFailed(connectFailure("over"));
    expect(await drained).toBe(true);
  });
});
