/** Cross-origin resource sharing, as Envoy's CORS filter does it (spec/waypoint.md §6.1, §7). */
import { fieldOf, type RequestHead } from "../../http/message.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { compileStringMatch, octetsOf, type TextPredicate } from "../../matching/mod.ts";
import type { CorsPolicy } from "../snapshot/mod.ts";
import type { CompiledRoute } from "./compiled_route.ts";

export interface CompiledCors {
  readonly policy: CorsPolicy;
  readonly allowsOrigin: TextPredicate;
}

/** @throws MatchError */
export function compileCors(policy: CorsPolicy): CompiledCors {
  const tests = policy.allowOrigins.map(compileStringMatch);
  // A matcher that accepts `*` accepts everything.
  if (tests.some((test) => test("*"))) return { policy, allowsOrigin: () => true };
  return { policy, allowsOrigin: (origin) => tests.some((test) => test(origin)) };
}

/**
 * Fields of the 200 that answers a preflight; undefined: the request is none, or goes to the backend. A preflight from an
 * origin that is not allowed is answered too, only without saying that it is allowed.
 */
export function corsPreflight(route: CompiledRoute, head: RequestHead): HeaderList | undefined {
  const { cors } = route;
  if (cors === undefined || head.method !== "OPTIONS") return undefined;
  const origin = fieldOf(head.fields, "origin");
  const method = fieldOf(head.fields, "access-control-request-method");
  if (origin === undefined || origin === "" || method === undefined || method === "") return undefined;
  const { policy } = cors;
  const allowed = cors.allowsOrigin(origin);
  if (!allowed && policy.forwardNotMatchingPreflights) return undefined;
  const fields: HeaderList = [];
  if (allowed) fields.push(["access-control-allow-origin", origin]);
  if (policy.allowCredentials) fields.push(["access-control-allow-credentials", "true"]);
  pushOrEcho(fields, "access-control-allow-methods", policy.allowMethods, method);
  const headers = fieldOf(head.fields, "access-control-request-headers");
  pushOrEcho(fields, "access-control-allow-headers", policy.allowHeaders, headers ?? "");
  if (policy.maxAge !== "") fields.push(["access-control-max-age", octetsOf(policy.maxAge)]);
  if (allowed && policy.exposeHeaders !== "") {
    fields.push(["access-control-expose-headers", octetsOf(policy.exposeHeaders)]);
  }
  return fields;
}

/** `*` allows what was asked for, be it nothing. */
function pushOrEcho(fields: HeaderList, name: string, allowed: string, asked: string): void {
  if (allowed !== "") fields.push([name, allowed === "*" ? asked : octetsOf(allowed)]);
}

/**
 * Fields of responses to requests from an origin that is allowed; each replaces what the backend sent of its name
 * (setField). To be asked before header changes may take `origin` out of the request.
 */
export function corsResponseFields(route: CompiledRoute, head: RequestHead): HeaderList | undefined {
  const { cors } = route;
  if (cors === undefined) return undefined;
  const origin = fieldOf(head.fields, "origin");
  if (origin === undefined || origin === "" || !cors.allowsOrigin(origin)) return undefined;
  const { allowCredentials, exposeHeaders } = cors.policy;
  const fields: HeaderList = [["access-control-allow-origin", origin]];
  if (allowCredentials) fields.push(["access-control-allow-credentials", "true"]);
  if (exposeHeaders !== "") fields.push(["access-control-expose-headers", octetsOf(exposeHeaders)]);
  return fields;
}
