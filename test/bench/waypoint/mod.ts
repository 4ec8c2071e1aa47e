/** What our waypoint costs, beside Envoy doing the same hop as Istio configures it. */
export { benchWaypoints } from "./bench.ts";
