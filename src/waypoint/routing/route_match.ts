/** RouteMatch as a predicate (envoy.config.route.v3.RouteMatch; spec/waypoint.md §1.14). */
import {
  compileHeaderMatch,
  compileMetadataMatch,
  compilePathMatch,
  compileQueryMatch,
  type Metadata,
} from "../../matching/mod.ts";
import { isGrpcContentType } from "../../grpc/http_mapping.ts";
import { fieldOf, type RequestHead } from "../../http/message.ts";
import type { RouteMatch } from "../snapshot/mod.ts";

/** What a route is chosen by. */
export interface RoutedRequest {
  readonly head: RequestHead;
  /** Without its query. */
  readonly path: string;
  /** Namespace of the client's identity. */
  readonly sourceNamespace: string | undefined;
  /** Claims of verified tokens; undefined: none was verified. */
  readonly claims: Metadata | undefined;
}

export type RoutePredicate = (request: RoutedRequest) => boolean;

/** @throws MatchError */
export function compileRouteMatch(match: RouteMatch): RoutePredicate {
  const tests: RoutePredicate[] = [];
  const path = compilePathMatch(match.path);
  tests.push((request) => path(request.path));
  const { sourceNamespace } = match;
  if (sourceNamespace !== undefined) tests.push((request) => request.sourceNamespace === sourceNamespace);
  if (match.grpc === true) tests.push(({ head }) => isGrpcContentType(fieldOf(head.fields, "content-type")));
  for (const header of match.headers) {
    const test = compileHeaderMatch(header);
    tests.push((request) => test(request.head));
  }
  for (const query of match.query) {
    const test = compileQueryMatch(query);
    tests.push((request) => test(request.head.path));
  }
  for (const metadata of match.metadata) {
    const test = compileMetadataMatch(metadata);
    tests.push((request) => test(request.claims));
  }
  const [first, second] = tests as [RoutePredicate, RoutePredicate | undefined];
  if (second === undefined) return first;
  if (tests.length === 2) return (request) => first(request) && second(request);
  return (request) => {
    for (const test of tests) if (!test(request)) return false;
    return true;
  };
}
