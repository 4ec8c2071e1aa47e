/** HTTP/1.0 and the case of header names, from the waypoint's options to what a backend and a client see. */
import { describe, expect, test } from "bun:test";
import type { HeaderList } from "../../src/http2/mod.ts";
import type { WaypointOptions } from "../../src/waypoint/local/mod.ts";
import { HttpConnection } from "../../src/waypoint/http_connection.ts";
import { MemoryEndpoint, settled } from "../http/memory_endpoint.ts";
import { Stage, WEB } from "./harness.ts";
import { cluster, compile, httpChain, nameOf } from "./local/fixture.ts";

/** A workload behind the waypoint by its own address. */
const DIRECT = `
workloads:
- {name: own, namespace: shop, workloadIps: [10.0.0.7], protocol: HBONE, serviceAccount: own, trustDomain: cluster.local,
  services: {}, waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}
`;

/** A connection to port 80 of `web`, which is declared HTTP. */
function connect(options: Partial<WaypointOptions>) {
  const snapshot = compile([DIRECT], options);
  const stage = new Stage({ options: httpChain(snapshot, nameOf("web", 80)).options });
  const chain = stage.plane.configuration?.chain(WEB);
  if (chain?.kind !== "http") throw new Error("the chain is not there");
  const info = {
    remote: { ip: "10.244.0.7", port: 4000 },
    local: { ip: "10.96.0.1", port: 80 },
    originalDestination: { ip: "10.96.0.1", port: 80 },
    authority: "10.96.0.1:80",
    peerPrincipal: "spiffe://cluster.local/ns/shop/sa/client",
    sourceNamespace: "shop",
    localPrincipal: stage.plane.identity,
    requestedServerName: undefined,
  };
  const connection = new HttpConnection(stage.plane, chain, info, "http1");
  return { snapshot, stage, wire: new MemoryEndpoint().join(connection.endpoint) };
}

describe("HTTP/1.0 on a port declared HTTP", () => {
  test("is refused with 426 by default", async () => {
    const { stage, wire } = connect({});
    wire.arrive("GET /a HTTP/1.0\r\nhost: web\r\n\r\n");
    await settled();
    expect(wire.text).toStartWith("HTTP/1.1 426 Upgrade Required\r\n");
    expect(stage.upstreams.calls).toEqual([]);
  });

  test("passes where it is asked for, and ends with its connection", async () => {
    const { stage, wire } = connect({ acceptHttp10: true });
    wire.arrive("GET /a HTTP/1.0\r\nhost: web\r\n\r\n");
    const call = await stage.upstreams.call(0);
    expect([call.head.method, call.head.path, call.head.authority]).toEqual(["GET", "/a", "web"]);
    call.answer(200, "hello");
    await settled();
    expect(wire.text).toStartWith("HTTP/1.0 200 OK\r\n");
    expect(wire.text).toEndWith("\r\n\r\nhello");
    expect(wire.text).not.toContain("transfer-encoding");
  });

  test("is told from TCP on undeclared ports then", () => {
    const sniffed = (options: Partial<WaypointOptions>) => {
      const { destinations } = compile([DIRECT], options).matcher;
      const leaves = destinations.flatMap(({ ports, any }) => [...Object.values(ports), ...(any ? [any] : [])]);
      return leaves.flatMap((leaf) => leaf.kind === "sniff" ? [leaf.http10] : []);
    };
    expect(sniffed({})).toEqual([false, false]);
    expect(sniffed({ acceptHttp10: true })).toEqual([true, true]);
  });
});

test("names of fields keep their case where it is asked for, in chains and clusters", async () => {
  for (const preserveHeaderCase of [false, true]) {
    const { snapshot, stage, wire } = connect({ preserveHeaderCase });
    for (const { preserveHeaderCase: kept } of Object.values(snapshot.clusters)) expect(kept).toBe(preserveHeaderCase);
    expect(cluster(snapshot, "encap").preserveHeaderCase).toBe(preserveHeaderCase);
    wire.arrive("GET /a HTTP/1.1\r\nHost: web\r\nX-CamelCase: 1\r\n\r\n");
    const call = await stage.upstreams.call(0);
    expect(call.head.originalNames?.get("x-camelcase")).toBe(preserveHeaderCase ? "X-CamelCase" : undefined);
    const originalNames = preserveHeaderCase ? new Map([["x-answer", "X-AnsWer"]]) : undefined;
    const head = { status: 204, fields: [["x-answer", "1"]] as HeaderList, protocol: "HTTP/1.1" as const };
    call.listener.onHeaders({ ...head, upgrade: undefined, wireBytes: 0, originalNames }, true);
    await settled();
    expect(wire.text).toContain(preserveHeaderCase ? "\r\nX-AnsWer: 1\r\n" : "\r\nx-answer: 1\r\n");
  }
});
