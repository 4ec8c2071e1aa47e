import process from "node:process";
import { F_SETFL, F_SETOWN, O_ASYNC, O_NONBLOCK } from "./constants.ts";
import { checked, libc } from "./libc.ts";

/** Called on every SIGIO; which descriptor it was for is not told. */
const watchers = new Set<() => void>();
let listening = false;

/**
 * Calls `wake` whenever something arrives on a socket, without reading it: signal-driven I/O (fcntl(2) O_ASYNC). It is
 * for sockets of which the runtime knows nothing and that are mostly silent; a thread that waits instead costs 3 MB.
 * `wake` also comes for no reason, and once for many arrivals: it has to read until there is nothing more. The socket
 * becomes non-blocking. For the main thread only, where the runtime delivers signals. Throws SystemError.
 * @returns ends it; to be called before the descriptor is closed
 */
export function watchReadable(fd: number, wake: () => void): () => void {
  if (!listening) {
    // Never taken off again: without a listener a late SIGIO would end the process.
    process.on("SIGIO", () => {
      for (const watcher of [...watchers]) watcher();
    });
    listening = true;
  }
  checked(libc().fcntl(fd, F_SETOWN, process.pid), "fcntl(F_SETOWN)");
  checked(libc().fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), "fcntl(F_SETFL)");
  const watcher = () => wake();
  watchers.add(watcher);
  return () => {
    watchers.delete(watcher);
    libc().fcntl(fd, F_SETFL, O_NONBLOCK);
  };
}
