import { afterEach, describe, expect, test } from "bun:test";
import { HboneTransport, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { TransportOwner } from "../../src/hbone/stream_user.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { parseIdentity } from "../../src/identity/mod.ts";
import { Configuration } from "../../src/waypoint/configuration.ts";
import { Listener } from "../../src/waypoint/listener.ts";
import type { ConnectOptions } from "../../src/waypoint/snapshot/mod.ts";
import { connectPlain, PlainServer } from "../hbone/plain_transport.ts";
import { compileOptions, Stage, WEB } from "./harness.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const PEER = "spiffe://cluster.local/ns/shop/sa/client";

/** A listener behind a tunnel without TLS; `connect` asks it and tells what it answered. */
async function serve(connect: ConnectOptions | undefined) {
  const lines: string[] = [];
  const stage = new Stage();
  const snapshot = {
    ...stage.plane.configuration!.snapshot,
    connect,
    matcher: {
      authorities: {},
      destinations: [{
        cidrs: ["10.96.0.1/32"],
        ports: { "80": { kind: "chain", chain: WEB } as const },
        any: undefined,
      }],
    },
  };
  const options = compileOptions({ write: (text) => void lines.push(text), flush() {} });
  const result = Configuration.compile(snapshot, undefined, options);
  if (!result.ok) throw new Error(result.errors.join("\n"));
  stage.plane.configuration = result.configuration;
  const listener = new Listener(stage.plane);
  const peer = {
    address: { ip: "10.244.0.7", port: 4000 },
    local: { ip: "10.244.0.99", port: 15008 },
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
  const ask = (authority: string, method = "CONNECT") =>
    new Promise<string>((resolve) => {
      const endpoint = new StreamEndpoint({
        connected: () => resolve("200"),
        connectFailed: ({ text }) => resolve(text),
      });
      const headers: HeaderList = [[":method", method], [":authority", authority]];
      endpoint.bind(transport.h2.request(headers, false, endpoint)!, undefined);
    });
  return { ask, lines, listener };
}

const LOG = { path: "/dev/stdout", format: undefined, filter: undefined };

describe("a CONNECT (spec/waypoint.md §1.5, §1.6)", () => {
  test("to a service of the waypoint is taken", async () => {
    const { ask, lines, listener } = await serve({ authorization: [], accessLogs: [LOG] });
    expect(await ask("10.96.0.1:80")).toBe("200");
    expect(listener.size).toBe(1);
    expect(lines).toEqual([]);
  });

  const refusals: readonly [authority: string, status: string][] = [
    ["10.96.0.1:81", "404"],
    ["10.96.0.2:80", "404"],
    ["10.244.0.99:80", "404"],
    ["nowhere.example:80", "404"],
    ["10.96.0.1", "400"],
  ];
  for (const [authority, status] of refusals) {
    test(`to ${authority} is refused with ${status} and logged`, async () => {
      const { ask, lines, listener } = await serve({ authorization: [], accessLogs: [LOG] });
      expect(await ask(authority)).toContain(status);
      expect(listener.size).toBe(0);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(` ${status} NR route_not_found `);
      expect(lines[0]).toContain(`"CONNECT `);
    });
  }

  test("of a peer that policies for the waypoint itself deny is refused with 403", async () => {
    const id = { kind: "peer-principal", match: { kind: "exact", value: PEER } } as const;
    const rule = { name: "ns[shop]-policy[own]-rule[0]", permissions: [{ kind: "any" }], principals: [id] } as const;
    const { ask, lines } = await serve({
      authorization: [{ action: "DENY", policies: [rule], shadow: undefined }],
      accessLogs: [LOG],
    });
    expect(await ask("10.96.0.1:80")).toContain("403");
    expect(lines[0]).toContain("rbac_access_denied_matched_policy[ns[shop]-policy[own]-rule[0]]");
  });
});
