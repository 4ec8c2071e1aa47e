/** Processes of an upgrade in this one, and connections that only remember what became of them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeFd, ownNamespace, SeqpacketSocket } from "../../../src/linux/mod.ts";
import { Logger, MetricRegistry, TrafficMetrics } from "../../../src/telemetry/mod.ts";
import type { Connection, SuspendedConnection } from "../../../src/ztunnel/connection.ts";
import { ConnectionTracker } from "../../../src/ztunnel/tracker.ts";
import {
  encodeMessage,
  parseMessage,
  type RelayOffer,
  type UpgradeMessage,
} from "../../../src/ztunnel/upgrade/messages.ts";
import { Upgrade } from "../../../src/ztunnel/upgrade/mod.ts";
import type { UpgradeOptions } from "../../../src/ztunnel/upgrade/upgrade.ts";
import { keptLogger } from "../../telemetry/lines.ts";

/** Run backwards by `cleanUp`, which every suite calls after each test. */
export const cleanups: (() => void)[] = [];
export function cleanUp(): void {
  cleanups.splice(0).reverse().forEach((cleanup) => cleanup());
}

export const address = (port: number) => ({ ip: "127.0.0.1", port });

/** A connection that is offered as two descriptors, and remembers what became of it. */
export class Offered {
  fate: "kept" | "released" | undefined;
  readonly #facts: Partial<SuspendedConnection>;

  constructor(facts: Partial<SuspendedConnection> = {}) {
    this.#facts = facts;
  }

  suspend(): SuspendedConnection {
    return {
      direction: "outbound",
      source: address(1),
      destination: address(2),
      dialled: address(2),
      workload: undefined,
      service: undefined,
      ...{ received: 0, sent: 0, unsentUp: 0, unsentDown: 0, age: 0.5 },
      suspension: { fds: [0, 1], unsent: [[], []] },
      keep: () => void (this.fate = "kept"),
      release: () => void (this.fate = "released"),
      ...this.#facts,
    };
  }
}

export function upgrade(
  path: string,
  options: Pick<UpgradeOptions, "answerMs"> & Partial<Pick<UpgradeOptions, "continueRelay">> = {},
) {
  const continueRelay = () => "not here";
  const { logger, lines } = keptLogger();
  const { sockets } = new TrafficMetrics(new MetricRegistry());
  const made = new Upgrade({ path, log: (logger as Logger).scope("upgrade"), sockets, continueRelay, ...options });
  cleanups.push(() => made.close());
  return { made, lines };
}

export function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), "upgrade-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  return join(directory, "socket");
}

/** A process with these connections, which is ending. */
export function leaving(path: string, connections: readonly Offered[], answerMs?: number) {
  const { made, lines } = upgrade(path, answerMs === undefined ? {} : { answerMs });
  made.start();
  const tracker = new ConnectionTracker(undefined);
  for (const connection of connections) tracker.add(connection as unknown as Connection);
  made.handOver([{ uid: "pod", namespace: ownNamespace(), tracker }]);
  return { made, lines, tracker };
}

/** A successor by hand. */
export function successor(path: string): SeqpacketSocket {
  const socket = SeqpacketSocket.connect(path);
  cleanups.push(() => socket.close());
  socket.send(encodeMessage({ kind: "hello" }));
  return socket;
}

export async function until(what: () => boolean): Promise<void> {
  while (!what()) await Bun.sleep(1);
}

export async function next(socket: SeqpacketSocket): Promise<{ message: RelayOffer; fds: number[] }> {
  let packet = socket.poll(10_000);
  while (packet === undefined) {
    await Bun.sleep(1);
    packet = socket.poll(10_000);
  }
  packet.fds.forEach(closeFd);
  return { message: parseMessage(packet.bytes) as RelayOffer, fds: packet.fds };
}

export const say = (socket: SeqpacketSocket, message: UpgradeMessage) => socket.send(encodeMessage(message));
