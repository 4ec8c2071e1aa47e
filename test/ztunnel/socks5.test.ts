/** SOCKS5 on a socket: what is refused, and what the log says of it (spec/ztunnel.md §5.3). */
import { afterEach, describe, expect, test } from "bun:test";
import { listenTcp } from "../../src/linux/mod.ts";
import { MeshState } from "../../src/mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../../src/net/address.ts";
import { Logger } from "../../src/telemetry/mod.ts";
import type { DnsProxy, ResolvedName } from "../../src/ztunnel/dns/mod.ts";
import { serveSocks5 } from "../../src/ztunnel/socks5.ts";
import { mesh, pod } from "../mesh/fixtures.ts";
import { within } from "./dns/fixture.ts";

const running: { stop(): void }[] = [];
afterEach(() => running.splice(0).forEach((one) => one.stop()));

type Resolving = (name: string, family: string, done: (result: ResolvedName) => void) => void;

/** A listener with names resolved by `resolving`; connections go no further than to the list of `destinations`. */
function serve(resolving: Resolving | undefined, state: MeshState = mesh({})) {
  const lines: string[] = [];
  const destinations: string[] = [];
  const logger = new Logger({ write: (line: string) => void lines.push(line.trimEnd()), flush() {} });
  const context = {
    info: { name: "client-1", namespace: "shop", serviceAccount: "client" },
    tracker: {},
    plane: {
      mesh: { current: state },
      logs: { socks5: logger.scope("ztunnel::proxy::socks5") },
      traffic: { sockets: { source: { value: 0 } } },
      accessLog: {
        connectionFailed: (_: SocketAddress, destination: SocketAddress) =>
          void destinations.push(formatAddress(destination)),
      },
    },
    localWorkload: (_connection: unknown, _found: unknown, refused: (error: string) => void) => refused("far enough"),
  } as unknown as Parameters<typeof serveSocks5>[0];
  const { fd, address } = listenTcp({
    address: { ip: "127.0.0.1", port: 0 },
    backlog: 16,
    noDelay: true,
    reusePort: false,
    reuseAddress: true,
  });
  const pool = {} as Parameters<typeof serveSocks5>[1];
  const dns = resolving === undefined ? undefined : { resolve: resolving } as unknown as DnsProxy;
  const listener = serveSocks5(context, pool, dns, fd, () => undefined);
  running.push(listener);
  return { address, lines, destinations, listener };
}

/** Sends bytes, more of them `later`, and reads to the end; the source address and what came, in hex. */
async function send(
  to: SocketAddress,
  hex: string,
  later?: Promise<Uint8Array>,
): Promise<{ source: string; answer: string }> {
  const ended = Promise.withResolvers<void>();
  let answer = "";
  let unsent: Uint8Array = Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));
  const socket = await Bun.connect({
    hostname: to.ip,
    port: to.port,
    socket: {
      drain: (writable) => void (unsent = unsent.subarray(writable.write(unsent))),
      data: (_, chunk) => void (answer += chunk.toHex()),
      close: () => ended.resolve(),
      error: () => ended.resolve(),
    },
  });
  const source = `127.0.0.1:${socket.localPort}`;
  unsent = unsent.subarray(socket.write(unsent));
  if (later !== undefined) {
    unsent = await within("what makes for more", later);
    unsent = unsent.subarray(Math.max(0, socket.write(unsent)));
  }
  await within("the end", ended.promise);
  return { source, answer };
}

const name = (host: string, command = "01") =>
  `05 01 00 05 ${command} 00 03 ${host.length.toString(16).padStart(2, "0")} ${
    new TextEncoder().encode(host).toHex()
  } 0050`;
const fieldsOf = (line: string | undefined) => line?.split("\t").slice(1).join("|");
const nowhere: Resolving = (_name, _family, done) => done({ error: "dns lookup: NXDOMAIN" });

describe("a refusal tells who asked for what, and why", () => {
  test.each<[string, Resolving | undefined, string, string, string]>([
    [
      "a name that nobody knows",
      nowhere,
      name("nowhere.test"),
      "050005040001000000000000",
      'dst.hostname="nowhere.test" dst.port=80 direction="outbound" error="dns lookup: NXDOMAIN"',
    ],
    [
      "no DNS proxy",
      undefined,
      name("web.shop"),
      "050005010001000000000000",
      'dst.hostname="web.shop" dst.port=80 direction="outbound" error="names need the DNS proxy, which is off"',
    ],
    [
      "another command, with an address",
      nowhere,
      "05 01 00 05 02 00 01 0a000001 0050",
      "050005070001000000000000",
      'dst.addr=10.0.0.1:80 direction="outbound" error="command 2"',
    ],
    [
      "no method",
      nowhere,
      "05 01 02",
      "05ff",
      'direction="outbound" error="no acceptable authentication method"',
    ],
    ["no SOCKS5", nowhere, "47 45 54", "05070001000000000000", 'direction="outbound" error="version 71"'],
  ])("%s", async (_, resolving, request, reply, fields) => {
    const { address, lines } = serve(resolving);
    const { source, answer } = await send(address, request);
    expect(answer).toBe(reply);
    expect(lines.map(fieldsOf)).toEqual([
      `warn|proxy::socks5|request refused|src.addr=${source} src.workload="client-1" src.namespace="shop" ${fields}`,
    ]);
  });

  test("a name cannot write lines of its own", async () => {
    const { address, lines } = serve(nowhere);
    await send(address, name('a\nb" error="none'));
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain('dst.hostname="a\\nb\\" error=\\"none"');
  });

  test("the record of the pod, where it is known", async () => {
    const record = pod("client-1", "10.0.0.1", { namespace: "shop", serviceAccount: "client" });
    const { address, lines } = serve(nowhere, mesh({ workloads: [record] }));
    await send(address, name("nowhere.test"));
    expect(lines[0]).toContain('src.workload="client-1" src.namespace="shop"');
  });

  test("too much before the answer to the name: one refusal, whatever comes of the name later", async () => {
    const { promise: asked, resolve } = Promise.withResolvers<(result: ResolvedName) => void>();
    const { address, lines, destinations } = serve((_name, _family, done) => resolve(done));
    await send(address, name("slow.test"), asked.then(() => new Uint8Array(70_000)));
    (await asked)({ ip: "10.0.0.1" });
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain("too much");
    expect(destinations).toEqual([]);
  });
});

test("an address that is sent as a name is nobody's to resolve; localhost needs no DNS proxy", async () => {
  const asked: string[] = [];
  const { address, destinations } = serve((host, family, done) => {
    asked.push(`${host} ${family}`);
    done({ ip: "10.96.0.1" });
  });
  for (const host of ["10.0.0.200", "fd00::3", "web.shop"]) {
    expect((await send(address, name(host))).answer).toBe("050005000001000000000000");
  }
  expect(asked).toEqual(["web.shop IPv4"]);
  expect(destinations).toEqual(["10.0.0.200:80", "[fd00::3]:80", "10.96.0.1:80"]);

  const alone = serve(undefined);
  for (const host of ["localhost", "A.LocalHost."]) await send(alone.address, name(host));
  expect(alone.destinations).toEqual(["127.0.0.1:80", "127.0.0.1:80"]);
});

test("when the pod goes, so do handshakes and those who wait for a name", async () => {
  const asked = Promise.withResolvers<(found: ResolvedName) => void>();
  const { address, destinations, listener } = serve((_name, _family, done) => asked.resolve(done));
  const ends = [send(address, "05 01 00"), send(address, name("slow.test"))];
  const done = await within("the question", asked.promise);
  listener.stop();
  await within("their end", Promise.all(ends));
  done({ ip: "192.0.2.1" }); // nobody is there any more
  expect(destinations).toEqual([]);
});
