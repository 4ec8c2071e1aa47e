/** A RouteConfiguration made ready for requests. */
import type { RequestHead } from "../../http/message.ts";
import { type Metadata, pathOnly } from "../../matching/mod.ts";
import type { HeaderMutation, Route, RouteConfiguration, VirtualHost } from "../snapshot/mod.ts";
import { type CompiledRoute, compileRoute, type SharedEdits } from "./compiled_route.ts";
import { compileEdit, joinEdits, NO_EDIT } from "./header_edit.ts";
import { RouteIndex } from "./route_index.ts";
import { compileRouteMatch, type RoutePredicate } from "./route_match.ts";
import { VirtualHosts } from "./virtual_hosts.ts";

/** A route that is refused; the others serve (spec/waypoint.md §7, header values). */
export interface RouteProblem {
  /** The object that the route comes from, or its name. */
  readonly route: string;
  /** What is wrong, naming the pattern or field. */
  readonly reason: string;
  /** never-matches: its match cannot be understood; answers-500: it matches, but what it asks for cannot be done. */
  readonly effect: "never-matches" | "answers-500";
}

interface HostRoutes {
  readonly routes: readonly CompiledRoute[];
  readonly index: RouteIndex;
}

const UNCHANGED: HeaderMutation = { add: [], remove: [] };

export class CompiledRoutes {
  readonly problems: readonly RouteProblem[];
  readonly #hosts: VirtualHosts<HostRoutes>;

  /** Does not throw: what cannot be compiled is in `problems`. */
  constructor(configuration: RouteConfiguration) {
    const problems: RouteProblem[] = [];
    this.#hosts = new VirtualHosts(
      configuration.virtualHosts.map((host) => [host, compileHost(host, configuration, problems)]),
    );
    this.problems = problems;
  }

  /**
   * The first route that matches, in the virtual host of the authority; undefined: none does (404).
   * @param sourceNamespace namespace of the client's identity
   * @param claims of verified tokens, as metadata
   */
  choose(head: RequestHead, sourceNamespace?: string, claims?: Metadata): CompiledRoute | undefined {
    const host = this.#hosts.find(head.authority);
    if (host === undefined) return undefined;
    const found = host.index.first({ head, path: pathOnly(head.path), sourceNamespace, claims });
    return found < 0 ? undefined : host.routes[found];
  }
}

function compileHost(host: VirtualHost, configuration: RouteConfiguration, problems: RouteProblem[]): HostRoutes {
  let shared: SharedEdits = { request: NO_EDIT, response: NO_EDIT };
  let broken: string | undefined;
  try {
    shared = {
      request: joinEdits(
        compileEdit(host.requestHeaders, "request"),
        compileEdit(configuration.requestHeaders, "request"),
      ),
      response: joinEdits(
        compileEdit(host.responseHeaders, "response"),
        compileEdit(configuration.responseHeaders, "response"),
      ),
    };
  } catch (error) {
    broken = messageOf(error);
  }
  const routes: CompiledRoute[] = [];
  const matches = host.routes.map((route) => {
    let predicate: RoutePredicate | undefined;
    try {
      predicate = compileRouteMatch(route.match);
    } catch (error) {
      problems.push({ route: nameOf(route), reason: messageOf(error), effect: "never-matches" });
    }
    try {
      if (broken !== undefined) throw new Error(broken);
      routes.push(compileRoute(route, host, shared));
    } catch (error) {
      if (predicate !== undefined) {
        problems.push({ route: nameOf(route), reason: messageOf(error), effect: "answers-500" });
      }
      routes.push(compileRoute(refused(route), host, { request: NO_EDIT, response: NO_EDIT }));
    }
    return predicate && { match: route.match, matches: predicate };
  });
  return { routes, index: new RouteIndex(matches) };
}

/** It still matches: what it was to do must not be done by a more general route instead. */
function refused(route: Route): Route {
  return {
    ...route,
    action: { kind: "direct-response", status: 500, body: "" },
    requestHeaders: UNCHANGED,
    responseHeaders: UNCHANGED,
    fault: undefined,
    cors: undefined,
  };
}

function nameOf(route: Route): string {
  return route.source || route.name;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
