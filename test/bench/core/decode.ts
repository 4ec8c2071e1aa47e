/**
 * What a push of workloads costs to decode, and to take into the mesh.
 *
 *     bun test/bench/core/decode.ts [workloads]
 */
import { performance } from "node:perf_hooks";
import process from "node:process";
import { create, toBinary } from "@bufbuild/protobuf";
import { DeltaDiscoveryResponseSchema } from "../../../proto/gen/discovery_pb.ts";
import { AddressSchema } from "../../../proto/gen/workload_pb.ts";
import { MeshState, type WorkloadUpdate } from "../../../src/mesh/mod.ts";
import { ADDRESS_TYPE, decodeAddress, decodeDeltaResponse } from "../../../src/xds/mod.ts";

const SERVICES = 10_000;
const NAMESPACES = 200;
const NODES = 1000;
const ROUNDS = 5;
/** Workloads between two turns of the event loop. */
const PART = 500;

function resource(i: number) {
  const service = i % SERVICES;
  const namespace = `namespace-${service % NAMESPACES}`;
  const name = `app-${service}-7d9f8b6c5d-${i.toString(36)}`;
  const uid = `Kubernetes//Pod/${namespace}/${name}`;
  const value = {
    uid,
    name,
    namespace,
    addresses: [Uint8Array.of(10, i >> 16, i >> 8, i)],
    tunnelProtocol: 1,
    serviceAccount: `app-${service}`,
    node: `node-${i % NODES}`,
    canonicalName: `app-${service}`,
    canonicalRevision: "v1",
    workloadName: `app-${service}`,
    clusterId: "Kubernetes",
    locality: { region: "region1", zone: `zone${i % 3}` },
    authorizationPolicies: i % 4 === 0 ? ["istio-system/istio_converted_static_strict", `${namespace}/allow`] : [],
    services: {
      [`${namespace}/app-${service}.${namespace}.svc.cluster.local`]: {
        ports: [{ servicePort: 80, targetPort: 8080 }, { servicePort: 9090, targetPort: 9090 }],
      },
    },
  };
  const message = create(AddressSchema, { type: { case: "workload", value } });
  return {
    version: i.toString(16),
    name: uid,
    resource: { typeUrl: ADDRESS_TYPE, value: toBinary(AddressSchema, message) },
  };
}

function pushOf(count: number): Uint8Array {
  const resources = Array.from({ length: count }, (_, i) => resource(i));
  const message = create(DeltaDiscoveryResponseSchema, { typeUrl: ADDRESS_TYPE, nonce: "n", resources });
  return toBinary(DeltaDiscoveryResponseSchema, message);
}

/** Times of one round, in ms. */
function round(push: Uint8Array, mesh: MeshState) {
  const begun = performance.now();
  const result = decodeDeltaResponse(push);
  if (!result.ok) throw new Error(result.error);
  const { resources } = result.response;
  const frame = performance.now() - begun;
  let decoding = 0;
  let applying = 0;
  let longest = 0;
  for (let start = 0; start < resources.length; start += PART) {
    const from = performance.now();
    const workloads: WorkloadUpdate[] = [];
    for (let i = start; i < Math.min(start + PART, resources.length); i++) {
      const one = resources.at(i);
      if (!one.ok) throw new Error(one.error);
      const decoded = decodeAddress(one.resource.value);
      if (!decoded.ok || decoded.address.kind !== "workload") throw new Error("not a workload");
      workloads.push(decoded.address.update);
    }
    const middle = performance.now();
    mesh.apply({ workloads });
    const end = performance.now();
    decoding += middle - from;
    applying += end - middle;
    longest = Math.max(longest, end - from);
  }
  return { frame, decoding, applying, longest };
}

const count = Number(process.argv[2] ?? 70_000);
const push = pushOf(count);
console.log(`${count} workloads of ${SERVICES} services, a push of ${(push.length / 1e6).toFixed(1)} MB`);
const mesh = new MeshState("node-1");
for (let i = 0; i < ROUNDS; i++) {
  const { frame, decoding, applying, longest } = round(push, mesh);
  const each = (ms: number) => `${(ms * 1000 / count).toFixed(2)} us`;
  console.log(
    `frame ${frame.toFixed(1)} ms, decode ${each(decoding)}, apply ${each(applying)} for each workload, ` +
      `longest part of ${PART} ${longest.toFixed(1)} ms`,
  );
}
