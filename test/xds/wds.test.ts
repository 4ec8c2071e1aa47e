/** What the captured mesh answers, argued from the objects that it was made from. */
import { describe, expect, test } from "bun:test";
import { parseIdentity } from "../../src/identity/spiffe.ts";
import {
  formatGateway,
  type GatewayAddress,
  type PortMap,
  resolveOutbound,
  type Service,
  serviceKey,
  type Workload,
  workloadIdentity,
} from "../../src/mesh/mod.ts";
import { rankEndpoint } from "../../src/mesh/load_balancing.ts";
import { authorize } from "../../src/policy/mod.ts";
import { Random } from "../http2/random.ts";
import { SETTINGS } from "../mesh/fixtures.ts";
import { loadMesh } from "./captures.ts";
import { isReady, type KubernetesObject, objectOf, objectsOf, podsOf, portsFor, uidOf } from "./objects.ts";

const mesh = loadMesh();

function workload(name: string): Workload {
  for (const found of mesh.workloads()) if (found.name === name) return found;
  throw new Error(`no workload ${name}`);
}

function service(namespace: string, hostname: string): Service {
  const found = mesh.service(namespace, hostname);
  if (found === undefined) throw new Error(`no service ${namespace}/${hostname}`);
  return found;
}

/** The record of a Kubernetes Service. */
function recordOf({ metadata: { namespace, name } }: KubernetesObject<"Service">): Service {
  return service(namespace, `${name}.${namespace}.svc.cluster.local`);
}

const named = (name: string) => recordOf(objectOf("Service", name));

function pairs(ports: PortMap): [number, number][] {
  const all: [number, number][] = [];
  for (let i = 0; i < ports.length; i += 2) all.push([ports[i]!, ports[i + 1]!]);
  return all.sort(([a], [b]) => a - b);
}

const waypointOf = (address: GatewayAddress | undefined) =>
  address && `${formatGateway(address.destination)}:${address.hboneMtlsPort}`;
const waypointCalled = (namespace: string, name: string) => `${namespace}/${name}.${namespace}.svc.cluster.local:15008`;

const clusterServices = objectsOf("Service").filter(({ spec }) => spec.type !== "ExternalName");

describe("services", () => {
  test("each Service and ServiceEntry is there under its hostname, an ExternalName is not", () => {
    const expected = [
      ...clusterServices.map(({ metadata: { namespace, name } }) =>
        `${namespace}/${name}.${namespace}.svc.cluster.local`
      ),
      ...objectsOf("ServiceEntry").flatMap(({ metadata, spec }) =>
        spec.hosts.map((host) => `${metadata.namespace}/${host}`)
      ),
    ];
    expect([...mesh.services()].map(serviceKey).sort()).toEqual(expected.sort());
    expect(mesh.serviceByHostname("ext-name.bank.svc.cluster.local")).toBeUndefined();
  });

  for (const object of clusterServices) {
    const { name, namespace } = object.metadata;
    const { clusterIP, ports, selector } = object.spec;

    test(`${namespace}/${name}: its cluster IP leads to it`, () => {
      const record = recordOf(object);
      expect(record.name).toBe(name);
      expect(record.vips).toEqual(clusterIP === "None" ? [] : [{ network: "", ip: clusterIP }]);
      expect(record.cidrVips).toEqual([]);
      if (clusterIP !== "None") expect(mesh.serviceByVip("", clusterIP, "anywhere")).toBe(record);
      // All cluster IPs of the mesh are IPv4: single stack.
      expect(record.ipFamilies).toBe("IPv4");
      expect(record.visibility).toBe("Public");
    });

    test(`${namespace}/${name}: its ports and their targets`, () => {
      // A target that is the name of a container's port is each pod's own affair.
      const expected = ports.map((
        { port, targetPort = port },
      ) => [port, typeof targetPort === "number" ? targetPort : 0]);
      expect(pairs(recordOf(object).ports)).toEqual(expected.sort(([a], [b]) => a! - b!) as [number, number][]);
    });

    test(`${namespace}/${name}: the ready pods that its selector selects are behind it, with their ports`, () => {
      const endpoints = recordOf(object).endpoints;
      const pods = podsOf(namespace, selector);
      expect([...endpoints.keys()].sort()).toEqual(pods.filter(isReady).map(uidOf).sort());
      for (const pod of pods) {
        const endpoint = endpoints.get(uidOf(pod));
        if (endpoint === undefined) continue;
        const expected = portsFor(object, pod).sort(([a], [b]) => a - b);
        expect(pairs(endpoint.ports)).toEqual(expected as [number, number][]);
      }
    });
  }

  test("a pod that is not ready is known, and behind no service", () => {
    const notReady = workload("web-notready");
    expect(notReady.status).toBe("Unhealthy");
    expect(mesh.workloadByAddress("", "10.244.1.12")).toBe(notReady);
    expect(notReady.services).toContain("shop/web.shop.svc.cluster.local");
    expect(mesh.servicesOf(notReady)).toEqual([]);
  });

  test("a headless Service has no address; its name leads to its pods", () => {
    const headless = mesh.serviceByHostname("headless.shop.svc.cluster.local", "shop");
    expect(headless?.vips).toEqual([]);
    const addresses = [...headless?.endpoints.keys() ?? []].map((uid) => mesh.workloadByUid(uid)?.addresses);
    expect(addresses.flat().sort()).toEqual(["10.244.0.17", "10.244.1.17"]);
  });
});

describe("service entries", () => {
  test("the address that is written is the one; without any there is one of each family from istiod's ranges", () => {
    expect(service("egress", "static.example.org").vips).toEqual([{ network: "", ip: "240.1.1.1" }]);
    const seen = new Set<string>();
    for (const { metadata, spec } of objectsOf("ServiceEntry")) {
      if (spec.addresses !== undefined) continue;
      const record = service(metadata.namespace, spec.hosts[0]!);
      expect(record.vips.map(({ ip }) => ip)).toEqual([
        expect.stringMatching(/^240\.240\.0\.\d+$/),
        expect.stringMatching(/^2001:2::[0-9a-f]+$/),
      ]);
      expect(record.ipFamilies).toBeUndefined();
      for (const { ip } of record.vips) {
        seen.add(ip);
        expect(mesh.serviceByVip("", ip, "shop")).toBe(record);
      }
    }
    expect(seen.size).toBe(2 * (objectsOf("ServiceEntry").length - 1));
  });

  test("ports and their targets", () => {
    for (const { metadata, spec } of objectsOf("ServiceEntry")) {
      const expected = spec.ports.map(({ number, targetPort = number }) => [number, targetPort] as [number, number]);
      expect(pairs(service(metadata.namespace, spec.hosts[0]!).ports)).toEqual(expected);
    }
  });

  test("endpoints of a STATIC one: weight, locality and the ports that are their own", () => {
    const record = service("egress", "static.example.org");
    const [first, second] = ["203.0.113.10", "203.0.113.11"].map((ip) => mesh.workloadByAddress("", ip));
    expect([...record.endpoints.keys()].sort()).toEqual([first!.uid, second!.uid].sort());
    expect(first).toMatchObject({ capacity: 3, locality: { region: "region1", zone: "zone1" }, protocol: "TCP" });
    expect(second).toMatchObject({ capacity: 1, locality: { region: "region1", zone: "zone2" } });
    expect(pairs(record.endpoints.get(first!.uid)!.ports)).toEqual([[8080, 18080], [9999, 9999]]);
    expect(pairs(record.endpoints.get(second!.uid)!.ports)).toEqual([[8080, 8080], [9999, 9999]]);
  });

  test("endpoints of a DNS one have a name and no address", () => {
    for (const host of ["httpbin.example.org", "nowp.example.org"]) {
      const [uid, ...more] = service("egress", host).endpoints.keys();
      expect(more).toEqual([]);
      expect(mesh.workloadByUid(uid!)).toMatchObject({ hostname: host, addresses: [] });
    }
  });

  test("a virtual machine is behind the entry that selects it, with the account it is written with", () => {
    const machine = mesh.workloadByAddress("", "10.50.0.1")!;
    expect([...service("bank", "vms.bank.internal").endpoints.keys()]).toEqual([machine.uid]);
    expect(workloadIdentity(machine)).toBe("spiffe://cluster.local/ns/bank/sa/vm");
    expect(machine).toMatchObject({ protocol: "HBONE", node: "", canonicalRevision: "v1" });
  });
});

describe("workloads", () => {
  for (const pod of objectsOf("Pod")) {
    test(`${pod.metadata.namespace}/${pod.metadata.name}`, () => {
      const { name, namespace, annotations } = pod.metadata;
      const record = mesh.workloadByUid(uidOf(pod))!;
      const node = objectOf("Node", pod.spec.nodeName).metadata.labels!;
      // Pods that the CNI has captured are reached through a tunnel; waypoints' own and those outside are not.
      const captured = annotations?.["ambient.istio.io/redirection"] === "enabled";
      expect(record).toMatchObject({
        name,
        namespace,
        addresses: [pod.status.podIP],
        node: pod.spec.nodeName,
        serviceAccount: pod.spec.serviceAccountName,
        trustDomain: "cluster.local",
        clusterId: "Kubernetes",
        network: "",
        workloadType: "pod",
        protocol: captured ? "HBONE" : "TCP",
        networkMode: pod.spec.hostNetwork ? "HostNetwork" : "Standard",
        status: isReady(pod) ? "Healthy" : "Unhealthy",
        locality: {
          region: node["topology.kubernetes.io/region"]!,
          zone: node["topology.kubernetes.io/zone"]!,
          subzone: "",
        },
        capacity: 1,
        canonicalName: pod.metadata.labels!["service.istio.io/canonical-name"] ?? pod.metadata.labels!["app"]!,
        canonicalRevision: pod.metadata.labels!["version"] ?? "latest",
      });
      // The node's address is not the pod's alone.
      const byAddress = mesh.workloadByAddress("", pod.status.podIP);
      expect(byAddress).toBe(pod.spec.hostNetwork ? undefined : record);
      const info = { name, namespace, serviceAccount: pod.spec.serviceAccountName };
      expect(mesh.localWorkload(info)).toBe(pod.spec.nodeName === "node-a" ? record : undefined);
    });
  }
});

describe("waypoints", () => {
  test("of a Service: the one that its label names, in the namespace that its other label names", () => {
    for (const object of clusterServices) {
      const { namespace, labels } = object.metadata;
      const name = labels?.["istio.io/use-waypoint"];
      const expected = name && waypointCalled(labels?.["istio.io/use-waypoint-namespace"] ?? namespace, name);
      expect(waypointOf(recordOf(object).waypoint)).toBe(expected);
    }
    // Across namespaces:
    expect(waypointOf(named("teller").waypoint)).toBe("shop/waypoint.shop.svc.cluster.local:15008");
  });

  test("of a ServiceEntry: the namespace's, unless its own label says none", () => {
    const ofNamespace = objectOf("Namespace", "egress").metadata.labels!["istio.io/use-waypoint"]!;
    for (const { metadata, spec } of objectsOf("ServiceEntry")) {
      const own = metadata.labels?.["istio.io/use-waypoint"];
      const expected = metadata.namespace === "egress" && own !== "none"
        ? waypointCalled("egress", ofNamespace)
        : undefined;
      expect(waypointOf(service(metadata.namespace, spec.hosts[0]!).waypoint)).toBe(expected);
    }
  });

  test("of a workload: the one that the pod's label names", () => {
    const labelled = new Map(
      objectsOf("Pod").flatMap((pod) => {
        const name = pod.metadata.labels?.["istio.io/use-waypoint"];
        return name === undefined ? [] : [[uidOf(pod), waypointCalled(pod.metadata.namespace, name)]];
      }),
    );
    expect([...labelled.keys()]).toEqual(["Kubernetes//Pod/bank/ledger-1", "Kubernetes//Pod/bank/ledger-2"]);
    for (const record of mesh.workloads()) expect(waypointOf(record.waypoint)).toBe(labelled.get(record.uid));
  });

  test("cart is shared with the canary: 20 of 100", () => {
    expect(objectOf("Service", "cart").metadata.annotations).toEqual({ "istio.io/use-waypoint-canary-weight": "20" });
    const weighted = named("cart").weightedWaypoints.map((
      { destination, weight },
    ) => [waypointOf(destination), weight]);
    expect(weighted).toEqual([
      [waypointCalled("shop", "waypoint"), 80],
      [waypointCalled("shop", "waypoint-canary"), 20],
    ]);
    for (const other of mesh.services()) if (other.name !== "cart") expect(other.weightedWaypoints).toEqual([]);
  });

  test("their own pods are reached without a tunnel, and are behind their Services", () => {
    for (const { metadata } of objectsOf("Gateway")) {
      const pods = podsOf(metadata.namespace, { "gateway.networking.k8s.io/gateway-name": metadata.name });
      const own = service(metadata.namespace, `${metadata.name}.${metadata.namespace}.svc.cluster.local`);
      expect(pods.length).toBeGreaterThan(0);
      expect([...own.endpoints.keys()].sort()).toEqual(pods.map(uidOf).sort());
      for (const pod of pods) expect(mesh.workloadByUid(uidOf(pod))?.protocol).toBe("TCP");
    }
  });
});

describe("traffic distribution", () => {
  test("PreferClose ranks by network, region and zone, and fails over", () => {
    const local = named("local");
    expect(local.loadBalancer).toEqual({
      routingPreferences: ["Network", "Region", "Zone"],
      mode: "Failover",
      healthPolicy: "OnlyHealthy",
    });
    const ranks = (from: string) =>
      ["reviews-1", "reviews-2", "reviews-3"].map((to) =>
        rankEndpoint(local.loadBalancer!.routingPreferences, workload(from), workload(to)).rank
      );
    // reviews-1 and -2 are on node-a in zone1, reviews-3 is on node-b in zone2.
    expect(ranks("client-1")).toEqual([4, 4, 3]);
    expect(ranks("web-2")).toEqual([3, 3, 4]);
    expect(chosen(local, "client-1")).toEqual(["reviews-1", "reviews-2"]);
    expect(chosen(local, "web-2")).toEqual(["reviews-3"]);
  });

  test("internalTrafficPolicy Local keeps to the node, or has nothing", () => {
    const local = named("localonly");
    expect(local.loadBalancer).toEqual({ routingPreferences: ["Node"], mode: "Strict", healthPolicy: "OnlyHealthy" });
    expect(chosen(local, "client-1")).toEqual(["reviews-1", "reviews-2"]);
    expect(chosen(local, "web-2")).toEqual(["reviews-3"]);
    expect(chosen(local, "vm-1")).toEqual([]); // on no node
  });

  test("all others take any endpoint", () => {
    for (const other of mesh.services()) {
      if (other.name !== "local" && other.name !== "localonly") expect(other.loadBalancer).toBeUndefined();
    }
    expect(chosen(named("reviews"), "client-1")).toEqual(["reviews-1", "reviews-2", "reviews-3"]);
  });

  /** Who is chosen in a hundred tries. */
  function chosen(of: Service, from: string): string[] {
    const random = new Random(1);
    const names = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const choice = { random: () => random.below(1 << 20) / (1 << 20) };
      const found = mesh.endpointPool(of).choose(workload(from), 80, choice);
      if (found !== undefined) names.add(found.workload.name);
    }
    return [...names].sort();
  }
});

describe("policies", () => {
  const STRICT = "istio-system/istio_converted_static_strict";

  test("of each workload: the AuthorizationPolicies that select it, and what its PeerAuthentications come to", () => {
    const strictNamespaces = objectsOf("PeerAuthentication")
      .filter(({ spec }) => spec.selector === undefined && spec.mtls.mode === "STRICT")
      .map(({ metadata }) => metadata.namespace);
    expect(strictNamespaces).toEqual(["bank"]);
    for (const pod of objectsOf("Pod")) {
      const { namespace } = pod.metadata;
      const selects = (object: KubernetesObject<"AuthorizationPolicy" | "PeerAuthentication">) =>
        object.metadata.namespace === namespace && object.spec.selector !== undefined &&
        podsOf(namespace, object.spec.selector.matchLabels).includes(pod);
      const expected = [
        // Those with targetRefs are the waypoints'.
        ...objectsOf("AuthorizationPolicy").filter(selects).map(({ metadata }) => `${namespace}/${metadata.name}`),
        ...objectsOf("PeerAuthentication").filter(selects)
          .map(({ metadata }) => `${namespace}/converted_peer_authentication_${metadata.name}`),
        ...(strictNamespaces.includes(namespace) ? [STRICT] : []),
      ];
      expect([...mesh.workloadByUid(uidOf(pod))!.authorizationPolicies].sort()).toEqual(expected.sort());
    }
  });

  test("ledger-1 is selected by its two policies and the namespace's STRICT, and by the global one", () => {
    const set = mesh.policiesFor(workload("ledger-1"));
    expect([...set.all()].map(({ key }) => key).sort()).toEqual([
      "bank/ledger-l4-allow",
      "bank/ledger-l4-deny",
      STRICT,
      "istio-system/mesh-deny-all-from-none",
    ]);
    expect(set.missing).toEqual([]);
  });

  test("policies with targetRefs, and dry runs while istiod does not send them, are not there", () => {
    const sent = objectsOf("AuthorizationPolicy")
      .filter(({ metadata, spec }) => spec.targetRefs === undefined && metadata.annotations === undefined)
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    const converted = [STRICT, "shop/converted_peer_authentication_db-ports"];
    expect([...mesh.policies.entries()].map(([key]) => key).sort()).toEqual([...sent, ...converted].sort());
  });

  const ALLOW = "allow policies exist, but none allowed";
  const denied = (key: string) => `explicitly denied by: ${key}`;

  /** Destination, its port, identity (namespace/account) or plain text, what comes of it; another source where it matters. */
  const flows: [to: string, port: number, from: string | undefined, verdict: string, source?: string][] = [
    // ledger-l4-allow: these accounts, to these ports.
    ["ledger-1", 8080, "bank/teller", "allowed"],
    ["ledger-1", 9100, "bank/teller", "allowed"],
    ["ledger-1", 8081, "bank/teller", ALLOW],
    ["ledger-1", 8080, "shop/client", "allowed"],
    ["ledger-1", 8080, "shop/outside", "allowed"], // the second source excludes it, the first has its prefix
    ["ledger-1", 8080, "bank/ledger", ALLOW],
    ["ledger-1", 8080, "infra/otel", ALLOW],
    // ledger-l4-deny: addresses, and strangers at 9100.
    ["ledger-1", 8080, "bank/teller", denied("bank/ledger-l4-deny"), "10.244.0.19"],
    ["ledger-1", 8080, "bank/teller", denied("bank/ledger-l4-deny"), "192.168.2.1"],
    ["ledger-1", 8080, "bank/teller", "allowed", "192.168.1.1"],
    ["ledger-1", 9100, "egress/egress-wp", denied("bank/ledger-l4-deny")],
    ["ledger-1", 8080, "egress/egress-wp", ALLOW],
    // STRICT in bank.
    ["ledger-1", 8080, undefined, denied(STRICT)],
    ["teller-1", 8080, undefined, denied(STRICT)],
    ["teller-1", 8080, "shop/client", "allowed"],
    ["web-1", 8080, undefined, "allowed"],
    // db-ports: STRICT except at 5433; sa-match: two accounts of shop.
    ["db-0", 5432, undefined, denied("shop/converted_peer_authentication_db-ports")],
    ["db-0", 5433, undefined, ALLOW],
    ["db-0", 5432, "shop/web", "allowed"],
    ["db-0", 5433, "shop/cart", "allowed"],
    ["db-0", 5432, "bank/web", ALLOW],
    // A policy on HTTP methods, of which ztunnel sees nothing: closed.
    ["grpc-1", 9090, "shop/client", ALLOW],
    ["grpc-1", 9090, undefined, ALLOW],
    // In the root namespace and without selector: for all.
    ["web-1", 8080, "no-such-namespace/any", denied("istio-system/mesh-deny-all-from-none")],
    ["ledger-2", 8080, "no-such-namespace/any", denied("istio-system/mesh-deny-all-from-none")],
  ];

  for (const [to, port, from, expected, source = "10.244.0.18"] of flows) {
    test(`${from ?? "plain text"} from ${source} to ${to}:${port}: ${expected}`, () => {
      const [namespace, account] = from?.split("/") ?? [];
      const destination = workload(to);
      const verdict = authorize(mesh.policiesFor(destination), {
        sourceIp: source,
        destinationIp: destination.addresses[0]!,
        destinationPort: port,
        identity: from === undefined
          ? undefined
          : parseIdentity(`spiffe://cluster.local/ns/${namespace}/sa/${account}`),
      });
      expect(verdict.allowed ? "allowed" : verdict.rejection).toBe(expected);
    });
  }
});

describe("flows of client-1", () => {
  const info = { name: "client-1", namespace: "shop", serviceAccount: "client" };

  function route(ip: string, port: number, random: () => number = () => 0) {
    const destination = { ip, port };
    const downstream = { ip: "10.244.0.18", port: 40000 };
    return resolveOutbound(mesh, { info, source: mesh.localWorkload(info), downstream, destination }, SETTINGS, {
      random,
    });
  }

  test("to a Service with a waypoint: to one of the waypoint's pods, for the Service's address", () => {
    const hops = new Set<string>();
    const random = new Random(2);
    for (let i = 0; i < 50; i++) {
      const decision = route("10.96.1.1", 80, () => random.below(1000) / 1000);
      if (decision.action !== "hbone") throw new Error(decision.action);
      expect(decision.authority).toBe("10.96.1.1:80");
      hops.add(decision.dial.ip);
      expect(decision.dial.port).toBe(15008);
    }
    expect([...hops].sort()).toEqual(["10.244.0.100", "10.244.1.100"]);
  });

  test("to cart: a fifth of them to the canary's pod", () => {
    const random = new Random(3);
    let canary = 0;
    const tries = 4000;
    for (let i = 0; i < tries; i++) {
      const decision = route("10.96.1.2", 80, () => random.below(1 << 24) / (1 << 24));
      if (decision.action !== "hbone") throw new Error(decision.action);
      if (decision.dial.ip === "10.244.0.101") canary++;
    }
    expect(canary / tries).toBeGreaterThan(0.17);
    expect(canary / tries).toBeLessThan(0.23);
  });

  test("to a Service without one: to a ready pod, at the target port", () => {
    const decision = route("10.96.1.8", 80);
    expect(decision).toMatchObject({ action: "hbone", service: { name: "plain" } });
    if (decision.action !== "hbone") throw new Error(decision.action);
    expect(["10.244.0.11:8080", "10.244.1.11:8080"]).toContain(decision.authority);
    expect(decision.expectedIdentities).toEqual(["spiffe://cluster.local/ns/shop/sa/web"]);
  });

  test("to a pod with a waypoint: there; to one without, and to one outside the mesh", () => {
    expect(route("10.244.0.21", 8080)).toMatchObject({
      action: "hbone",
      dial: { ip: "10.244.1.102", port: 15008 },
      authority: "10.244.0.21:8080",
    });
    expect(route("10.244.0.22", 8080)).toMatchObject({
      action: "hbone",
      dial: { ip: "10.244.0.22", port: 15008 },
      authority: "10.244.0.22:8080",
    });
    expect(route("10.244.0.19", 8080)).toMatchObject({ action: "tcp", dial: { ip: "10.244.0.19", port: 8080 } });
    expect(route("192.0.2.1", 443)).toMatchObject({ action: "passthrough" });
  });

  test("to a port that the Service has not: refused", () => {
    expect(route("10.96.1.8", 81)).toMatchObject({ action: "refuse" });
  });
});
