export { ZdsClient, type ZdsClientOptions, type ZdsClock, type ZdsHandler } from "./client.ts";
export type { PendingWorkload, ZdsState, ZdsWorkload } from "./state.ts";
