/** Choice of an endpoint of a service: usable ones, ranked by closeness to the client, weighted by capacity. */
import type { Choice } from "./decision.ts";
import { type Candidate, EndpointGroup } from "./endpoint_group.ts";
import type { LoadBalancer, RoutingScope, Service } from "./service.ts";
import { targetPortOf, type Workload } from "./workload.ts";

export type { Candidate };

/** Where a client or endpoint is, as far as choices depend on it. */
export type Place = Pick<Workload, "locality" | "node" | "clusterId" | "network">;

/** Views kept for one service: clients of one node are in few places. */
const MAX_VIEWS = 32;

function scopeMatches(scope: RoutingScope, source: Place, endpoint: Place): boolean {
  switch (scope) {
    case "Region":
      return source.locality.region === endpoint.locality.region;
    case "Zone":
      return source.locality.zone === endpoint.locality.zone;
    case "Subzone":
      return source.locality.subzone === endpoint.locality.subzone;
    case "Node":
      return source.node === endpoint.node;
    case "Cluster":
      return source.clusterId === endpoint.clusterId;
    case "Network":
      return source.network === endpoint.network;
  }
}

/**
 * How close an endpoint is: preferences are walked in order, one point for each that matches, until one does not. A
 * leading Network preference counts for as much as all others together, and its mismatch does not end the walk, so that
 * endpoints of other networks are still ranked by locality.
 */
export function rankEndpoint(
  preferences: readonly RoutingScope[],
  source: Place,
  endpoint: Place,
): { rank: number; complete: boolean } {
  let rank = 0;
  let complete = true;
  for (const [i, scope] of preferences.entries()) {
    const leadingNetwork = i === 0 && scope === "Network";
    if (scopeMatches(scope, source, endpoint)) {
      rank += leadingNetwork ? preferences.length - 1 : 1;
    } else {
      complete = false;
      if (!leadingNetwork) break;
    }
  }
  return { rank, complete };
}

/** What is asked for: the service itself, or the waypoint that it is, whose port need not be listed (§4.4). */
export type ResolutionMode = "Standard" | "Waypoint";

/** An endpoint that everyone can reach: by an address or hostname of its own. */
function isPlain({ workload }: Candidate): boolean {
  return workload.addresses.length > 0 || workload.hostname !== "";
}

/**
 * What an endpoint must fulfil for this client and port, besides being known.
 *
 * @param target of the service; undefined: the service does not list the port
 */
function usable(
  candidate: Candidate,
  network: string,
  servicePort: number,
  target: number | undefined,
  mode: ResolutionMode,
): boolean {
  const { workload, ports } = candidate;
  if (!isPlain(candidate) && (workload.network === network || workload.networkGateway === undefined)) return false;
  if (target === undefined) return workload.applicationTunnel !== undefined;
  if (target > 0 || (targetPortOf(ports, servicePort) ?? 0) > 0) return true;
  // Nobody names a target: a waypoint's application tunnel takes the service port itself.
  return mode === "Waypoint" && workload.applicationTunnel?.port !== undefined;
}

/** The endpoints that clients of one place can use for one kind of port, by rank. */
class View {
  /** By rank; without preferences all are of rank 0. Gaps are empty groups. */
  readonly #groups: EndpointGroup[] = [];
  readonly #rank: (candidate: Candidate) => number | undefined;

  /** @param rank undefined: not to be used at all */
  constructor(candidates: Iterable<Candidate>, rank: (candidate: Candidate) => number | undefined) {
    this.#rank = rank;
    for (const candidate of candidates) this.add(candidate);
  }

  add(candidate: Candidate): void {
    const rank = this.#rank(candidate);
    if (rank === undefined) return;
    while (this.#groups.length <= rank) this.#groups.push(new EndpointGroup());
    this.#groups[rank]!.add(candidate);
  }

  remove(candidate: Candidate): void {
    const rank = this.#rank(candidate);
    if (rank !== undefined) this.#groups[rank]?.remove(candidate);
  }

  /** Of the highest rank that there is. Where all of it are avoided, others may come from lower ranks. */
  pick({ random, avoid }: Choice): Candidate | undefined {
    let top = this.#groups.length - 1;
    while (top >= 0 && this.#groups[top]!.size === 0) top--;
    const chosen = this.#groups[top]?.pick(random);
    if (chosen === undefined || avoid === undefined || !avoid(chosen.workload)) return chosen;
    for (let rank = top; rank >= 0; rank--) {
      const other = this.#groups[rank]!.pickOther(random, avoid);
      if (other !== undefined) return other;
    }
    return chosen;
  }
}

/** The known endpoints of one service, in the views that clients have of them. Follows changes one by one. */
export class EndpointPool {
  readonly #service: Service;
  /** undefined: no preferences. */
  readonly #balancer: LoadBalancer | undefined;
  /** By uid. */
  readonly #candidates = new Map<string, Candidate>();
  readonly #all: View;
  readonly #views = new Map<string, View>();
  /** The same by the client's record, for ports with a target: those of a connection's usual kind. */
  #viewOf = new WeakMap<Place, View>();
  /** How many are not for everyone. */
  #special = 0;

  constructor(service: Service, candidates: Iterable<Candidate>) {
    this.#service = service;
    const balancer = service.loadBalancer;
    this.#balancer = balancer?.mode === "Standard" ? undefined : balancer;
    this.#all = new View([], () => 0);
    for (const candidate of candidates) this.put(candidate);
  }

  get size(): number {
    return this.#candidates.size;
  }

  /** Adds an endpoint, in place of one with its uid. */
  put(candidate: Candidate): void {
    this.remove(candidate.workload.uid);
    this.#candidates.set(candidate.workload.uid, candidate);
    if (!isPlain(candidate)) this.#special++;
    this.#all.add(candidate);
    for (const view of this.#views.values()) view.add(candidate);
  }

  remove(uid: string): void {
    const candidate = this.#candidates.get(uid);
    if (candidate === undefined) return;
    this.#candidates.delete(uid);
    if (!isPlain(candidate)) this.#special--;
    this.#all.remove(candidate);
    for (const view of this.#views.values()) view.remove(candidate);
  }

  /**
   * One endpoint for a connection of `source` to `servicePort`; undefined if there is none. Avoided ones are passed over
   * as long as another can take the connection: of the same rank first, then, unless the mode is Strict, of lower ones.
   */
  choose(
    source: Place,
    servicePort: number,
    choice: Choice,
    mode: ResolutionMode = "Standard",
  ): Candidate | undefined {
    const target = targetPortOf(this.#service.ports, servicePort);
    if (target === undefined && mode === "Standard") return undefined;
    return this.#viewFor(source, servicePort, target, mode).pick(choice);
  }

  #viewFor(source: Place, servicePort: number, target: number | undefined, mode: ResolutionMode): View {
    if (target === undefined || target === 0) return this.#view(source, servicePort, target, mode);
    if (this.#special === 0 && this.#balancer === undefined) return this.#all;
    let view = this.#viewOf.get(source);
    if (view === undefined) this.#viewOf.set(source, view = this.#view(source, servicePort, target, mode));
    return view;
  }

  /** Whether an endpoint counts depends on who asks for which port; only those that count are ranked. */
  #view(source: Place, servicePort: number, target: number | undefined, mode: ResolutionMode): View {
    const balancer = this.#balancer;
    const port = target === undefined ? "tunnel" : target > 0 ? "" : `${mode}${servicePort}`;
    const key = balancer === undefined ? `${port}\0${source.network}` : `${port}\0${placeKey(source)}`;
    let view = this.#views.get(key);
    if (view === undefined) {
      const { locality, node, clusterId, network } = source;
      const place: Place = { locality, node, clusterId, network };
      view = new View(this.#candidates.values(), (candidate) => {
        if (!usable(candidate, network, servicePort, target, mode)) return undefined;
        if (balancer === undefined) return 0;
        const { rank, complete } = rankEndpoint(balancer.routingPreferences, place, candidate.workload);
        return balancer.mode === "Strict" && !complete ? undefined : rank;
      });
      for (const oldest of this.#views.keys()) {
        if (this.#views.size < MAX_VIEWS) break;
        this.#views.delete(oldest);
        this.#viewOf = new WeakMap();
      }
      this.#views.set(key, view);
    }
    return view;
  }
}

function placeKey({ locality: { region, zone, subzone }, node, clusterId, network }: Place): string {
  return `${region}\0${zone}\0${subzone}\0${node}\0${clusterId}\0${network}`;
}
