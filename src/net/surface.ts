/**
 * What a socket's `error` handler is given: an error of the connection (it has a code), or an exception that one of our
 * own handlers threw. The second is a bug. It ends its connection, and it goes on to the process' handler of uncaught
 * exceptions, which logs it with its stack; the other connections live on.
 */
export function surfaceBug(error: Error): void {
  if (typeof (error as { code?: unknown }).code === "string") return;
  queueMicrotask(() => {
    throw error;
  });
}
