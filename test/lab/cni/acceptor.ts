/** Worker: listens on the CNI's socket and tells the descriptor of each client. Its calls block, so it has a thread. */
import { SeqpacketListener } from "../../../src/linux/mod.ts";

declare const self: Worker;

export type AcceptorMessage =
  | { readonly kind: "listening" }
  | { readonly kind: "client"; readonly fd: number }
  | { readonly kind: "failed"; readonly message: string };

self.onmessage = (event: MessageEvent<{ path: string; stop: Int32Array }>) => {
  const { path, stop } = event.data;
  const tell = (message: AcceptorMessage) => self.postMessage(message);
  try {
    const listener = new SeqpacketListener(path);
    tell({ kind: "listening" });
    while (true) {
      const client = listener.accept();
      if (Atomics.load(stop, 0) === 1) {
        client.close();
        break;
      }
      tell({ kind: "client", fd: client.fd });
    }
    listener.close();
  } catch (error) {
    tell({ kind: "failed", message: String(error) });
  }
};
