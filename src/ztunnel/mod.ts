/** ztunnel mode: the per-node L4 proxy. */
export { runZtunnel } from "./ztunnel.ts";
