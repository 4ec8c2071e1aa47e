// Admin, stats and readiness servers.
export type { AdminOptions, AdminServers } from "./options.ts";
export { startAdmin } from "./servers.ts";
