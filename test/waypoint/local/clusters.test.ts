import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseLocalState } from "../../../src/config/local_parse.ts";
import {
  cluster,
  compile,
  errors,
  forward,
  GATEWAY,
  MESH,
  nameOf,
  object,
  OPTIONS,
  route,
  routesOf,
  tcpChain,
  warnings,
} from "./fixture.ts";

const WEB = "web.shop.svc.cluster.local";

function rule(spec: string, metadata = "name: d, namespace: shop"): string {
  return object("networking.istio.io/v1", "DestinationRule", spec, metadata);
}

test("a cluster as istiod has it", () => {
  const NOWHERE = { region: "", zone: "", subzone: "" };
  const workload = { name: "web", namespace: "shop", canonicalName: "web", cluster: "c1" };
  const plain = {
    additionalAddresses: [],
    tunnel: undefined,
    innerAuthority: undefined,
    weight: 1,
    health: "healthy",
  } as const;
  expect(cluster(compile([]), nameOf("web", 80))).toEqual({
    name: nameOf("web", 80),
    discovery: { kind: "static" },
    localities: [{
      locality: NOWHERE,
      priority: 0,
      weight: undefined,
      endpoints: [
        {
          ...plain,
          kind: "hbone",
          address: "10.0.0.1:8080",
          expectedIdentities: ["spiffe://cluster.local/ns/shop/sa/web"],
          workload: { ...workload, canonicalRevision: "v1" },
        },
        {
          ...plain,
          kind: "tcp",
          address: "10.0.0.2:8080",
          expectedIdentities: [],
          workload: { ...workload, canonicalRevision: "v2" },
        },
      ],
    }],
    protocol: "http1",
    loadBalancing: { kind: "least-request", choices: 2 },
    slowStart: undefined,
    panicPercent: 0,
    localityWeighted: false,
    overprovisioningPercent: 140,
    connectTimeoutMs: 10_000,
    breakers: {
      maxConnections: 4294967295,
      maxPendingRequests: 4294967295,
      maxRequests: 4294967295,
      maxRetries: 4294967295,
      retryBudget: undefined,
    },
    outlier: undefined,
    keepalive: undefined,
    maxRequestsPerConnection: 0,
    idleTimeoutMs: 3_600_000,
    maxConnectionDurationMs: 0,
    tls: undefined,
    proxyProtocol: undefined,
    preserveHeaderCase: false,
    service: { host: WEB, name: "web", namespace: "shop" },
    subset: undefined,
    source: "",
  });
});

test("of a service's alternative names those count that are ids of workloads: a bare trust domain would be anybody", () => {
  const given = "[spiffe://cluster.local/, spiffe://cluster.local/ns/shop/sa/, spiffe://other/ns/shop/sa/api]";
  const mesh = MESH.replace("{name: api, ", `{name: api, subjectAltNames: ${given}, `);
  const result = parseLocalState([{ path: "a.yaml", text: [mesh, GATEWAY].join("\n---\n") }], { waypoint: OPTIONS });
  if (!result.ok || result.waypoint === undefined) throw new Error("refused");
  const [endpoint] = cluster(result.waypoint, nameOf("api", 80)).localities.flatMap(({ endpoints }) => endpoints);
  expect(endpoint?.expectedIdentities).toEqual([
    "spiffe://cluster.local/ns/shop/sa/api",
    "spiffe://other/ns/shop/sa/api",
  ]);
});

test("clusters of all ports of served services, by protocol; others only as routes name them", () => {
  const names = (objects: readonly string[]) =>
    Object.values(compile(objects).clusters).map(({ name, protocol }) => `${name} ${protocol}`).sort();
  const own = [
    `inbound-vip|60|tcp|${WEB} http1`,
    `inbound-vip|70|http|${WEB} http2`,
    `inbound-vip|80|http|api.shop.svc.cluster.local http1`,
    `inbound-vip|80|http|${WEB} http1`,
    `inbound-vip|90|http|${WEB} downstream`,
    `inbound-vip|90|tcp|${WEB} http1`,
  ];
  expect(names([])).toEqual(own);
  const grant = object(
    "gateway.networking.k8s.io/v1beta1",
    "ReferenceGrant",
    '{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service}]}',
    "name: g, namespace: other",
  );
  const elsewhere = route("[{backendRefs: [{name: far, namespace: other, port: 80}]}]");
  expect(names([grant, elsewhere])).toEqual([...own, "outbound|80||far.other.svc.cluster.local downstream"]);
});

describe("endpoints", () => {
  const pool = (workloads: string, service = "") => {
    const mesh = `
workloads: [${workloads}]
services: [{name: pool, namespace: shop, hostname: pool, vips: [/10.96.1.1], ports: {80: 8080}, appProtocols: {80: HTTP},
  waypoint: {destination: /10.96.0.9, hboneMtlsPort: 15008}${service}}]`;
    return { mesh, cluster: cluster(compile([mesh]), "inbound-vip|80|http|pool") };
  };
  const member = (name: string, more: string, ports = "{80: 0}") =>
    `{name: ${name}, namespace: shop, services: {shop/pool: ${ports}}, ${more}}`;
  const addresses = (workloads: string, service?: string) =>
    pool(workloads, service).cluster.localities.map(({ endpoints }) => endpoints.map(({ address }) => address));

  test("target ports: the member's, else the service's", () => {
    expect(
      addresses(`${member("a", "workloadIps: [10.1.0.1]", "{80: 81}")}, ${member("b", "workloadIps: [10.1.0.2]")}`),
    )
      .toEqual([["10.1.0.1:81", "10.1.0.2:8080"]]);
  });

  test("without capacity or health they are left out", () => {
    const workloads = `${member("a", "workloadIps: [10.1.0.1], capacity: 0")}, ` +
      `${member("b", "workloadIps: [10.1.0.2], status: Unhealthy")}, ${
        member("c", "workloadIps: [10.1.0.3], capacity: 7")
      }`;
    expect(addresses(workloads)).toEqual([["10.1.0.3:8080"]]);
    expect(pool(workloads).cluster.localities[0]!.endpoints[0]!.weight).toBe(7);
    expect(addresses(workloads, ", loadBalancer: {healthPolicy: AllowAll}")).toEqual([[
      "10.1.0.2:8080",
      "10.1.0.3:8080",
    ]]);
  });

  test("by locality; several addresses; further identities", () => {
    const { cluster: { localities } } = pool(
      `${member("a", 'workloadIps: [10.1.0.1, "fd00::a"], locality: {region: r, zone: z1}')}, ` +
        `${member("b", "workloadIps: [10.1.0.2], locality: {region: r, zone: z2}")}, ` +
        member(
          "c",
          "workloadIps: [10.1.0.3], protocol: HBONE, trustDomain: t, serviceAccount: s, locality: {region: r, zone: z1}",
        ),
      ", subjectAltNames: ['spiffe://t/ns/x/sa/y']",
    );
    expect(localities.map(({ locality, endpoints }) => [locality.zone, endpoints.length])).toEqual([["z1", 2], [
      "z2",
      1,
    ]]);
    expect(localities[0]!.endpoints[0]!.additionalAddresses).toEqual(["[fd00::a]:8080"]);
    expect(localities[0]!.endpoints[1]!.expectedIdentities).toEqual([
      "spiffe://t/ns/shop/sa/s",
      "spiffe://t/ns/x/sa/y",
    ]);
  });

  test("host names are resolved where no member has an address", () => {
    const name = member("a", "workloadIps: [], hostname: db.example");
    expect(pool(name).cluster).toMatchObject({
      discovery: { kind: "dns", logical: false },
      localities: [{ endpoints: [{ kind: "tcp", address: "db.example:8080" }] }],
    });
    const { mesh } = pool(`${name}, ${member("b", "workloadIps: [10.1.0.2]")}`);
    expect(warnings([mesh])).toEqual([
      "service shop/pool: workload shop/a has no address, but others do: it gets nothing",
    ]);
  });

  test("routing preferences make priorities, seen from the waypoint's own place", () => {
    const at = (zone: string, more = "") => `locality: {region: r, zone: ${zone}}${more}`;
    const here = `{name: wp-1, namespace: shop, serviceAccount: wp, workloadIps: [10.1.1.1], services: {}, ${
      at("z1")
    }}`;
    const there = `{name: wp-2, namespace: shop, serviceAccount: wp, workloadIps: [10.1.1.2], services: {}, ${
      at("z2")
    }}`;
    const workloads = [
      member("a", `workloadIps: [10.1.0.1], ${at("z2")}`),
      member("b", `workloadIps: [10.1.0.2], ${at("z1")}`),
      member("c", "workloadIps: [10.1.0.3], locality: {region: s, zone: z1}"),
      here,
      there,
    ].join(", ");
    const preferring = (mode: string) => `, loadBalancer: {routingPreferences: [Region, Zone], mode: ${mode}}`;
    const seen = (mode: string, address?: string) => {
      const { mesh } = pool(workloads, preferring(mode));
      return cluster(compile([mesh], { address }), "inbound-vip|80|http|pool").localities
        .map(({ priority, endpoints }) => `${priority} ${endpoints.map((endpoint) => endpoint.address)}`);
    };
    expect(seen("Failover", "10.1.1.1")).toEqual(["0 10.1.0.2:8080", "1 10.1.0.1:8080", "2 10.1.0.3:8080"]);
    expect(seen("Failover", "10.1.1.2")).toEqual(["0 10.1.0.1:8080", "1 10.1.0.2:8080", "2 10.1.0.3:8080"]);
    expect(seen("Strict", "10.1.1.1")).toEqual(["0 10.1.0.2:8080"]);
    expect(seen("Standard", "10.1.1.1").map((text) => text[0])).toEqual(["0", "0", "0"]);
    expect(seen("Failover").map((text) => text[0])).toEqual(["0", "0", "0"]);
    expect(warnings([pool(workloads, preferring("Failover")).mesh])).toEqual([
      "a.yaml:25:18: Gateway shop/wp: metadata.name: its workloads are in several places, and which of them we are is " +
      "not known: routing preferences of pool and others have no effect",
    ]);
  });

  test("other networks cannot be reached", () => {
    const { mesh, cluster } = pool(member("a", "workloadIps: [10.1.0.1], network: n2"));
    expect(cluster.localities).toEqual([]);
    expect(warnings([mesh])).toEqual([
      'service shop/pool: workload shop/a is in network "n2", which cannot be reached from here: it gets nothing',
    ]);
  });
});

describe("DestinationRule", () => {
  const shaped = (spec: string, port = 80) => cluster(compile([rule(`{host: web, ${spec}}`)]), nameOf("web", port));

  test.each(
    [
      ["{simple: ROUND_ROBIN}", { kind: "round-robin" }],
      ["{simple: RANDOM}", { kind: "random" }],
      ["{simple: LEAST_CONN}", { kind: "least-request", choices: 2 }],
      ["{consistentHash: {httpHeaderName: X}}", { kind: "ring-hash", minimumSize: 1024, maximumSize: 8388608 }],
      ["{consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 9}}}", {
        kind: "ring-hash",
        minimumSize: 9,
        maximumSize: 8388608,
      }],
      ["{consistentHash: {useSourceIp: true, maglev: {}}}", { kind: "maglev", tableSize: 65537 }],
      ["{consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}}", { kind: "maglev", tableSize: 101 }],
    ] as const,
  )("load balancer %s", (text, expected) => {
    expect(shaped(`trafficPolicy: {loadBalancer: ${text}}`).loadBalancing).toEqual(expected);
  });

  test.each([
    ["httpHeaderName: X-User", { kind: "header", name: "x-user" }],
    ["httpQueryParameterName: U", { kind: "query", name: "U" }],
    ["useSourceIp: true", { kind: "source-ip" }],
    ["httpCookie: {name: c, ttl: 0s, path: /p}", { kind: "cookie", name: "c", ttlMs: 0, path: "/p", attributes: [] }],
    ["httpCookie: {name: c}", { kind: "cookie", name: "c", ttlMs: undefined, path: "", attributes: [] }],
  ])("hash %s", (hash, expected) => {
    const object = rule(`{host: web, trafficPolicy: {loadBalancer: {consistentHash: {${hash}}}}}`);
    const policies = [{ ...expected, terminal: false }] as never;
    expect(forward(routesOf([object])[0]).hashPolicies).toEqual(policies);
    expect(forward(routesOf([object, route("[{backendRefs: [{name: web, port: 80}]}]")])[0]).hashPolicies).toEqual(
      policies,
    );
    expect(tcpChain(compile([object]), nameOf("web", 60, "tcp")).hashSourceIp).toBe(hash === "useSourceIp: true");
  });

  test("connection pool, warm-up, PROXY protocol", () => {
    expect(shaped(`trafficPolicy: {
      loadBalancer: {warmup: {duration: 30s, minimumPercent: 5}},
      connectionPool: {tcp: {connectTimeout: 2s, maxConnectionDuration: 1h, idleTimeout: 5m, tcpKeepalive: {time: 60s}},
        http: {maxRequestsPerConnection: 10, idleTimeout: 1m}},
      proxyProtocol: {version: V2}}`)).toMatchObject({
      slowStart: { windowMs: 30_000, aggression: 1, minWeightPercent: 5 },
      connectTimeoutMs: 2000,
      maxConnectionDurationMs: 3_600_000,
      keepalive: { timeMs: 60_000, intervalMs: 75_000, probes: 9 },
      maxRequestsPerConnection: 10,
      idleTimeoutMs: 60_000,
      proxyProtocol: "V2",
      source: "DestinationRule shop/d",
    });
    const chain = tcpChain(
      compile([
        rule("{host: web, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5m, maxConnectionDuration: 1h}}}}"),
      ]),
      nameOf("web", 60, "tcp"),
    );
    expect(chain).toMatchObject({ idleTimeoutMs: 300_000, maxConnectionDurationMs: 3_600_000 });
  });

  test("protocols", () => {
    const http = (text: string, port?: number) =>
      shaped(`trafficPolicy: {connectionPool: {http: {${text}}}}`, port).protocol;
    expect(http("h2UpgradePolicy: UPGRADE")).toBe("http2");
    expect(http("h2UpgradePolicy: DO_NOT_UPGRADE")).toBe("http1");
    expect(http("useClientProtocol: true")).toBe("downstream");
    expect(http("useClientProtocol: true", 70)).toBe("downstream");
  });

  test("a retry budget, which settings of a port leave alone", () => {
    const budget = (text: string) => shaped(`trafficPolicy: {${text}}`).breakers.retryBudget;
    expect(budget("loadBalancer: {simple: RANDOM}")).toBeUndefined();
    expect(budget("retryBudget: {}")).toEqual({ percent: 20, minConcurrency: 3 });
    expect(budget("retryBudget: {percent: 12.5, minRetryConcurrency: 0}")).toEqual({
      percent: 12.5,
      minConcurrency: 0,
    });
    expect(budget("retryBudget: {percent: 0}, portLevelSettings: [{port: {number: 80}}]"))
      .toEqual({ percent: 0, minConcurrency: 3 });
  });

  test("settings of a port replace load balancer, pool and TLS as a whole", () => {
    const spec = `trafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {connectTimeout: 1s}},
      portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}`;
    expect(shaped(spec)).toMatchObject({ loadBalancing: { kind: "round-robin" }, connectTimeoutMs: 10_000 });
    expect(shaped(spec, 90)).toMatchObject({ loadBalancing: { kind: "random" }, connectTimeoutMs: 1000 });
  });

  test("subsets: members by label, policy over the rule's", () => {
    const { clusters } = compile([rule(`{host: ${WEB}, trafficPolicy: {loadBalancer: {simple: RANDOM},
      connectionPool: {tcp: {connectTimeout: 1s}}}, subsets: [{name: two, labels: {version: v2},
      trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}, {name: none, labels: {version: v3}}]}`)]);
    const two = clusters[`inbound-vip|80|http/two|${WEB}`];
    expect(two).toMatchObject({ subset: "two", loadBalancing: { kind: "round-robin" }, connectTimeoutMs: 1000 });
    expect(two?.localities[0]?.endpoints.map(({ address }) => address)).toEqual(["10.0.0.2:8080"]);
    expect(clusters[`inbound-vip|80|http/none|${WEB}`]?.localities).toEqual([]);
    expect(clusters[`inbound-vip|60|tcp/two|${WEB}`]).toBeDefined();
  });

  test("whose counts: the waypoint's namespace, then the service's, then the root's; the exact host before wildcards", () => {
    const random = (host: string, metadata: string, more = "") =>
      rule(`{host: "${host}", trafficPolicy: {loadBalancer: {simple: RANDOM}}${more}}`, metadata);
    const round = (host: string, metadata: string) =>
      rule(`{host: "${host}", trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}`, metadata);
    const kind = (...objects: string[]) => cluster(compile(objects), nameOf("web", 80)).loadBalancing.kind;
    expect(kind(random(WEB, "name: a, namespace: istio-system"))).toBe("random");
    expect(kind(random(WEB, "name: a, namespace: istio-system"), round(WEB, "name: b, namespace: shop"))).toBe(
      "round-robin",
    );
    expect(kind(random(WEB, "name: a, namespace: other"))).toBe("least-request");
    expect(kind(random("*", "name: a, namespace: shop"), round("*.shop.svc.cluster.local", "name: b, namespace: shop")))
      .toBe("round-robin");
    expect(kind(random(WEB, "name: a, namespace: istio-system", ', exportTo: ["."]'))).toBe("least-request");
    expect(kind(random(WEB, "name: a, namespace: istio-system", ", exportTo: [shop]"))).toBe("random");
  });

  test("two of one host are refused, one of no service is told", () => {
    expect(errors([rule("{host: web}"), rule(`{host: ${WEB}}`, "name: e, namespace: shop")])).toEqual([
      `b.yaml:12:14: DestinationRule shop/e: spec.host: DestinationRule shop/d is for ${WEB} too: make them one`,
    ]);
    expect(warnings([rule("{host: gone}")])).toEqual([
      "b.yaml:5:14: DestinationRule shop/d: spec.host: no service of the mesh documents is called gone.shop.svc.cluster.local",
    ]);
  });

  test("PASSTHROUGH is refused where it would lead a tunnel to a virtual address", () => {
    const loadBalancer = "loadBalancer: {simple: PASSTHROUGH}";
    const said = (at: string) =>
      `DestinationRule shop/d: spec.trafficPolicy.${at}loadBalancer.simple: PASSTHROUGH sends requests on to the address ` +
      `they were for, and no tunnel leads to the virtual address of ${WEB}: choose another load balancer`;
    const refused = (policy: string) =>
      errors([rule(`{host: web, trafficPolicy: ${policy}}`)]).map((text) => text.replace(/^[^ ]+ /, ""));
    expect(refused(`{${loadBalancer}}`)).toEqual([said("")]);
    expect(refused(`{portLevelSettings: [{port: {number: 80}, ${loadBalancer}}]}`)).toEqual([
      said("portLevelSettings[0]."),
    ]);
    // Hosts outside the mesh have addresses that can be dialled.
    const outside = `
workloads: [{name: a, namespace: shop, workloadIps: [10.1.0.1], protocol: TCP, services: {shop/pool: {80: 80}}}]
services: [{name: pool, namespace: shop, hostname: pool, vips: [/10.96.1.1], ports: {80: 80}, appProtocols: {80: HTTP},
  waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}}]`;
    const passes = rule(`{host: "*pool", trafficPolicy: {${loadBalancer}}}`);
    expect(cluster(compile([outside, passes]), "inbound-vip|80|http|pool").discovery).toEqual({
      kind: "original-destination",
      hbone: false,
    });
  });

  test("TLS: files are read, and told when they cannot be", () => {
    const directory = mkdtempSync(join(tmpdir(), "tls-"));
    try {
      for (const name of ["ca", "chain", "key"]) writeFileSync(join(directory, name), name);
      const files =
        `caCertificates: ${directory}/ca, clientCertificate: ${directory}/chain, privateKey: ${directory}/key`;
      expect(shaped(`trafficPolicy: {tls: {mode: MUTUAL, ${files}, sni: s, subjectAltNames: [a]}}`).tls).toEqual({
        sni: "s",
        autoSni: false,
        subjectAltNames: ["a"],
        roots: "ca",
        certificate: { chainPem: "chain", keyPem: "key" },
        alpn: [],
      });
      expect(shaped("trafficPolicy: {tls: {mode: SIMPLE}}", 70).tls).toEqual({
        sni: undefined,
        autoSni: true,
        subjectAltNames: [],
        roots: "system",
        certificate: undefined,
        alpn: ["h2"],
      });
      expect(shaped("trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}").tls?.roots).toBeUndefined();
      expect(shaped("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}").tls).toBeUndefined();
      const gone = rule(`{host: web, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: ${directory}/gone}}}`);
      expect(errors([gone]).map((text) => text.replace(/^[^ ]+ /, ""))).toEqual([
        `DestinationRule shop/d: spec.trafficPolicy.tls.caCertificates: cannot read ${directory}/gone: ENOENT`,
      ]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
