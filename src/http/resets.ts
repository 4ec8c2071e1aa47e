import { ErrorCode, errorName } from "../http2/mod.ts";
import type { Reset } from "./exchange.ts";

/**
 * An HTTP/2 stream's abnormal end as the router knows it. `endReason` is the connection's: when it has one, the stream
 * ended with it.
 */
export function resetOf(code: number, remote: boolean, endReason: string, unsent: boolean): Reset {
  if (remote && code === ErrorCode.REFUSED_STREAM) {
    return { reason: "remote-refused-stream", detail: "REFUSED_STREAM", unsent };
  }
  if (!remote) {
    return { reason: "protocol-error", detail: endReason === "" ? errorName(code) : endReason, unsent };
  }
  if (endReason !== "") return { reason: "connection-termination", detail: endReason, unsent };
  return { reason: "remote-reset", detail: errorName(code), unsent };
}
