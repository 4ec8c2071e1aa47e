/** What the router does to a request last: its host and its path (envoy.config.route.v3.RouteAction). */
import { joinedField, type RequestHead, setField } from "../../http/message.ts";
import type { ForwardAction, WeightedCluster } from "../snapshot/mod.ts";
import type { CompiledRoute } from "./compiled_route.ts";
import { pathOnly } from "../../matching/mod.ts";
import { withQueryOf } from "./path_rewrite.ts";

/**
 * Rewrites authority and path as the action says; the query stays. To be called after applyRequestMutations.
 * @param originals say in x-envoy-original-path and x-envoy-original-host what was there (suppress_envoy_headers: false)
 */
export function rewriteRequest(
  head: RequestHead,
  action: ForwardAction,
  cluster: WeightedCluster,
  route: CompiledRoute,
  originals: boolean,
): void {
  const host = cluster.hostRewrite ?? action.hostRewrite;
  if (host !== undefined && host !== "") {
    if (action.appendForwardedHost) appendForwardedHost(head);
    if (originals && cluster.hostRewrite === undefined) setField(head.fields, "x-envoy-original-host", head.authority);
    head.authority = host;
  }
  const { pathChange } = route;
  if (pathChange !== undefined) {
    const changed = pathChange(pathOnly(head.path));
    if (changed === undefined) return;
    if (originals) setField(head.fields, "x-envoy-original-path", head.path);
    head.path = withQueryOf(head.path, changed);
  }
}

/** As the last entry, unless it is that already, to the octet. */
function appendForwardedHost(head: RequestHead): void {
  const { fields, authority } = head;
  if (authority === "") return;
  const before = joinedField(fields, "x-forwarded-host");
  if (before === undefined || before === "") setField(fields, "x-forwarded-host", authority);
  else if (before.slice(before.lastIndexOf(",") + 1) !== authority) {
    setField(fields, "x-forwarded-host", `${before},${authority}`);
  }
}
