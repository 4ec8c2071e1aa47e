/** Seeing what really passes between nodes. */
export { type CapturedTraffic, contains, type Flow, notTls, readCapture } from "./capture_file.ts";
export { WireTap } from "./tap.ts";
