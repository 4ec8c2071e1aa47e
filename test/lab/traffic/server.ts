/** Small applications listening inside a pod: each accepted connection is a Conversation given to its behaviour. */
import type { TCPSocketListener } from "bun";
import { listenTcp, peerAddress } from "../../../src/linux/mod.ts";
import type { NetworkNamespace } from "../topology/mod.ts";
import { adoptListener } from "./adoption.ts";
import { Conversation, conversationHandlers } from "./conversation.ts";

export type Behaviour = (conversation: Conversation) => void | Promise<void>;

export interface Visit {
  readonly conversation: Conversation;
  /** Address the application sees. */
  readonly ip: string;
  readonly port: number;
}

/** Sends every received chunk back twice: 11 bytes in, 22 out. */
export const doubling: Behaviour = async (conversation) => {
  while (true) {
    await conversation.untilReceived(conversation.received + 1, 600_000).catch(() => {});
    const text = conversation.discard();
    if (text > 0) conversation.write("x".repeat(text * 2));
    if (conversation.ended) break;
  }
  conversation.finish();
};

export class PodServer {
  readonly port: number;
  readonly visits: Visit[] = [];
  readonly #listener: TCPSocketListener<Conversation>;

  /** @throws SystemError when the port cannot be bound */
  constructor(namespace: NetworkNamespace, port: number, behaviour: Behaviour, ip = "::") {
    const { fd, address } = listenTcp({
      namespace: namespace.fd,
      address: { ip, port },
      backlog: 4096,
      reusePort: false,
      reuseAddress: true,
      noDelay: true,
      transparent: "off",
    });
    this.port = address.port;
    const { visits } = this;
    this.#listener = adoptListener<Conversation>({
      fd,
      socket: {
        ...conversationHandlers,
        open(socket) {
          const conversation = Conversation.of(socket);
          const peer = peerAddress(conversation.fd);
          visits.push({ conversation, ip: peer?.ip ?? "", port: peer?.port ?? 0 });
          Promise.resolve(behaviour(conversation)).catch(() => conversation.close());
        },
      },
    });
  }

  /** Closes the listener, and every connection with it. */
  close(): void {
    this.#listener.stop(true);
  }
}
