/** Local objects compiled to the snapshot that a waypoint serves with. */
export type { WaypointOptions } from "./options.ts";
export { type LocalInput } from "./input.ts";
export { compileWaypoint, type WaypointResult } from "./compile.ts";
