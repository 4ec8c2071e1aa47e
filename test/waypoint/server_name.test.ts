/** TCP chains that read the server name of TLS, from the tunnel to the upstream. */
import { afterEach, describe, expect, test } from "bun:test";
import { HboneTransport, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { TransportOwner } from "../../src/hbone/stream_user.ts";
import { parseIdentity } from "../../src/identity/mod.ts";
import type { Rbac, RbacAction } from "../../src/policy/mod.ts";
import { log, MetricRegistry } from "../../src/telemetry/mod.ts";
import { Configuration } from "../../src/waypoint/configuration.ts";
import { Listener } from "../../src/waypoint/listener.ts";
import { WaypointPlane } from "../../src/waypoint/plane.ts";
import type { TcpChain } from "../../src/waypoint/snapshot/mod.ts";
import { registerDryRunMetrics } from "../../src/waypoint/telemetry/mod.ts";
import { connectPlain, PlainServer } from "../hbone/plain_transport.ts";
import { latin1, MemoryEndpoint } from "../http/memory_endpoint.ts";
import { clientHello } from "../tls/hello_bytes.ts";
import { compileOptions, Stage, WEB } from "./harness.ts";

const PEER = "spiffe://cluster.local/ns/shop/sa/client";
const LOCAL = { ip: "10.96.0.1", port: 443 };
const FORMAT = "%REQUESTED_SERVER_NAME% %BYTES_RECEIVED% %CONNECTION_TERMINATION_DETAILS%\n";
const DENIED = "rbac_access_denied_matched_policy[none]";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A policy about connection.sni, as it is converted. */
function sni(action: RbacAction, name: string): Rbac {
  const permission = { kind: "server-name", match: { kind: "exact", value: name } } as const;
  const rule = { name: "sni", permissions: [permission], principals: [{ kind: "any" }] } as const;
  return { action, policies: [rule], shadow: undefined };
}

/** A list that grows, and can be waited for. */
class Growing<T> {
  readonly items: T[] = [];
  #waiting: (() => void)[] = [];

  push(item: T): void {
    this.items.push(item);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async first(): Promise<T> {
    while (this.items.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.items[0]!;
  }
}

/** What an upstream got, once it is as long as expected. */
class Upstream extends MemoryEndpoint {
  readonly arrivals = new Growing<number>();

  override deliver(chunk: Uint8Array): void {
    super.deliver(chunk);
    this.arrivals.push(chunk.length);
  }

  async got(size: number): Promise<string> {
    while (this.text.length < size) {
      this.arrivals.items.length = 0;
      await this.arrivals.first();
    }
    return this.text;
  }
}

interface World {
  readonly policies?: readonly Rbac[];
  readonly inspectTls?: boolean;
  readonly timeoutMs?: number;
}

async function world({ policies = [], inspectTls = true, timeoutMs = 60_000 }: World) {
  const lines = new Growing<string>();
  const upstreams = new Growing<Upstream>();
  const stage = new Stage();
  const chainWith = (authorization: readonly Rbac[]): TcpChain => ({
    kind: "tcp",
    inspectTls,
    name: WEB,
    service: undefined,
    authorization,
    unsupported: [],
    telemetry: {
      accessLogs: [{ path: "/dev/stdout", format: { kind: "text", text: FORMAT }, filter: undefined }],
      metrics: undefined,
    },
    clusters: [{ cluster: WEB, weight: 1 }],
    idleTimeoutMs: 0,
    maxConnectionDurationMs: 0,
    hashSourceIp: false,
  });
  const configure = (authorization: readonly Rbac[], previous?: Configuration): Configuration => {
    const result = Configuration.compile(
      {
        ...stage.plane.configuration!.snapshot,
        matcher: {
          authorities: {},
          destinations: [{
            cidrs: [`${LOCAL.ip}/32`],
            ports: { [LOCAL.port]: { kind: "chain", chain: WEB } },
            any: undefined,
          }],
        },
        chains: { [WEB]: chainWith(authorization) },
      },
      previous,
      compileOptions({ write: (text) => lines.push(text), flush() {} }),
    );
    if (!result.ok) throw new Error(result.errors.join("\n"));
    return result.configuration;
  };
  const { identity, ownIp, ownAddresses, clusters, targets, pools } = stage.plane;
  const plane = new WaypointPlane({
    identity,
    ownIp,
    ownAddresses,
    detectionTimeoutMs: timeoutMs,
    clusters,
    targets,
    pools,
    dryRun: registerDryRunMetrics(new MetricRegistry()),
    logs: { listener: log.scope("test::listener"), policy: log.scope("test::policy") },
    connector: {
      connect(_target, owner) {
        const upstream = new Upstream();
        queueMicrotask(() => {
          owner.connected(upstream, { localAddress: "10.244.0.99:1", alpn: "" });
          upstreams.push(upstream);
        });
        return { abandon() {} };
      },
    },
  });
  plane.configuration = configure(policies);
  const listener = new Listener(plane);
  const peer = {
    address: { ip: "10.244.0.7", port: 4000 },
    local: { ip: ownIp, port: 15008 },
    identity: parseIdentity(PEER)!,
    identityText: PEER,
  };
  const server = new PlainServer((stream, _endpoint, headers, transport) =>
    listener.accept(transport, peer, stream, headers, false)
  );
  cleanups.push(() => server.stop());
  const owner: TransportOwner = { onRequest() {}, onCapacity() {}, onGoaway() {}, onTransportClosed() {} };
  const transport = await new Promise<HboneTransport>((resolve, reject) =>
    connectPlain(server.port, owner, resolve, reject)
  );
  cleanups.push(() => transport.close());
  const client = await new Promise<MemoryEndpoint>((resolve, reject) => {
    const endpoint = new StreamEndpoint({
      connected: () => resolve(new MemoryEndpoint().join(endpoint)),
      connectFailed: ({ text }) => reject(new Error(text)),
    });
    const authority = `${LOCAL.ip}:${LOCAL.port}`;
    endpoint.bind(
      transport.h2.request([[":method", "CONNECT"], [":authority", authority]], false, endpoint)!,
      undefined,
    );
  });
  return {
    client,
    lines,
    upstreams,
    /** Other policies come to serve. */
    reconfigure(authorization: readonly Rbac[]): void {
      plane.configuration = configure(authorization, plane.configuration);
      listener.reconfigured(plane.configuration);
    },
  };
}

const HELLO = clientHello("Web.Example");

describe("a chain that reads the server name", () => {
  test("gives the upstream every byte, and the log the name", async () => {
    const { client, lines, upstreams } = await world({});
    client.arrive(HELLO);
    const upstream = await upstreams.first();
    expect(await upstream.got(HELLO.length)).toBe(latin1(HELLO));
    client.arrive("more");
    expect(await upstream.got(HELLO.length + 4)).toBe(`${latin1(HELLO)}more`);
    client.vanish();
    expect(await lines.first()).toStartWith(`web.example ${HELLO.length + 4} `);
  });

  test("whatever the pieces", async () => {
    const { client, upstreams } = await world({ policies: [sni("ALLOW", "web.example")] });
    client.split = () => 7;
    client.arrive(HELLO);
    expect(await (await upstreams.first()).got(HELLO.length)).toBe(latin1(HELLO));
  });

  const verdicts:
    readonly (readonly [what: string, policies: readonly Rbac[], first: Uint8Array | string, passes: boolean])[] = [
      ["DENY of the name", [sni("DENY", "web.example")], HELLO, false],
      ["DENY of another", [sni("DENY", "other.example")], HELLO, true],
      ["DENY, no name", [sni("DENY", "web.example")], clientHello(undefined), true],
      ["DENY, no TLS", [sni("DENY", "web.example")], "EHLO a\r\n", true],
      ["DENY, a hello that cannot be read", [sni("DENY", "web.example")], clientHello("web.example."), false],
      ["ALLOW of the name", [sni("ALLOW", "web.example")], HELLO, true],
      ["ALLOW of another", [sni("ALLOW", "other.example")], HELLO, false],
      ["ALLOW, no TLS", [sni("ALLOW", "web.example")], "EHLO a\r\n", false],
      ["AUDIT, a hello that cannot be read", [sni("LOG", "web.example")], clientHello("web.example."), true],
      ["no policy, a hello that cannot be read", [], clientHello("web.example."), true],
    ];
  test.each(verdicts)("%s", async (_, policies, first, passes) => {
    const { client, lines, upstreams } = await world({ policies });
    client.arrive(first);
    if (passes) {
      const upstream = await upstreams.first();
      expect(await upstream.got(first.length)).toBe(typeof first === "string" ? first : latin1(first));
    } else {
      expect(await lines.first()).toContain("rbac_access_denied_matched_policy[");
      expect(upstreams.items).toEqual([]);
    }
  });

  test("a client that stays silent has no name: it passes only where no policy asks for one", async () => {
    const free = await world({ timeoutMs: 1 });
    const upstream = await free.upstreams.first();
    free.client.arrive(HELLO);
    expect(await upstream.got(HELLO.length)).toBe(latin1(HELLO));
    free.client.vanish();
    expect(await free.lines.first()).toStartWith(`- ${HELLO.length} `);
    for (const action of ["DENY", "ALLOW"] as const) {
      const { lines, upstreams } = await world({ timeoutMs: 1, policies: [sni(action, "web.example")] });
      expect(await lines.first()).toBe(`- 0 ${DENIED}\n`);
      expect(upstreams.items).toEqual([]);
    }
  });

  test("half a hello in time is none", async () => {
    const { client, lines, upstreams } = await world({ timeoutMs: 1, policies: [sni("DENY", "other.example")] });
    client.arrive(HELLO.slice(0, 40));
    expect(await lines.first()).toStartWith("- ");
    expect(lines.items[0]).toEndWith(` ${DENIED}\n`);
    expect(upstreams.items).toEqual([]);
  });

  test("a client that leaves before has no connection", async () => {
    const { client, lines, upstreams } = await world({});
    client.arrive(HELLO.slice(0, 40));
    client.arriveEnd();
    // What it said goes on, with its end.
    const upstream = await upstreams.first();
    expect(await upstream.got(40)).toBe(latin1(HELLO.slice(0, 40)));
    client.vanish();
    expect(await lines.first()).toStartWith("- 40 ");
  });

  test("a policy that comes while the hello is waited for counts", async () => {
    const { client, lines, reconfigure } = await world({});
    client.arrive(HELLO.slice(0, 40));
    reconfigure([sni("DENY", "web.example")]);
    client.arrive(HELLO.slice(40));
    expect(await lines.first()).toStartWith("web.example ");
    expect(lines.items[0]).toContain("rbac_access_denied_matched_policy[sni]");
  });

  test("a policy that comes later ends what it denies, and what nobody knows the name of", async () => {
    for (const first of [HELLO, clientHello("web.example.")]) {
      const { client, lines, upstreams, reconfigure } = await world({});
      client.arrive(first);
      await upstreams.first();
      reconfigure([sni("DENY", "other.example")]);
      const stays = first === HELLO;
      expect(lines.items.length).toBe(stays ? 0 : 1);
      reconfigure([sni("DENY", "web.example")]);
      expect(await lines.first()).toContain("rbac_access_denied_matched_policy[");
    }
  });
});

test("a chain that does not read it lets nothing past a policy that asks for it", async () => {
  const open = await world({ inspectTls: false });
  await open.upstreams.first(); // before the client said anything
  const { lines, upstreams } = await world({ inspectTls: false, policies: [sni("DENY", "other.example")] });
  expect(await lines.first()).toBe(`- 0 ${DENIED}\n`);
  expect(upstreams.items).toEqual([]);
});

test("an HTTP chain with such a policy refuses all", () => {
  const stage = new Stage({ chain: { authorization: [sni("DENY", "other.example")] } });
  expect(stage.plane.configuration?.chain(WEB)?.refusal).toBe(
    "a policy asks for the server name, which HTTP has none of",
  );
});
