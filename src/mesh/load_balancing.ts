/** Choice of an endpoint of a service: usable ones, ranked by closeness to the client, weighted by capacity. */
import type { Choice } from "./decision.ts";
import type { LoadBalancer, RoutingScope, Service } from "./service.ts";
import { targetPortOf, type Workload } from "./workload.ts";

/** Uniform in [0, 1); injected, so that choices can be repeated. */
export type Random = () => number;

export interface Candidate {
  readonly workload: Workload;
  readonly ports: readonly number[];
}

/** Endpoints among which capacity alone decides. */
class Group {
  readonly candidates: readonly Candidate[];
  /** Running sums of capacities; undefined when all are equal (and not 0), the common case. */
  readonly #sums: Float64Array | undefined;
  /** Every member can be reached by an address or hostname of its own, whoever asks. */
  readonly plain: boolean;

  constructor(candidates: readonly Candidate[]) {
    this.candidates = candidates;
    this.plain = candidates.every(({ workload }) => workload.addresses.length > 0 || workload.hostname !== "");
    const first = candidates[0]?.workload.capacity ?? 0;
    if (first > 0 && candidates.every(({ workload }) => workload.capacity === first)) {
      this.#sums = undefined;
      return;
    }
    this.#sums = new Float64Array(candidates.length);
    let sum = 0;
    for (const [i, { workload }] of candidates.entries()) this.#sums[i] = sum += workload.capacity;
  }

  /** Weighted choice; undefined when there is no weight at all. */
  pick(random: Random): Candidate | undefined {
    const sums = this.#sums;
    if (sums === undefined) return this.candidates[Math.floor(random() * this.candidates.length)];
    const total = sums.length === 0 ? 0 : sums[sums.length - 1]!;
    if (total === 0) return undefined;
    const point = random() * total;
    // The first running sum beyond the point; members of capacity 0 are never first beyond anything.
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle]! > point) high = middle;
      else low = middle + 1;
    }
    return this.candidates[low];
  }
}

function scopeMatches(scope: RoutingScope, source: Workload, endpoint: Workload): boolean {
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
  source: Workload,
  endpoint: Workload,
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

function closest(all: readonly Candidate[], balancer: LoadBalancer, source: Workload): Candidate[] {
  let highest = -1;
  let chosen: Candidate[] = [];
  for (const candidate of all) {
    const { rank, complete } = rankEndpoint(balancer.routingPreferences, source, candidate.workload);
    if (balancer.mode === "Strict" && !complete) continue;
    if (rank > highest) {
      highest = rank;
      chosen = [];
    }
    if (rank === highest) chosen.push(candidate);
  }
  return chosen;
}

/** What is asked for: the service itself, or the waypoint that it is, whose port need not be listed (§4.4). */
export type ResolutionMode = "Standard" | "Waypoint";

/**
 * What an endpoint must fulfil for this client and port, besides being known.
 *
 * @param target of the service; undefined: the service does not list the port
 */
function usable(
  { workload, ports }: Candidate,
  source: Workload,
  servicePort: number,
  target: number | undefined,
): boolean {
  if (workload.addresses.length === 0 && workload.hostname === "") {
    if (workload.network === source.network || workload.networkGateway === undefined) return false;
  }
  if (target === undefined) return workload.applicationTunnel !== undefined;
  return target > 0 || (targetPortOf(ports, servicePort) ?? 0) > 0;
}

/** The endpoints of one service in one snapshot, grouped as they are asked for. */
export class EndpointPool {
  readonly #service: Service;
  readonly #all: Group;
  /** Closest endpoints by the client's place; few places occur on one node. */
  readonly #byPlace = new Map<string, Group>();

  constructor(service: Service, candidates: readonly Candidate[]) {
    this.#service = service;
    this.#all = new Group(candidates);
  }

  get size(): number {
    return this.#all.candidates.length;
  }

  /** One endpoint for a connection of `source` to `servicePort`; undefined if there is none. */
  choose(
    source: Workload,
    servicePort: number,
    { random }: Choice,
    mode: ResolutionMode = "Standard",
  ): Candidate | undefined {
    const target = targetPortOf(this.#service.ports, servicePort);
    if (target === undefined && mode === "Standard") return undefined;
    const balancer = this.#service.loadBalancer;
    const ranked = balancer !== undefined && balancer.mode !== "Standard";
    if (this.#all.plain && target !== undefined && target > 0) {
      return (ranked ? this.#closest(source, balancer) : this.#all).pick(random);
    }
    // Whether an endpoint counts depends on who asks for which port: filter first, then rank, as the order matters.
    const filtered = this.#all.candidates.filter((candidate) => usable(candidate, source, servicePort, target));
    return new Group(ranked ? closest(filtered, balancer, source) : filtered).pick(random);
  }

  #closest(source: Workload, balancer: LoadBalancer): Group {
    const { region, zone, subzone } = source.locality;
    const place = `${region}\0${zone}\0${subzone}\0${source.node}\0${source.clusterId}\0${source.network}`;
    let group = this.#byPlace.get(place);
    if (group === undefined) {
      group = new Group(closest(this.#all.candidates, balancer, source));
      this.#byPlace.set(place, group);
    }
    return group;
  }
}
