/** Requests that no upstream hears of, because of what they are or what their route says: the answer to each. */
import type { RequestHead } from "../http/mod.ts";
import type { CompiledHttpChain } from "./configuration.ts";
import type { LocalReply } from "./local_reply.ts";
import {
  type CompiledRoute,
  directResponseFields,
  type FaultDecision,
  normalizePath,
  redirectResponse,
} from "./routing/mod.ts";
import type { DirectResponseAction, RedirectAction } from "./snapshot/mod.ts";

/** Before any route is looked for: what is wrong with the request. If nothing is, its path is normalized afterwards. */
export function refusalOf(
  head: RequestHead,
  { chain, refusal }: CompiledHttpChain,
  contentType: string | undefined,
): LocalReply | undefined {
  if (refusal !== undefined) return { status: 503, body: refusal, details: "unsupported_filter" };
  const normalized = normalizePath(head.path, chain.options);
  if (normalized === undefined) return { status: 400, body: "", details: "path_normalization_failed" };
  head.path = normalized;
  if (head.method === "QUERY" && contentType === undefined) {
    return { status: 400, body: "", details: "query_missing_content_type" };
  }
  if (head.path.charCodeAt(0) !== SLASH && head.method !== "CONNECT") {
    return { status: 404, body: "", details: "absolute_path_rejected" };
  }
  return undefined;
}

/** A fault that is injected. */
export function abortReply({ status, grpcStatus }: NonNullable<FaultDecision["abort"]>): LocalReply {
  return { status, body: "fault filter abort", details: "fault_filter_abort", grpcStatus };
}

/** A route that answers by itself. */
export function routeReply(
  head: RequestHead,
  action: RedirectAction | DirectResponseAction,
  route: CompiledRoute,
): LocalReply {
  if (action.kind === "redirect") {
    const { status, fields } = redirectResponse(head, action, route);
    return { status, body: "", details: "direct_response", fields };
  }
  const { status, body } = action;
  return { status, body, details: "direct_response", fields: directResponseFields(head, status) };
}

const SLASH = 0x2f;
