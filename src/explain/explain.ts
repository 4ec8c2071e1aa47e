/**
 * What would become of a connection. Nothing is decided here: the functions that decide about real connections are asked,
 * with what they would be asked with, and their reasons are written down.
 */
import type { NameSettings } from "../dns/mod.ts";
import { type CacheEntrySnapshot, parseIdentity } from "../identity/mod.ts";
import {
  type Choice,
  type HboneRoute,
  type MeshState,
  type OutboundDecision,
  renderReason,
  resolveInbound,
  resolveOutbound,
  type RoutingSettings,
  serviceKey,
  type Workload,
  workloadIdentity,
} from "../mesh/mod.ts";
import { formatAddress, isLoopback, type SocketAddress } from "../net/address.ts";
import { arrival, described, infoOf } from "./arrival.ts";
import type {
  ExplainedCertificate,
  ExplainedFailure,
  ExplainedHop,
  ExplainedInbound,
  ExplainedOutbound,
  ExplainedWorkload,
  Explanation,
} from "./explanation.ts";
import { plaintextCourse } from "./plaintext.ts";
import { type Found, readDestination, readSource, type Source } from "./question.ts";
import { type Course, failureClause, verdictOf } from "./verdict.ts";

/** A connect of this process that failed lately; of ztunnel's Ejections. */
export interface RecentFailure {
  readonly uid: string;
  readonly error: string;
  /** ms */
  readonly age: number;
}

/** Live state that an explanation is made from. */
export interface ExplainContext {
  readonly mesh: MeshState;
  readonly routing: RoutingSettings;
  /** As the DNS proxies of the pods read names. */
  readonly names: NameSettings;
  /** The cache's entry for an identity; undefined: this process does not keep it. */
  readonly certificate: (identity: string) => CacheEntrySnapshot | undefined;
  /** As real connections of a client choose among endpoints now; undefined: one that is no workload. */
  readonly choice: (source: Workload | undefined, destination: SocketAddress) => Choice;
  /** Connects of a client to the destination that failed lately, the latest first. */
  readonly failures: (source: Workload, destination: SocketAddress) => readonly RecentFailure[];
}

/** Failures that are told of one destination. */
const MAX_FAILURES = 8;

/** Answers a question, or says what of it cannot be read. */
export function explain(context: ExplainContext, sourceText: string, destinationText: string): Found<Explanation> {
  const { mesh, names, routing } = context;
  const question = { mesh, names, network: routing.network };
  const source = readSource(question, sourceText);
  if (!source.ok) return source;
  const destination = readDestination(question, destinationText, source.value);
  if (!destination.ok) return destination;
  const { address, notes } = destination.value;
  const course = courseOf(context, source.value, address);
  return {
    ok: true,
    value: {
      source: { asked: sourceText, ip: source.value.ip, ...described(source.value.workload) },
      destination: {
        asked: destinationText,
        address: formatAddress(address),
        ...(notes.length === 0 ? {} : { notes }),
      },
      hops: course.hops,
      verdict: verdictOf(course),
    },
  };
}

function courseOf(context: ExplainContext, source: Source, destination: SocketAddress): Course {
  const { workload, ip } = source;
  if (workload === undefined || workload.protocol !== "HBONE") return plaintextCourse(context, source, destination);
  if (destination.ip === ip || staysInPod(context, workload, destination)) return courseToItself(workload, destination);
  const decision = resolve(context, workload, ip, destination);
  const first = hopOf(context, decision, workload, ip, destination);
  const { outbound, certificate } = first;
  if (outbound.error !== undefined || certificate?.state === "unavailable") return { hops: [first] };
  if (outbound.throughWaypoint) {
    const { namespace, name } = outbound.workload as ExplainedWorkload;
    const elsewhere = `the waypoint ${namespace}/${name} decides at layer 7; at layer 4 nothing is in the way`;
    if (decision.action !== "hbone" || decision.inner !== undefined) return { hops: [first], elsewhere };
    // Behind the waypoint a connection goes on, in its name; which way is decided by the same mesh.
    const instance = decision.workload;
    const onward = resolve(context, instance, decision.dial.ip, destination);
    if (throughWaypoint(onward)) return { hops: [first], elsewhere };
    return { hops: [first, hopOf(context, onward, instance, decision.dial.ip, destination)], elsewhere };
  }
  if (outbound.action === "double-hbone") {
    return { hops: [first], elsewhere: "the ztunnel behind the gateway decides" };
  }
  if (first.inbound !== undefined) return { hops: [first] };
  if (decision.action === "lookup") {
    return { hops: [first], elsewhere: `it depends on what the name ${decision.hostname} resolves to` };
  }
  return { hops: [first], free: "the destination is not captured, so no policy of the mesh is asked" };
}

/** Loopback is the pod's own too, unless the mesh has somebody there, as where all of it runs on one machine. */
function staysInPod({ mesh, routing }: ExplainContext, workload: Workload, { ip }: SocketAddress): boolean {
  if (workload.addresses.includes(ip)) return true;
  return isLoopback(ip) && mesh.workloadByAddress(routing.network, ip) === undefined;
}

/** The rules in a pod's namespace let what stays in it alone, going out and coming in (spec/ztunnel.md §2.6). */
function courseToItself(workload: Workload, { ip }: SocketAddress): Course {
  const what = isLoopback(ip) ? "loopback" : `an address of ${workload.namespace}/${workload.name} itself`;
  const free = "a connection of a pod to itself is not captured, so no policy of the mesh is asked";
  const reasons = [`${ip} is ${what}, so the connection does not leave the pod and is not captured`];
  return { hops: [{ outbound: { action: "uncaptured", throughWaypoint: false, reasons } }], free };
}

function resolve(
  { mesh, routing, choice }: ExplainContext,
  source: Workload,
  ip: string,
  destination: SocketAddress,
): OutboundDecision {
  const flow = { info: infoOf(source), source, downstream: { ip, port: 0 }, destination };
  return resolveOutbound(mesh, flow, routing, choice(source, destination));
}

/** Whether the decision leads to a waypoint in front of what was asked for. */
function throughWaypoint({ reasons }: OutboundDecision): boolean {
  return reasons.some(({ code }) => code === "waypoint");
}

function hopOf(
  context: ExplainContext,
  decision: OutboundDecision,
  source: Workload,
  ip: string,
  destination: SocketAddress,
): ExplainedHop {
  const outbound = withFailures(context, outboundOf(decision), dialled(decision), source, destination);
  if (outbound.action !== "hbone" && outbound.action !== "double-hbone") return { outbound };
  const identity = workloadIdentity(source);
  const certificate = certificateOf(context, identity);
  // Without a certificate nothing arrives. Beyond a gateway another cluster's ztunnel decides, and at a waypoint its
  // layer 7 configuration; who has only a name has no address yet to be judged by.
  const arrives = certificate.state !== "unavailable" && outbound.error === undefined;
  if (!arrives || decision.action !== "hbone" || decision.inner !== undefined || outbound.throughWaypoint) {
    return { outbound, certificate };
  }
  return { outbound, certificate, inbound: hboneArrival(context, decision, identity, ip) };
}

function outboundOf(decision: OutboundDecision): ExplainedOutbound {
  const common = { throughWaypoint: throughWaypoint(decision), reasons: decision.reasons.map(renderReason) };
  switch (decision.action) {
    case "refuse":
      return { action: "refuse", error: decision.error, ...causeOf(decision), ...common };
    case "lookup":
      return {
        ...common,
        ...beyondLookup(decision),
        dial: decision.hostname,
        ...described(decision.workload),
      };
    case "passthrough":
      return { action: "passthrough", dial: formatAddress(decision.dial), ...common };
    case "tcp":
      return { action: "tcp", dial: formatAddress(decision.dial), ...named(decision), ...common };
    case "hbone":
      return {
        ...tunnelOf(decision),
        dial: formatAddress(decision.dial),
        authority: decision.authority,
        ...named(decision),
        ...common,
      };
  }
}

/** `no healthy upstream` and the like do not tell that it is the port that is wrong. */
function causeOf({ reasons }: OutboundDecision): { readonly cause?: string } {
  const lacking = reasons.find(({ code }) => code === "no-port");
  return lacking === undefined ? {} : { cause: renderReason(lacking) };
}

/** How it goes on at whatever address the name resolves to. */
function beyondLookup(decision: OutboundDecision & { action: "lookup" }) {
  const then = decision.proceed(decision.prefer === "IPv4" ? "0.0.0.0" : "::");
  switch (then.action) {
    case "hbone":
      return tunnelOf(then);
    case "refuse":
      return { action: "refuse" as const, error: then.error };
    default:
      return { action: "tcp" as const };
  }
}

/** Whom a tunnel has to reach, and why that may be impossible: an identity that is none is proved by nobody. */
function tunnelOf({ inner, expectedIdentities }: HboneRoute) {
  const error = unprovable(expectedIdentities) ?? (inner && unprovable(inner.expectedIdentities));
  return {
    action: inner === undefined ? "hbone" as const : "double-hbone" as const,
    expectedIdentities,
    ...(inner === undefined ? {} : { inner }),
    ...(error === undefined ? {} : { error: `identity verification error: ${error}` }),
  };
}

function unprovable(identities: readonly string[]): string | undefined {
  if (identities.some((identity) => parseIdentity(identity) !== undefined)) return undefined;
  if (identities.length === 0) return "no identity is known that the peer could prove";
  return `nobody can prove to be ${identities.join(" or ")}, which is no SPIFFE id`;
}

function named({ service, workload }: OutboundDecision & { action: "tcp" | "hbone" }) {
  return { ...(service === undefined ? {} : { service: serviceKey(service) }), ...described(workload) };
}

/** Whose failures count: who is at the address that a decision dials. */
function dialled(decision: OutboundDecision): Workload | undefined {
  if (decision.action === "hbone") return decision.hop;
  return decision.action === "tcp" || decision.action === "lookup" ? decision.workload : undefined;
}

/** What the client's connects have learnt, with the one first that would be dialled now. */
function withFailures(
  { mesh, failures }: ExplainContext,
  outbound: ExplainedOutbound,
  hop: Workload | undefined,
  source: Workload,
  destination: SocketAddress,
): ExplainedOutbound {
  const known: ExplainedFailure[] = [];
  for (const { uid, error, age } of failures(source, destination)) {
    const workload = mesh.workloadByUid(uid);
    if (workload === undefined) continue;
    const failure: ExplainedFailure = {
      workload: `${workload.namespace}/${workload.name}`,
      error,
      secondsAgo: Math.round(age / 1000),
      dialled: uid === hop?.uid,
    };
    if (failure.dialled) known.unshift(failure);
    else known.push(failure);
  }
  if (known.length === 0) return outbound;
  const failedLately = known.slice(0, MAX_FAILURES);
  const reasons = [...outbound.reasons, ...failedLately.map(failureClause)];
  return { ...outbound, reasons, failedLately };
}

function certificateOf({ certificate }: ExplainContext, identity: string): ExplainedCertificate {
  const entry = certificate(identity);
  if (entry === undefined) {
    // What no CA may issue need not be asked for first.
    if (parseIdentity(identity) !== undefined) return { identity, state: "elsewhere" };
    return { identity, state: "unavailable", error: `invalid spiffe identity: ${identity}` };
  }
  return {
    identity,
    state: entry.state,
    ...(entry.certificate === undefined ? {} : { expires: new Date(entry.certificate.notAfter).toISOString() }),
    ...(entry.error === undefined ? {} : { error: entry.error }),
  };
}

/** The tunnel and the CONNECT request as the ztunnel of the destination would decide about them. */
function hboneArrival(context: ExplainContext, route: HboneRoute, identity: string, ip: string): ExplainedInbound {
  const { mesh, routing } = context;
  const { workload } = route;
  if (parseIdentity(identity)?.trustDomain !== workload.trustDomain) {
    return {
      workload: described(workload).workload as ExplainedWorkload,
      peerIdentity: identity,
      error: `identity verification error: clients must be of trust domain ${workload.trustDomain}`,
      reasons: [],
      policies: [],
      morePolicies: 0,
    };
  }
  const decision = resolveInbound(mesh, {
    info: infoOf(workload),
    local: workload,
    authority: route.authority,
    destination: route.dial,
    peer: { ip, port: 0 },
    forwardedHost: route.service?.hostname,
    forwardedNetwork: undefined,
    selfListener: false,
  }, routing);
  return arrival(mesh, workload, decision, identity, ip);
}
