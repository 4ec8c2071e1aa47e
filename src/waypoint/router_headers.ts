/** What the router does to header sections that pass it: Envoy's finalizeRequestHeaders and finalizeResponseHeaders. */
import { type RequestHead, type ResponseHead, setField } from "../http/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { joinResponseFields } from "./inline_fields.ts";
import {
  applyRequestMutations,
  applyResponseMutations,
  type CompiledRoute,
  expectedTimeout,
  formatGrpcTimeout,
  type RequestTimeouts,
  rewriteRequest,
} from "./routing/mod.ts";
import type { ForwardAction, HttpOptions, WeightedCluster } from "./snapshot/mod.ts";
import type { StreamInfo } from "./stream_info.ts";

/** Says to the upstream how long it may take. */
export function announceTimeout(
  head: RequestHead,
  timeouts: RequestTimeouts,
  action: ForwardAction,
  grpc: boolean,
  envoyHeaders: boolean,
): void {
  const expected = expectedTimeout(timeouts);
  if (expected <= 0) return;
  if (envoyHeaders) head.fields.push(["x-envoy-expected-rq-timeout-ms", String(expected)]);
  // The backend learns how much of the caller's time is left for it.
  if (grpc && action.maxGrpcTimeoutMs !== undefined) setField(head.fields, "grpc-timeout", formatGrpcTimeout(expected));
}

/** Changes a request as its route says, to what the upstream gets. */
export function finalizeRequest(
  head: RequestHead,
  action: ForwardAction,
  route: CompiledRoute,
  target: WeightedCluster,
  info: StreamInfo,
  envoyHeaders: boolean,
): void {
  const before = head.path;
  applyRequestMutations(head, route, target, info);
  rewriteRequest(head, action, target, route, envoyHeaders);
  if (head.path !== before) info.originalPath = before;
}

/** What an upstream's answer gets before all that every response gets. */
export function markUpstreamResponse(
  head: ResponseHead,
  info: StreamInfo,
  { suppressEnvoyHeaders }: HttpOptions,
  setCookie: string | undefined,
): void {
  joinResponseFields(head.fields);
  if (info.requestReceivedAt > 0 && !suppressEnvoyHeaders) {
    const took = Math.trunc(info.responseFirstByteAt - info.requestReceivedAt);
    setField(head.fields, "x-envoy-upstream-service-time", String(took));
  }
  if (setCookie !== undefined) head.fields.push(["set-cookie", setCookie]);
}

/** Changes a response as its route says, and adds what CORS does. */
export function finalizeResponse(
  head: ResponseHead,
  route: CompiledRoute | undefined,
  target: WeightedCluster | undefined,
  corsFields: HeaderList | undefined,
  info: StreamInfo,
): void {
  if (route !== undefined) applyResponseMutations(head, route, target, info);
  if (corsFields !== undefined) { for (const [name, value] of corsFields) setField(head.fields, name, value); }
}
