// What would become of a connection, and why: for `ambient explain` and the admin port.
export { explain, type ExplainContext, type RecentFailure } from "./explain.ts";
export type * from "./explanation.ts";
export { explanationText } from "./text.ts";
