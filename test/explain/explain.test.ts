/** What is said of connections that nobody forbids and that fail nevertheless, or that are not the mesh's at all. */
import { expect, test } from "bun:test";
import { clusterSearchDomains } from "../../src/dns/mod.ts";
import {
  explain,
  type ExplainContext,
  type Explanation,
  explanationText,
  type RecentFailure,
} from "../../src/explain/mod.ts";
import { type MeshState, newService } from "../../src/mesh/mod.ts";
import { formatAddress } from "../../src/net/address.ts";
import { mesh, pod, service, SETTINGS } from "../mesh/fixtures.ts";

const REFUSED = "io error: Connection refused (os error 111)";

function ask(
  state: MeshState,
  source: string,
  destination: string,
  failures: readonly RecentFailure[] = [],
  given: Partial<ExplainContext> = {},
): Explanation {
  const answer = explain(
    {
      mesh: state,
      routing: SETTINGS,
      names: {
        clusterDomain: "cluster.local",
        searchDomains: clusterSearchDomains("cluster.local"),
        preferredNamespace: undefined,
        ipv6: true,
      },
      certificate: () => undefined,
      choice: () => ({ random: () => 0 }),
      failures: () => failures,
      ...given,
    },
    source,
    destination,
  );
  if (!answer.ok) throw new Error(answer.error);
  return answer.value;
}

const web = pod("web", ["10.0.0.1", "fd00::1"]);
const cart = pod("cart", "10.0.0.2");
const plain = pod("plain", "10.0.0.3", { protocol: "TCP" });
const odd = pod("odd", "10.0.0.4", { trustDomain: "" });
const foreign = pod("foreign", "10.0.0.5", { trustDomain: "other.local" });
const named = pod("named", [], { hostname: "vm.example", trustDomain: "" });
const waypoint = pod("waypoint-1", "10.0.0.9");
const dead = [1, 2].map((i) => pod(`dead-${i}`, `10.0.1.${i}`));
const far = pod("far", [], {
  network: "east",
  networkGateway: { destination: { kind: "address", network: "", ip: "10.0.0.8" }, hboneMtlsPort: 15008 },
});
const gateway = pod("gateway", "10.0.0.8");

const shopCart = service("cart", "10.96.0.1");
const guarded = service("guarded", "10.96.0.2", {
  waypoint: {
    destination: { kind: "hostname", namespace: "shop", hostname: "waypoint.shop.svc.cluster.local" },
    hboneMtlsPort: 15008,
  },
});
const waypoints = service("waypoint", "10.96.0.9", { ports: [15008, 15008] });
const odds = service("odds", "10.96.0.3");
const dying = service("dying", "10.96.0.4");
const remote = service("remote", "10.96.0.5");
const vm = service("vm", "10.96.0.6");
const state = mesh({
  workloads: [web, cart, plain, odd, foreign, named, waypoint, ...dead, far, gateway],
  services: [shopCart, guarded, waypoints, odds, dying, remote, vm],
  members: [
    { of: shopCart, workload: cart },
    { of: guarded, workload: cart },
    { of: waypoints, workload: waypoint },
    { of: odds, workload: odd },
    ...dead.map((workload) => ({ of: dying, workload })),
    { of: remote, workload: far },
    { of: vm, workload: named },
  ],
});

test("an ordinary connection is allowed, and there is nothing more to say", () => {
  expect(ask(state, "web", "cart").verdict).toEqual({ outcome: "allowed", summary: "allowed" });
});

test.each([
  [
    "odd",
    "10.96.0.1:80",
    "refused at the client: identity error: invalid spiffe identity: spiffe:///ns/shop/sa/odd",
  ],
  [
    "web",
    "odds",
    "refused at the client: identity verification error: nobody can prove to be spiffe:///ns/shop/sa/odd, " +
    "which is no SPIFFE id",
  ],
  [
    "web",
    "10.96.0.6:80",
    "refused at the client: identity verification error: nobody can prove to be spiffe:///ns/shop/sa/named, " +
    "which is no SPIFFE id",
  ],
  [
    "web",
    "remote",
    "refused at the client: identity verification error: no identity is known that the peer could prove",
  ],
  [
    "foreign",
    "10.0.0.2:8080",
    "refused at the destination: identity verification error: clients must be of trust domain cluster.local",
  ],
])("a tunnel that cannot come about is refused before anybody tried: %s to %s", (source, destination, summary) => {
  const { verdict, hops } = ask(state, source, destination);
  expect(verdict).toEqual({ outcome: "refused", summary });
  expect(hops).toHaveLength(1);
  expect(hops[0]!.inbound?.deliver).toBeUndefined();
});

test("an entry of the certificate cache says more than the identity", () => {
  const certificate = (identity: string) => ({ identity, state: "unavailable" as const, error: "the CA is gone" });
  expect(ask(state, "web", "10.96.0.1:80", [], { certificate }).verdict.summary)
    .toBe("refused at the client: identity error: the CA is gone");
});

test("a service's alternative names can be proved where its workload's own cannot", () => {
  const vouched = newService({ ...odds, subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/vm"] });
  const others = mesh({ workloads: [web, odd], services: [vouched], members: [{ of: vouched, workload: odd }] });
  expect(ask(others, "web", "odds").hops[0]!.outbound.error).toBeUndefined();
});

test("whoever would be dialled and failed lately is in the reasons, in the verdict and in the first line", () => {
  const asked: string[] = [];
  const answer = ask(state, "web", "dying", [], {
    failures: (source, destination) => {
      asked.push(`${source.name} ${formatAddress(destination)}`);
      return [
        { uid: dead[1]!.uid, error: REFUSED, age: 3_400 },
        { uid: "Kubernetes//Pod/shop/gone", error: REFUSED, age: 4_000 },
        { uid: dead[0]!.uid, error: "io error: Connection timed out (os error 110)", age: 12_000 },
      ];
    },
  });
  expect(asked).toEqual(["web 10.96.0.4:80"]);
  const clauses = [
    "connects to shop/dead-1 failed lately (12 s ago): io error: Connection timed out (os error 110)",
    `connects to shop/dead-2 failed lately (3 s ago): ${REFUSED}`,
  ];
  expect(answer.verdict).toEqual({
    outcome: "allowed",
    summary: `nothing forbids it, but ${clauses[0]}`,
    doubt: clauses[0]!,
  });
  expect(answer.hops[0]!.outbound.reasons).toEqual(expect.arrayContaining(clauses));
  expect(answer.hops[0]!.outbound.failedLately).toEqual([
    {
      workload: "shop/dead-1",
      error: "io error: Connection timed out (os error 110)",
      secondsAgo: 12,
      dialled: true,
    },
    { workload: "shop/dead-2", error: REFUSED, secondsAgo: 3, dialled: false },
  ]);
  const text = explanationText(answer);
  expect(text).toStartWith("web -> dying: ALLOWED, BUT DOUBTFUL\n  nothing forbids it, but connects to shop/dead-1 ");
  expect(text).toContain(`  because      ${clauses[1]}\n`);
});

test("who failed and is passed over casts no doubt", () => {
  const avoid = ({ uid }: { uid: string }) => uid === dead[0]!.uid;
  const answer = ask(state, "web", "dying", [{ uid: dead[0]!.uid, error: REFUSED, age: 400 }], {
    choice: () => ({ random: () => 0, avoid }),
  });
  expect(answer.verdict).toEqual({ outcome: "allowed", summary: "allowed" });
  expect(answer.hops[0]!.outbound.workload?.name).toBe("dead-2");
  expect(answer.hops[0]!.outbound.failedLately).toEqual([
    { workload: "shop/dead-1", error: REFUSED, secondsAgo: 0, dialled: false },
  ]);
});

test.each(
  [
    [
      "guarded",
      waypoint,
      "unknown",
      "the waypoint shop/waypoint-1 decides at layer 7; at layer 4 nothing is in the way",
    ],
    ["10.0.0.3:80", plain, "allowed", "the destination is not captured, so no policy of the mesh is asked"],
  ] as const,
)("a connect that failed to %s is told beside who decides", (destination, workload, outcome, summary) => {
  const { verdict } = ask(state, "web", destination, [{ uid: workload.uid, error: REFUSED, age: 1_000 }]);
  const doubt = `connects to shop/${workload.name} failed lately (1 s ago): ${REFUSED}`;
  expect(verdict).toEqual({ outcome, summary: `${summary}, but ${doubt}`, doubt });
});

test("a port that a service does not have is named with those that it has, and so is who refuses", () => {
  const direct = ask(state, "web", "cart:81");
  expect(direct.verdict).toEqual({
    outcome: "refused",
    summary: "refused at the client: no healthy upstream: 10.96.0.1:81 " +
      "(service shop/cart.shop.svc.cluster.local has no port 81, only 80)",
  });
  expect(direct.hops[0]!.outbound.error).toBe("no healthy upstream: 10.96.0.1:81");
  const behind = ask(state, "web", "guarded:81");
  expect(behind.hops).toHaveLength(2);
  expect(behind.verdict).toEqual({
    outcome: "refused",
    summary: "refused at the waypoint shop/waypoint-1: no healthy upstream: 10.96.0.2:81 " +
      "(service shop/guarded.shop.svc.cluster.local has no port 81, only 80)",
  });
});

test("plain TCP to a service that leads nowhere is not called allowed", () => {
  expect(ask(state, "192.0.2.1", "cart.shop:81").verdict).toEqual({
    outcome: "unknown",
    summary: "the mesh knows nobody who takes it: service shop/cart.shop.svc.cluster.local has no port 81, only 80",
  });
  expect(ask(state, "192.0.2.1", "198.51.100.1:80").verdict.outcome).toBe("allowed");
});

test.each(["10.0.0.1:8080", "[fd00::1]:8080", "127.0.0.1:15001", "[::1]:80", "web:8080"])(
  "a pod that calls itself (%s) is not captured",
  (destination) => {
    const { verdict, hops } = ask(state, "web", destination);
    expect(verdict).toEqual({
      outcome: "allowed",
      summary: "a connection of a pod to itself is not captured, so no policy of the mesh is asked",
    });
    expect(hops).toHaveLength(1);
    expect(hops[0]).toMatchObject({ outbound: { action: "uncaptured" } });
    expect(hops[0]!.outbound.reasons[0]).toContain("is not captured");
  },
);

test("loopback may belong to another workload where all of the mesh runs on one machine", () => {
  const [one, other] = [pod("one", "127.0.0.1"), pod("other", "127.0.0.2")];
  const machine = mesh({ workloads: [one, other] });
  expect(ask(machine, "one", "127.0.0.2:80").hops[0]!.outbound.dial).toBe("127.0.0.2:15008");
  for (const ip of ["127.0.0.1", "127.0.0.3"]) {
    expect(ask(machine, "one", `${ip}:80`).hops[0]!.outbound.action).toBe("uncaptured");
  }
});

test("what else the destination could have meant is in the answer", () => {
  const answer = ask(state, "web", "cart");
  expect(answer.destination.notes).toHaveLength(1);
  expect(explanationText(answer)).toContain(`\nnote         ${answer.destination.notes![0]}\n`);
  expect(ask(state, "web", "odds").destination.notes).toBeUndefined();
});
