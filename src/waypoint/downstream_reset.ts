/** What the record of a request says where its client broke off. */
import type { Reset } from "../http/mod.ts";
import type { StreamInfo } from "./stream_info.ts";

/** @param answered the response has begun */
export function recordDownstreamReset(info: StreamInfo, reset: Reset, answered: boolean, http2: boolean): void {
  if (reset.reason === "protocol-error" && !answered && !http2) {
    // The connection answers by itself.
    info.flag("DPE");
    info.responseCode = 400;
    info.responseCodeDetails = "http1.codec_error";
    info.bytesSent = BAD_REQUEST_BYTES;
  } else {
    info.flag("DC");
    info.responseCodeDetails ||= "downstream_remote_disconnect";
  }
}

/** Of the answer to what cannot be read: "Bad Request". */
const BAD_REQUEST_BYTES = 11;
