// Admin, stats and readiness servers.
export type { AdminOptions, AdminServers, ExplainAnswer } from "./options.ts";
export { startAdmin } from "./servers.ts";
