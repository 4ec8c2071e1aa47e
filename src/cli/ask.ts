/** Questions to a process by HTTP: what stands in the way, in words. */
import { errorCode, osErrorText } from "../net/os_error.ts";

/** Where the admin port of a process is unless the mesh configuration says otherwise (spec/ztunnel.md §1.5). */
export const DEFAULT_ADMIN = "127.0.0.1:15000";

/** Whether a text is `HOST:PORT`, with brackets around IPv6. */
export function isHostPort(text: string): boolean {
  const [, port = ""] = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/.exec(text) ?? [];
  return port !== "" && Number(port) > 0 && Number(port) < 65_536;
}

/**
 * Why there was no answer, and what to do about it where that is known.
 *
 * @param timeout of the question, ms
 * @param elsewhere added where nothing listens
 */
export function unanswered(error: Error, timeout: number, elsewhere = ""): string {
  if (error.name === "TimeoutError") return `nothing within ${timeout / 1000} s`;
  const code = errorCode(error);
  switch (code) {
    case "ECONNREFUSED":
    case "ConnectionRefused":
      return `nothing listens there${elsewhere}`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the name of the host cannot be resolved";
    case "ERR_INVALID_URL":
      return "this is not HOST:PORT";
    default:
      return osErrorText(code);
  }
}
