/**
 * Worker: waits for packets of the CNI agent, because recvmsg() with descriptors has no asynchronous form in the
 * runtime. It is told the descriptor of a connected socket, reports every packet and at last the end, and then waits for
 * the next descriptor. It closes nothing. Imports as little as possible: each module costs the process memory.
 */
import { type Packet, SeqpacketSocket } from "../../linux/seqpacket.ts";
import { MAX_PACKET } from "./limits.ts";

declare const self: Worker;

export type ReceiverReport =
  | { readonly kind: "packet"; readonly packet: Packet }
  /** The connection is over: the agent closed it, we shut it down, or receiving failed (`error`). */
  | { readonly kind: "end"; readonly error: string | undefined };

self.onmessage = (event: MessageEvent<number>) => {
  self.postMessage({ kind: "end", error: receiveAll(new SeqpacketSocket(event.data)) } satisfies ReceiverReport);
};

/** Returns at the end of the connection, with the reason when it is a failure. */
function receiveAll(socket: SeqpacketSocket): string | undefined {
  try {
    for (;;) {
      const packet = socket.receive(MAX_PACKET);
      if (packet.bytes.length === 0 && packet.fds.length === 0) return undefined;
      self.postMessage({ kind: "packet", packet } satisfies ReceiverReport);
    }
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
