// Admin, stats and readiness servers.
export type { AdminOptions, AdminServers, ExplainAnswer } from "./options.ts";
export { startAdmin } from "./servers.ts";
export { SortedEntries, SortedList } from "./sorted_items.ts";
