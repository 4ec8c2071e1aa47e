/** One route made ready, with all that its request and response will need. */
import type { RequestHead, ResponseHead } from "../../http/message.ts";
import type { Route, VirtualHost, WeightedCluster } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import { compileCors, type CompiledCors } from "./cors.ts";
import { applyEdit, compileEdit, type HeaderEdit, joinEdits } from "./header_edit.ts";
import { compilePathChange, type PathChange } from "./path_rewrite.ts";
import { compileRetry } from "./retry.ts";

interface ClusterEdits {
  readonly cluster: WeightedCluster;
  readonly request: HeaderEdit;
  readonly response: HeaderEdit;
}

export interface CompiledRoute {
  /** With another action than configured where that could not be compiled: 500. */
  readonly route: Route;
  readonly virtualHost: VirtualHost;
  /** Of the route, its virtual host and the configuration, in this order. */
  readonly requestEdit: HeaderEdit;
  readonly responseEdit: HeaderEdit;
  /** undefined: no cluster has changes of its own. */
  readonly clusterEdits: readonly ClusterEdits[] | undefined;
  readonly pathChange: PathChange | undefined;
  readonly cors: CompiledCors | undefined;
}

/** The changes that all routes of a virtual host share. */
export interface SharedEdits {
  readonly request: HeaderEdit;
  readonly response: HeaderEdit;
}

/** @throws MatchError, HeaderEditError, RewriteError */
export function compileRoute(route: Route, virtualHost: VirtualHost, shared: SharedEdits): CompiledRoute {
  const { action } = route;
  if (action.kind === "forward") {
    if (action.clusters.length === 0) throw new NoClusterError("it has no cluster");
    if (action.retry !== undefined) compileRetry(action.retry);
  }
  const rewrite = action.kind === "forward" ? action.rewrite : action.kind === "redirect" ? action.path : undefined;
  return {
    route,
    virtualHost,
    requestEdit: joinEdits(compileEdit(route.requestHeaders, "request"), shared.request),
    responseEdit: joinEdits(compileEdit(route.responseHeaders, "response"), shared.response),
    clusterEdits: action.kind === "forward" ? clusterEdits(action.clusters) : undefined,
    pathChange: rewrite && compilePathChange(rewrite, route.match),
    cors: route.cors && compileCors(route.cors),
  };
}

export class NoClusterError extends Error {}

function clusterEdits(clusters: readonly WeightedCluster[]): readonly ClusterEdits[] | undefined {
  const edits = clusters.map((cluster) => ({
    cluster,
    request: compileEdit(cluster.requestHeaders, "request"),
    response: compileEdit(cluster.responseHeaders, "response"),
  }));
  return edits.some(({ request, response }) => request.length + response.length > 0) ? edits : undefined;
}

/** Does what cluster, route, virtual host and configuration ask for, in this order. */
export function applyRequestMutations(
  head: RequestHead,
  route: CompiledRoute,
  cluster: WeightedCluster | undefined,
  info: StreamInfo,
): void {
  const own = route.clusterEdits?.find((edits) => edits.cluster === cluster);
  if (own !== undefined) applyEdit(head, own.request, info);
  applyEdit(head, route.requestEdit, info);
}

/** As applyRequestMutations; for redirects and direct responses there is no cluster. */
export function applyResponseMutations(
  head: ResponseHead,
  route: CompiledRoute,
  cluster: WeightedCluster | undefined,
  info: StreamInfo,
): void {
  const own = route.clusterEdits?.find((edits) => edits.cluster === cluster);
  if (own !== undefined) applyEdit(head, own.response, info);
  applyEdit(head, route.responseEdit, info);
}
