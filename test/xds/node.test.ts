/** As whom istiod knows us (spec/ztunnel.md §3.2, spec/waypoint.md §1.1). */
import { describe, expect, test } from "bun:test";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { DeltaDiscoveryRequestSchema } from "../../proto/gen/discovery_pb.ts";
import {
  ADDRESS_TYPE,
  encodeDeltaRequest,
  ISTIO_VERSION,
  parseDownwardFile,
  type WaypointFacts,
  waypointNode,
  type XdsNode,
  type ZtunnelFacts,
  ztunnelNode,
} from "../../src/xds/mod.ts";

describe("ztunnel", () => {
  const facts: ZtunnelFacts = {
    podName: "ztunnel-a",
    podNamespace: "istio-system",
    instanceIp: "10.244.0.3",
    nodeName: "node-a",
    metadata: { CLUSTER_ID: "Kubernetes", NETWORK: "network-1" },
  };

  test("id and metadata", () => {
    expect(ztunnelNode(facts)).toEqual({
      id: "ztunnel~10.244.0.3~ztunnel-a.istio-system~istio-system.svc.cluster.local",
      metadata: {
        NAME: "ztunnel-a",
        NAMESPACE: "istio-system",
        INSTANCE_IPS: "10.244.0.3",
        NODE_NAME: "node-a",
        CLUSTER_ID: "Kubernetes",
        NETWORK: "network-1",
      },
    });
  });

  const CHANGES: [what: string, change: Partial<ZtunnelFacts>, expected: Record<string, unknown>][] = [
    ["no node", { nodeName: undefined }, { NODE_NAME: undefined }],
    ["JSON metadata", { jsonMetadata: { DEEP: { list: [1, true, null] } } }, { DEEP: { list: [1, true, null] } }],
    ["metadata named as ours", { metadata: { NAME: "other" } }, { NAME: "other" }],
  ];
  for (const [what, change, expected] of CHANGES) {
    test(what, () => {
      const { metadata } = ztunnelNode({ ...facts, ...change });
      for (const [key, value] of Object.entries(expected)) expect(metadata[key]).toEqual(value as never);
    });
  }
});

describe("waypoint", () => {
  const facts: WaypointFacts = {
    podName: "wp-6d9-abc",
    namespace: "shop",
    serviceAccount: "wp",
    instanceIps: ["10.0.0.7", "fd00::7"],
    clusterDomain: "cluster.local",
    clusterId: "Kubernetes",
    network: "",
    labels: {
      "gateway.networking.k8s.io/gateway-name": "wp",
      "gateway.istio.io/managed": "istio.io-mesh-controller",
      "pod-template-hash": "6d9",
    },
    annotations: { "istio.io/rev": "default" },
  };

  test("the least there is", () => {
    expect(waypointNode(facts)).toEqual({
      id: "waypoint~10.0.0.7~wp-6d9-abc.shop~shop.svc.cluster.local",
      cluster: "wp.shop",
      metadata: {
        NAME: "wp-6d9-abc",
        NAMESPACE: "shop",
        SERVICE_ACCOUNT: "wp",
        INSTANCE_IPS: "10.0.0.7,fd00::7",
        CLUSTER_ID: "Kubernetes",
        ISTIO_VERSION,
        LABELS: {
          "gateway.networking.k8s.io/gateway-name": "wp",
          "gateway.istio.io/managed": "istio.io-mesh-controller",
        },
        ANNOTATIONS: { "istio.io/rev": "default" },
      },
    });
  });

  const CHANGES: [what: string, change: Partial<WaypointFacts>, expected: Record<string, unknown>][] = [
    ["network", { network: "network-1" }, { NETWORK: "network-1" }],
    ["node, workload, owner", { nodeName: "n", workloadName: "wp", owner: "kubernetes://apis/apps/v1/…" }, {
      NODE_NAME: "n",
      WORKLOAD_NAME: "wp",
      OWNER: "kubernetes://apis/apps/v1/…",
    }],
    ["mesh and revision", { meshId: "m", revision: "r" }, { MESH_ID: "m", ISTIO_REVISION: "r" }],
    ["another version", { istioVersion: "1.31.0" }, { ISTIO_VERSION: "1.31.0" }],
    ["PROXY_CONFIG", { proxyConfig: { concurrency: 2 } }, { PROXY_CONFIG: { concurrency: 2 } }],
    ["further variables", { metadata: { IDLE_TIMEOUT: "5m", NAMESPACE: "x" }, jsonMetadata: { DEEP: [1] } }, {
      IDLE_TIMEOUT: "5m",
      DEEP: [1],
      // istiod holds it against the token.
      NAMESPACE: "shop",
    }],
  ];
  for (const [what, change, expected] of CHANGES) {
    test(what, () => {
      expect(waypointNode({ ...facts, ...change }).metadata).toMatchObject(expected);
    });
  }

  const LOCALITIES: [labels: Record<string, string>, locality: XdsNode["locality"]][] = [
    [{ "topology.istio.io/locality": "r/z/s" }, { region: "r", zone: "z", subzone: "s" }],
    [{ "istio-locality": "r.z.s" }, { region: "r", zone: "z", subzone: "s" }],
    [{ "istio-locality": "r" }, { region: "r", zone: "", subzone: "" }],
    [{ "istio-locality": "eu.west/z" }, { region: "eu.west", zone: "z", subzone: "" }],
    [{ "topology.istio.io/locality": "a", "istio-locality": "b" }, { region: "a", zone: "", subzone: "" }],
    [{ "istio-locality": "" }, undefined],
  ];
  for (const [labels, locality] of LOCALITIES) {
    test(`locality of ${JSON.stringify(labels)}`, () => {
      expect(waypointNode({ ...facts, labels }).locality).toEqual(locality);
    });
  }

  test("on the wire", () => {
    const node = waypointNode({ ...facts, labels: { "istio-locality": "r.z" } });
    const bytes = encodeDeltaRequest({ node, typeUrl: ADDRESS_TYPE });
    const read = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    expect(toJson(DeltaDiscoveryRequestSchema, read)).toMatchObject({
      node: { id: node.id, cluster: "wp.shop", metadata: node.metadata as Record<string, never> },
    });
    // core.v3.Node.locality is the field 4, which the generated code does not know: region 1, zone 2.
    const locality = Uint8Array.of(0x22, 6, 0x0a, 1, "r".charCodeAt(0), 0x12, 1, "z".charCodeAt(0));
    expect(new TextDecoder("latin1").decode(bytes)).toContain(new TextDecoder("latin1").decode(locality));
  });
});

describe("files of the downward API", () => {
  const FILES: [what: string, text: string, values: Record<string, string>, problems?: string[]][] = [
    ["empty", "", {}],
    ["labels", 'app="web"\ngateway.istio.io/managed="istio.io-mesh-controller"\n', {
      app: "web",
      "gateway.istio.io/managed": "istio.io-mesh-controller",
    }],
    ["no line end at the end, and empty lines", '\na="1"\r\n\nb=""', { a: "1", b: "" }],
    ["equals signs and quotes in the value", 'a="b=c"\nd="\\"e\\""', { a: "b=c", d: '"e"' }],
    ["line ends and other escapes", String.raw`a="1\n2\t\\n\a\b\f\r\v"`, { a: "1\n2\t\\n\x07\b\f\r\v" }],
    ["characters by number", String.raw`a="\u00fc\U0001F600\x7f\177"`, { a: "ü😀\x7f\x7f" }],
    ["bytes that make a character together, and some that make none", String.raw`a="\xc3\xbc\303\274 \xff"`, {
      a: "üü \ufffd",
    }],
    ["other letters as they are", 'a="grün 😀"', { a: "grün 😀" }],
    ["JSON in an annotation", String.raw`a="{\"b\":[1,\"c\"]}"`, { a: '{"b":[1,"c"]}' }],
    ["keys that objects have", '__proto__="a"\nconstructor="b"', { ["__proto__"]: "a", constructor: "b" }],
    [
      "lines that are none",
      'a="1"\nb\nc=1\n="2"\nd="\ne="\\q"\nf="1"2"\ng="\\UFFFFFFFF"\nh="ok"',
      { a: "1", h: "ok" },
      [2, 3, 4, 5, 6, 7, 8].map((n) => `line ${n}: ${n === 2 || n === 4 ? "no key" : "no value in quotes"}`),
    ],
  ];
  for (const [what, text, values, problems = []] of FILES) {
    test(what, () => {
      const file = parseDownwardFile(text);
      expect(Object.entries(file.values)).toEqual(Object.entries(values));
      expect(file.problems).toEqual(problems);
    });
  }
});
