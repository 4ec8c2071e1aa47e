/** Redirects (envoy.config.route.v3.RedirectAction; spec/waypoint.md §7, redirects). */
import { fieldOf, type RequestHead, type ResponseHead } from "../../http/message.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { pathOnly } from "../../matching/mod.ts";
import type { RedirectAction } from "../snapshot/mod.ts";
import type { CompiledRoute } from "./compiled_route.ts";
import { changedPath } from "./path_rewrite.ts";
import { portAt, withoutPort } from "./virtual_hosts.ts";

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** The answer, without the header changes of the route. */
export function redirectResponse(head: RequestHead, action: RedirectAction, route: CompiledRoute): ResponseHead {
  return {
    status: action.status,
    fields: [["location", location(head, action, route)]],
    protocol: head.protocol,
    upgrade: undefined,
    wireBytes: 0,
  };
}

/** Envoy names the place of what was made, and of what was not modified: where the request went to. */
export function directResponseFields(head: RequestHead, status: number): HeaderList {
  if (status !== 201 && (status < 300 || status > 399)) return [];
  return [["location", `${head.scheme}://${head.authority}${head.path}`]];
}

function location(head: RequestHead, action: RedirectAction, route: CompiledRoute): string {
  const scheme = action.scheme ?? head.scheme;
  const host = action.host ?? requestHost(head, scheme, action.port !== undefined);
  const port = action.port === undefined || action.port === DEFAULT_PORTS[scheme] ? "" : `:${action.port}`;
  const path = redirectedPath(head.path, action, route);
  // Without any host (HTTP/1.0) only a relative reference can be right.
  return host === "" ? path : `${scheme}://${host}${port}${path}`;
}

/** The host of the request. Its port stays, unless it is replaced or was the default of a scheme that is left. */
function requestHost(head: RequestHead, scheme: string, replacesPort: boolean): string {
  const { authority } = head;
  const colon = portAt(authority);
  if (colon < 0) return authority;
  const before = fieldOf(head.fields, "x-forwarded-proto") ?? head.scheme;
  const leavesDefault = before !== scheme && authority.slice(colon) === `:${DEFAULT_PORTS[before]}`;
  return replacesPort || leavesDefault ? withoutPort(authority) : authority;
}

function redirectedPath(path: string, action: RedirectAction, route: CompiledRoute): string {
  const { pathChange } = route;
  if (pathChange !== undefined) return changedPath(path, pathChange, !action.stripQuery);
  return action.stripQuery ? pathOnly(path) : path;
}
