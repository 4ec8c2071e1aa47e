import { afterAll, afterEach } from "bun:test";
import type { GrpcChannel, GrpcChannelOptions } from "../../src/grpc/mod.ts";
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { bytesOf } from "./bytes.ts";
import { channelTo, failure } from "./client.ts";
import { TestServer, type TestServerOptions } from "./server.ts";

export const IN_TIME = { timeoutMs: 15_000 };

/** What the tests of one file share: a CA, servers and channels that end with the test that made them. */
export interface Fixture {
  readonly authority: ForgingCa;
  /** PEM of the CA's root. */
  readonly roots: string;
  /** For DNS:istiod.test. */
  readonly certificate: WorkloadCertificate;
  /** Done after the test. */
  later(close: () => void): void;
  server(options: TestServerOptions, certificate?: WorkloadCertificate): TestServer;
  channel(port: number, options?: Partial<GrpcChannelOptions>): GrpcChannel;
  pair(options: TestServerOptions, client?: Partial<GrpcChannelOptions>): [TestServer, GrpcChannel];
}

export async function fixture(): Promise<Fixture> {
  const authority = new ForgingCa();
  const roots = await authority.ca.rootPem();
  const certificate = await authority.forge(["subjectAltName = DNS:istiod.test"]);
  const open: (() => void)[] = [];
  afterEach(() => {
    for (const close of open.splice(0)) close();
  });
  afterAll(() => authority.remove());
  const later = (close: () => void) => void open.push(close);
  const server = (options: TestServerOptions, of = certificate) => {
    const made = new TestServer(of, options);
    later(() => made.stop());
    return made;
  };
  const channel = (port: number, options: Partial<GrpcChannelOptions> = {}) => {
    const made = channelTo(port, roots, options);
    later(() => made.close());
    return made;
  };
  const pair = (options: TestServerOptions, client: Partial<GrpcChannelOptions> = {}): [TestServer, GrpcChannel] => {
    const made = server(options);
    return [made, channel(made.port, client)];
  };
  return { authority, roots, certificate, later, server, channel, pair };
}

/** A unary call; rejects with GrpcError. */
export function call(channel: GrpcChannel, text = "hello"): Promise<Uint8Array> {
  return channel.unary("/t.S/M", bytesOf(text), IN_TIME);
}

/** What a unary call tells: `answered hello`, or its failure as text. */
export function outcome(channel: GrpcChannel): Promise<string> {
  return failure(call(channel));
}

/** A listener that speaks no TLS; it says `greeting`, if any, and ends if it shall. */
export function plainListener(later: Fixture["later"], greeting: string, end: boolean) {
  const sockets: Bun.Socket[] = [];
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        sockets.push(socket);
        if (greeting !== "") socket.write(greeting);
        if (end) socket.end();
      },
      data() {},
    },
  });
  later(() => listener.stop(true));
  return { port: listener.port, sockets };
}

/** Some turns of the event loop, in which I/O that is due is done. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for what nothing tells of: descriptors of the kernel, timers of a clock. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
