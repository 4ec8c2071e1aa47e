/** An explanation is what real connections are decided by: the same functions, asked with the same things. */
import { expect, test } from "bun:test";
import { clusterSearchDomains } from "../../src/dns/mod.ts";
import { explain, type Explanation } from "../../src/explain/mod.ts";
import { parseIdentity } from "../../src/identity/mod.ts";
import {
  type HboneRoute,
  type MeshState,
  type OutboundDecision,
  resolveInbound,
  resolveOutbound,
  resolvePlaintext,
  type Workload,
  workloadIdentity,
} from "../../src/mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../../src/net/address.ts";
import { authorize } from "../../src/policy/mod.ts";
import { infoOf, SETTINGS } from "../mesh/fixtures.ts";
import { generator, type Pick } from "../policy/random.ts";
import { anyMesh, PORTS } from "./random_mesh.ts";

const MESHES = 4_000;
const FLOWS = 6;

/** What the two proxies would do with a connection of a captured pod, step by step as they do it. */
function real(mesh: MeshState, source: Workload, ip: string, destination: SocketAddress, random: () => number) {
  const flow = { info: infoOf(source), source, downstream: { ip, port: 40_000 }, destination };
  const outbound = resolveOutbound(mesh, flow, SETTINGS, { random });
  const tunnel = outbound.action === "hbone" ? tunnelProblem(outbound) : undefined;
  if (
    outbound.action !== "hbone" || outbound.inner !== undefined || behindWaypoint(outbound) ||
    tunnel?.side === "client"
  ) return { outbound, tunnel, inbound: undefined, verdict: undefined };
  const inbound = resolveInbound(mesh, {
    info: infoOf(outbound.workload),
    local: outbound.workload,
    authority: outbound.authority,
    destination: outbound.dial,
    peer: { ip, port: 40_001 },
    forwardedHost: outbound.service?.hostname,
    forwardedNetwork: undefined,
    selfListener: false,
  }, SETTINGS);
  if (tunnel !== undefined || !inbound.ok) return { outbound, tunnel, inbound, verdict: undefined };
  const verdict = authorize(mesh.policiesFor(outbound.workload), {
    sourceIp: ip,
    destinationIp: inbound.policyDestination.ip,
    destinationPort: inbound.policyDestination.port,
    identity: parseIdentity(workloadIdentity(source)),
  });
  return { outbound, tunnel, inbound, verdict };
}

/**
 * Why there cannot be a tunnel, as its ends judge: the CA issues only for a SPIFFE id, the client accepts one of those
 * that it expects, and the server one of its own trust domain.
 */
function tunnelProblem(route: HboneRoute): { side: "client" | "server" } | undefined {
  const own = parseIdentity(workloadIdentity(route.source));
  const provable = (identities: readonly string[]) => identities.some((id) => parseIdentity(id) !== undefined);
  if (own === undefined || !provable(route.expectedIdentities)) return { side: "client" };
  if (route.inner !== undefined) return provable(route.inner.expectedIdentities) ? undefined : { side: "client" };
  if (behindWaypoint(route)) return undefined;
  return own.trustDomain === route.workload.trustDomain ? undefined : { side: "server" };
}

function behindWaypoint({ reasons }: OutboundDecision): boolean {
  return reasons.some(({ code }) => code === "waypoint");
}

/** Yields the same numbers to whoever starts over. */
function repeatable(seed: number): () => number {
  const pick = generator(seed);
  return () => pick(1 << 20) / (1 << 20);
}

function ask(mesh: MeshState, source: string, destination: string, seed: number): Explanation {
  const answer = explain(
    {
      mesh,
      routing: SETTINGS,
      names: {
        clusterDomain: "cluster.local",
        searchDomains: clusterSearchDomains("cluster.local"),
        preferredNamespace: undefined,
        ipv6: true,
      },
      certificate: () => undefined,
      choice: () => ({ random: repeatable(seed) }),
      failures: () => [],
    },
    source,
    destination,
  );
  if (!answer.ok) throw new Error(answer.error);
  return answer.value;
}

function anyAddress(pick: Pick): SocketAddress {
  const ip = pick(2) === 0 ? `10.1.0.${pick(5)}` : pick(4) === 0 ? `fd00::${1 + pick(8)}` : `10.0.0.${pick(9)}`;
  return { ip, port: PORTS[pick(PORTS.length)]! };
}

test("explanations agree with what the proxies decide, on random meshes", () => {
  const seen = new Map<string, number>();
  for (let seed = 0; seed < MESHES; seed++) {
    const pick = generator(seed);
    const mesh = anyMesh(pick);
    const sources = [...mesh.workloads()].filter((workload) => workload.addresses.length > 0);
    for (let i = 0; i < FLOWS && sources.length > 0; i++) {
      const source = sources[pick(sources.length)]!;
      const ip = source.addresses[0]!;
      const destination = anyAddress(pick);
      const explanation = ask(mesh, source.uid, formatAddress(destination), seed);
      const hop = explanation.hops[0]!;
      const outcome = explanation.verdict.outcome;
      if (source.protocol === "TCP") {
        expect(hop.outbound.action).toBe("uncaptured");
        if (hop.inbound?.deliver !== undefined) checkPlaintext(mesh, ip, hop.inbound, outcome);
        seen.set(`plain ${outcome}`, (seen.get(`plain ${outcome}`) ?? 0) + 1);
        continue;
      }
      if (source.addresses.includes(destination.ip)) {
        expect([hop.outbound.action, outcome, hop.inbound]).toEqual(["uncaptured", "allowed", undefined]);
        seen.set("itself", (seen.get("itself") ?? 0) + 1);
        continue;
      }
      const { outbound, tunnel, inbound, verdict } = real(mesh, source, ip, destination, repeatable(seed));
      if (outbound.action === "refuse") {
        expect(hop.outbound).toMatchObject({ action: "refuse", error: outbound.error });
        expect(outcome).toBe("refused");
      } else if (outbound.action === "hbone") {
        expect(hop.outbound).toMatchObject({
          action: outbound.inner === undefined ? "hbone" : "double-hbone",
          dial: formatAddress(outbound.dial),
          authority: outbound.authority,
          expectedIdentities: [...outbound.expectedIdentities],
          throughWaypoint: behindWaypoint(outbound),
        });
      } else if (outbound.action === "lookup") {
        const resolved = outbound.proceed(outbound.prefer === "IPv4" ? "203.0.113.9" : "fd99::9");
        const tunnelled = resolved.action === "hbone";
        const action = tunnelled && resolved.inner !== undefined ? "double-hbone" : resolved.action;
        expect(hop.outbound).toMatchObject({
          action,
          dial: outbound.hostname,
          throughWaypoint: behindWaypoint(outbound),
        });
        // Who is there is not known before the name is resolved; what is certain to fail is.
        const impossible = hop.outbound.error !== undefined || hop.certificate?.error !== undefined;
        expect(outcome).toBe(impossible ? "refused" : "unknown");
      } else {
        expect(hop.outbound).toMatchObject({ action: outbound.action, dial: formatAddress(outbound.dial) });
        expect(outcome).toBe("allowed");
      }
      expect(hop.inbound === undefined).toBe(inbound === undefined);
      if (tunnel !== undefined) {
        expect(outcome).toBe("refused");
        expect(explanation.verdict.summary).toContain(
          tunnel.side === "client" ? "at the client" : "at the destination",
        );
        expect(hop.inbound?.deliver).toBeUndefined();
        seen.set(`no tunnel, ${tunnel.side}`, (seen.get(`no tunnel, ${tunnel.side}`) ?? 0) + 1);
      } else if (inbound?.ok === false) {
        expect(hop.inbound).toMatchObject({ status: inbound.status, error: inbound.error });
        expect(outcome).toBe("refused");
      } else if (verdict !== undefined) {
        expect(outcome).toBe(verdict.allowed ? "allowed" : "denied");
        checkPolicies(hop.inbound!.policies, verdict.allowed);
      }
      seen.set(`${outbound.action} ${outcome}`, (seen.get(`${outbound.action} ${outcome}`) ?? 0) + 1);
    }
  }
  // The meshes are such that everything happens.
  for (
    const kind of [
      ...["hbone allowed", "hbone denied", "hbone unknown", "refuse refused", "passthrough allowed", "tcp allowed"],
      ...["plain denied", "plain allowed", "itself", "no tunnel, client", "no tunnel, server"],
    ]
  ) expect([kind, (seen.get(kind) ?? 0) > 20]).toEqual([kind, true]);
  for (const kind of ["lookup unknown", "lookup refused"]) expect([kind, seen.has(kind)]).toEqual([kind, true]);
});

type Inbound = NonNullable<Explanation["hops"][number]["inbound"]>;

function checkPlaintext(mesh: MeshState, ip: string, inbound: Inbound, outcome: string): void {
  const local = mesh.workloadByUid(inbound.workload.uid)!;
  const [, host, port] = /^\[?(.*?)\]?:([0-9]+)$/.exec(inbound.deliver!)!;
  const destination = { ip: host!, port: Number(port) };
  const peer = { ip, port: 40_000 };
  expect(resolvePlaintext(mesh, { info: infoOf(local), local, peer, destination }, SETTINGS).ok).toBe(true);
  const { allowed } = authorize(mesh.policiesFor(local), {
    sourceIp: ip,
    destinationIp: destination.ip,
    destinationPort: destination.port,
    identity: undefined,
  });
  expect(outcome).toBe(allowed ? "allowed" : "denied");
  checkPolicies(inbound.policies, allowed);
}

/** What is said of the policies one by one leads to the verdict by the rule of spec/ztunnel.md §8.3. */
function checkPolicies(policies: Inbound["policies"], allowed: boolean): void {
  const enforced = policies.filter((policy) => policy.known).filter(({ dryRun }) => !dryRun);
  const denied = enforced.some(({ action, matched }) => action === "Deny" && matched);
  const allows = enforced.filter(({ action }) => action === "Allow");
  expect(!denied && (allows.length === 0 || allows.some(({ matched }) => matched))).toBe(allowed);
}
