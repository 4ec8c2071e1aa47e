/** Worker: waits for the packets of one ztunnel and passes them on. An empty packet is its end. */
import { SeqpacketSocket } from "../../../src/linux/mod.ts";

declare const self: Worker;

/** istio-cni's own buffer: a longer answer is cut and counts as a violation. */
const MAX_MESSAGE = 1024; // bytes

export interface ReaderMessage {
  readonly bytes: Uint8Array;
  readonly truncated: boolean;
}

self.onmessage = (event: MessageEvent<{ fd: number }>) => {
  const socket = new SeqpacketSocket(event.data.fd);
  while (true) {
    let message: ReaderMessage;
    try {
      const packet = socket.receive(MAX_MESSAGE);
      message = { bytes: packet.bytes, truncated: packet.truncated };
    } catch {
      message = { bytes: new Uint8Array(0), truncated: false };
    }
    self.postMessage(message);
    if (message.bytes.length === 0) return;
  }
};
