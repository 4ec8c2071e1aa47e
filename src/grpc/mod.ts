/** gRPC client over the project's own HTTP/2 (spec/ztunnel.md §3.1). */
export { GrpcChannel } from "./channel.ts";
export { grpcStatusOfHttp, isGrpcContentType } from "./http_mapping.ts";
export { readRootsFile, RootsError, rootsReader, type RootsSource } from "./roots.ts";
export { GrpcError, type GrpcErrorKind, GrpcStatus, statusName } from "./status.ts";
export type {
  GrpcChannelOptions,
  GrpcClock,
  GrpcStream,
  GrpcStreamHandler,
  GrpcTarget,
  StreamOptions,
  UnaryOptions,
} from "./types.ts";
