export * from "./workload.ts";
export * from "./service.ts";
export * from "./decision.ts";
export * from "./reason.ts";
