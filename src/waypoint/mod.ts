/** Waypoint mode: the L7 proxy of a namespace or service account. */
export { runWaypoint } from "./waypoint.ts";
