import { closeFd, type NamespaceIdentity, peerAddress, readMemoryFile } from "../../linux/mod.ts";
import { formatAddress, type SocketAddress } from "../../net/address.ts";
import { adoptHandlers, adoptTcp } from "../../net/tcp.ts";
import type { LogScope, TrafficMetrics } from "../../telemetry/mod.ts";
import type { GoOn, PlainRelay } from "../connection.ts";
import type { Link } from "./link.ts";
import { encodeMessage, MAX_REASON, type RelayOffer } from "./messages.ts";

export interface TakerOptions {
  /** How to go on with a relay; or why not. */
  readonly continueRelay: (uid: string, namespace: NamespaceIdentity, relay: PlainRelay) => GoOn | string;
  readonly sockets: TrafficMetrics["sockets"];
  readonly log: LogScope;
}

/** Goes on with the relays of the process before us. */
export class Taker {
  readonly #options: TakerOptions;
  readonly #inbound: ReturnType<typeof adoptHandlers>;
  readonly #outbound: ReturnType<typeof adoptHandlers>;
  readonly #upstream: ReturnType<typeof adoptHandlers>;
  taken = 0;

  constructor(options: TakerOptions) {
    const { sockets } = options;
    this.#options = options;
    this.#inbound = adoptHandlers(() => void sockets.destination.value--);
    this.#outbound = adoptHandlers(() => void sockets.source.value--);
    this.#upstream = adoptHandlers(() => {});
  }

  /** Answers an offer; the descriptors are ours. */
  async offered(link: Link, { id, pod, relay }: RelayOffer, fds: readonly number[]): Promise<void> {
    const [downstream = -1, upstream = -1, memory] = fds;
    const wanted = this.#asked(() => this.#wanted(pod, relay, downstream, upstream, memory));
    if (memory !== undefined) closeFd(memory);
    // It is ours from the moment in which we said so: only then may anything be read or written.
    const answer = typeof wanted === "string"
      ? { kind: "refused", id, reason: wanted.slice(0, MAX_REASON) } as const
      : { kind: "taken", id } as const;
    const said = link.send(encodeMessage(answer));
    if (typeof wanted === "string" || !said) {
      closeFd(downstream);
      closeFd(upstream);
      return;
    }
    this.taken++;
    await this.#adopt(relay, downstream, upstream, wanted);
  }

  /** What throws, such as a third descriptor that is no file, is a reason too. */
  #asked(ask: () => Wanted | string): Wanted | string {
    try {
      return ask();
    } catch (error) {
      const { message } = error as Error;
      this.#options.log.warn("an offer is refused", [["error", message]]);
      return message;
    }
  }

  #wanted(
    { uid, namespace }: RelayOffer["pod"],
    relay: PlainRelay,
    downstream: number,
    upstream: number,
    memory: number | undefined,
  ): Wanted | string {
    const strange = strangeSocket(downstream, relay.source) ?? strangeSocket(upstream, relay.dialled);
    if (strange !== undefined) return strange;
    const goOn = this.#options.continueRelay(uid, namespace, relay);
    if (typeof goOn === "string") return goOn;
    const { unsentDown, unsentUp } = relay;
    const unsent = memory === undefined ? new Uint8Array(0) : readMemoryFile(memory, unsentDown + unsentUp);
    if (unsent.length !== unsentDown + unsentUp) return "not all of the unsent bytes are there";
    return { goOn, toDownstream: unsent.subarray(0, unsentDown), toUpstream: unsent.subarray(unsentDown) };
  }

  async #adopt({ direction }: PlainRelay, downstream: number, upstream: number, wanted: Wanted): Promise<void> {
    const { sockets, log } = this.#options;
    const inbound = direction === "inbound";
    const [down, up] = await Promise.allSettled([
      adoptTcp(downstream, wanted.toUpstream, inbound ? this.#inbound : this.#outbound),
      adoptTcp(upstream, wanted.toDownstream, this.#upstream),
    ]);
    if (down.status === "fulfilled") sockets[inbound ? "destination" : "source"].value++;
    else closeFd(downstream);
    if (up.status === "rejected") closeFd(upstream);
    if (down.status === "fulfilled" && up.status === "fulfilled") {
      try {
        wanted.goOn(down.value, up.value);
      } catch (bug) {
        down.value.abort();
        up.value.abort();
        log.error("a connection that was handed over is lost", [["error", (bug as Error).stack ?? String(bug)]]);
      }
      return;
    }
    for (const result of [down, up]) {
      if (result.status === "fulfilled") result.value.abort();
      else log.error("a connection that was handed over is lost", [["error", String(result.reason)]]);
    }
  }
}

interface Wanted {
  readonly goOn: GoOn;
  readonly toDownstream: Uint8Array;
  readonly toUpstream: Uint8Array;
}

/** What is wrong with a socket that should be connected to `peer`. */
function strangeSocket(fd: number, peer: SocketAddress): string | undefined {
  const actual = peerAddress(fd);
  if (actual === undefined) return "a peer is gone";
  const [is, should] = [formatAddress(actual), formatAddress(peer)];
  return is === should ? undefined : `a socket is connected to ${is}, not ${should}`;
}
