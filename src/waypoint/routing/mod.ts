/**
 * Routes: which one a request takes and what that asks for. Pure: nothing here has a socket or a timer.
 *
 * For one request, in this order: normalizePath, CompiledRoutes.choose, pickCluster, decideFault, corsPreflight; then for
 * a forward action requestTimeouts, hashOf, applyRequestMutations, rewriteRequest, RetryState after each try, and
 * corsResponseFields and applyResponseMutations on the response.
 */
export { CompiledRoutes, type RouteProblem } from "./compiled_routes.ts";
export { applyRequestMutations, applyResponseMutations, type CompiledRoute } from "./compiled_route.ts";
export { corsPreflight, corsResponseFields } from "./cors.ts";
export { decideFault, type FaultDecision } from "./fault.ts";
export { hashOf, type RequestHash } from "./hash_policy.ts";
export { normalizePath, type PathOptions } from "./path_normalization.ts";
export { directResponseFields, redirectResponse } from "./redirect.ts";
export { RetryState } from "./retry.ts";
export { rewriteRequest } from "./rewrite.ts";
export {
  expectedTimeout,
  formatGrpcTimeout,
  parseGrpcTimeout,
  type RequestTimeouts,
  requestTimeouts,
} from "./timeouts.ts";
export { pickCluster } from "./weighted_cluster.ts";
