/** Meshes of any size, made up from a plan: the same plan gives the same bytes. */
import { create, toBinary } from "@bufbuild/protobuf";
import { Action, AuthorizationSchema, Scope } from "../../../proto/gen/authorization_pb.ts";
import { AddressSchema, TunnelProtocol, WorkloadType } from "../../../proto/gen/workload_pb.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, type MeshSize } from "../protocol.ts";

export interface Generated {
  readonly typeUrl: string;
  readonly name: string;
  readonly value: Uint8Array;
}

const WORKLOADS_OF_A_SERVICE = 10;
const NODES = 100;
const NAMESPACES = 50;
const PORT = 8080;

/** Workload i has the address 10.128.0.0 + i, service i 10.64.0.0 + i. */
const WORKLOAD_NET = 0x0a800000;
const SERVICE_NET = 0x0a400000;

export function* generateMesh(size: MeshSize): Generator<Generated> {
  const prefix = size.prefix ?? "load";
  const services = size.services ?? Math.ceil(size.workloads / WORKLOADS_OF_A_SERVICE);
  const nodes = size.nodes ?? Array.from({ length: NODES }, (_, i) => `${prefix}-node-${i}`);
  const namespaces = Math.min(size.namespaces ?? NAMESPACES, Math.max(1, services));
  const namespaceOf = (service: number) => `${prefix}-${service % namespaces}`;
  const hostnameOf = (service: number) => `service-${service}.${namespaceOf(service)}.svc.cluster.local`;
  for (let i = 0; i < services; i++) {
    const namespace = namespaceOf(i);
    const hostname = hostnameOf(i);
    const address = create(AddressSchema, {
      type: {
        case: "service",
        value: {
          name: `service-${i}`,
          namespace,
          hostname,
          addresses: [{ address: ipv4(SERVICE_NET + i) }],
          ports: [{ servicePort: 80, targetPort: PORT }],
        },
      },
    });
    yield { typeUrl: ADDRESS_TYPE, name: `${namespace}/${hostname}`, value: toBinary(AddressSchema, address) };
  }
  for (let i = 0; i < size.workloads; i++) {
    const service = services === 0 ? undefined : i % services;
    const namespace = namespaceOf(service ?? i);
    const name = `workload-${service ?? 0}-${i.toString(36).padStart(5, "0")}`;
    const uid = `Kubernetes//Pod/${namespace}/${name}`;
    const value = toBinary(
      AddressSchema,
      create(AddressSchema, {
        type: {
          case: "workload",
          value: {
            uid,
            name,
            namespace,
            addresses: [ipv4(WORKLOAD_NET + i)],
            tunnelProtocol: TunnelProtocol.HBONE,
            serviceAccount: `account-${service ?? 0}`,
            node: nodes[i % nodes.length] ?? "",
            canonicalName: `service-${service ?? 0}`,
            canonicalRevision: size.revision ?? "latest",
            workloadType: WorkloadType.DEPLOYMENT,
            workloadName: `workload-${service ?? 0}`,
            clusterId: "Kubernetes",
            services: service === undefined
              ? {}
              : { [`${namespace}/${hostnameOf(service)}`]: { ports: [{ servicePort: 80, targetPort: PORT }] } },
            locality: { region: "region-1", zone: `zone-${i % 3}` },
          },
        },
      }),
    );
    yield { typeUrl: ADDRESS_TYPE, name: uid, value };
  }
  for (let i = 0; i < (size.policies ?? 0); i++) {
    const namespace = `${prefix}-${i % namespaces}`;
    const name = `policy-${i}`;
    const principal = `cluster.local/ns/${namespace}/sa/account-${i}`;
    const matches = [{ principals: [{ matchType: { case: "exact" as const, value: principal } }] }];
    const value = toBinary(
      AuthorizationSchema,
      create(AuthorizationSchema, {
        name,
        namespace,
        scope: Scope.NAMESPACE,
        action: Action.ALLOW,
        rules: [{ clauses: [{ matches }] }],
      }),
    );
    yield { typeUrl: AUTHORIZATION_TYPE, name: `${namespace}/${name}`, value };
  }
}

/** Whether a name belongs to a mesh of this prefix. */
export function isGenerated(name: string, prefix: string): boolean {
  const inner = name.startsWith("Kubernetes//Pod/") ? name.slice("Kubernetes//Pod/".length) : name;
  const rest = inner.startsWith(`${prefix}-`) ? inner.slice(prefix.length + 1) : "";
  return /^\d+\//.test(rest);
}

function ipv4(number: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255);
}
