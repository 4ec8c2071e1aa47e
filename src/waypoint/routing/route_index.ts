/**
 * The routes of a virtual host in order, found without trying them all: those with an exact path by that path, all
 * others by the text that their paths begin with (a prefix, the literal start of an expression or template).
 */
import { lowerAscii, pathKey } from "../../matching/mod.ts";
import type { RouteMatch } from "../snapshot/mod.ts";
import { Candidates } from "./candidates.ts";
import { PrefixTree } from "./prefix_tree.ts";
import type { RoutedRequest, RoutePredicate } from "./route_match.ts";

/** Candidates by path, for one way of writing paths. */
class PathIndex {
  readonly #exact = new Map<string, Candidates>();
  readonly #prefixes = new PrefixTree<Candidates>();

  at(kind: "exact" | "prefix", value: string): Candidates {
    if (kind === "prefix") return this.#prefixes.at(value, () => new Candidates());
    let found = this.#exact.get(value);
    if (found === undefined) this.#exact.set(value, found = new Candidates());
    return found;
  }

  first(path: string, request: RoutedRequest, below: number): number {
    const exact = this.#exact.get(path);
    let best = exact === undefined ? below : exact.first(request, below);
    for (const candidates of this.#prefixes.prefixesOf(path)) best = candidates.first(request, best);
    return best;
  }
}

export class RouteIndex {
  readonly #asWritten = new PathIndex();
  /** Paths in lower case; undefined: no route ignores case. */
  #lowerCase: PathIndex | undefined = undefined;

  /** @param routes in order; undefined: one that never matches */
  constructor(routes: readonly ({ readonly match: RouteMatch; readonly matches: RoutePredicate } | undefined)[]) {
    const used = new Set<Candidates>();
    routes.forEach((route, index) => {
      if (route === undefined) return;
      const { kind, value, caseSensitive } = pathKey(route.match.path);
      const paths = caseSensitive ? this.#asWritten : this.#lowerCase ??= new PathIndex();
      const candidates = paths.at(kind, value);
      candidates.add({ index, ...route });
      used.add(candidates);
    });
    for (const candidates of used) candidates.finish();
  }

  /** Index of the first route that matches, or -1. */
  first(request: RoutedRequest): number {
    let best = this.#asWritten.first(request.path, request, Infinity);
    if (this.#lowerCase !== undefined) best = this.#lowerCase.first(lowerAscii(request.path), request, best);
    return best === Infinity ? -1 : best;
  }
}
