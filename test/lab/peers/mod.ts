/** Applications of the lab by other hands: servers and clients that Node, grpc-js and ws make, run inside pods. */
export { EchoApplication, type EchoedRequest, type EchoPlan } from "./echo_application.ts";
export {
  type GrpcAnswer,
  type GrpcOrder,
  type Http2Answer,
  type Http2Order,
  PodCaller,
  type WebSocketAnswer,
  type WebSocketOrder,
} from "./pod_caller.ts";
export { SecureApplication, type SecurePlan, type SeenConnection } from "./secure_application.ts";
export { type SeenConnect, TunnelEnd, type TunnelEndPlan } from "./tunnel_end.ts";
export { type AskOptions, Nameserver, PodResolver, ResolverError, type ZoneEntry } from "./names.ts";
