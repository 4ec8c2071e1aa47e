// What would become of a connection, and why: for `ambient explain` and the admin port.
export { explain, type ExplainContext } from "./explain.ts";
export type * from "./explanation.ts";
export { explanationText } from "./text.ts";
