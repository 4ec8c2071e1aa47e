import { type ListenOptions, listenTcp, SystemError, type TcpListener } from "../linux/mod.ts";
import { portTaken } from "../net/os_error.ts";

/** As listenTcp, in the process's own network namespace; the error of a port that is taken says so with the component. */
export function openListener(component: string, options: Omit<ListenOptions, "namespace">): TcpListener {
  try {
    return listenTcp(options);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EADDRINUSE") throw error;
    throw new Error(`${component}: ${portTaken(options.address.port)}`);
  }
}
