// How a large mesh arrives while traffic flows.
export { keepPush, PUSH_LIMITS, renderPush } from "./report.ts";
export { measurePush, WORKLOADS } from "./scenario.ts";
