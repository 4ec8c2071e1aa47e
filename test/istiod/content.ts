/** Resources in short: what pods of a lab and services in front of them look like to istiod. */
import { isIPv4 } from "node:net";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuthorizationSchema } from "../../proto/gen/authorization_pb.ts";
import {
  AddressSchema,
  AppProtocol,
  type GatewayAddressSchema,
  type ServiceSchema,
  TunnelProtocol,
  type WorkloadSchema,
  WorkloadStatus,
  WorkloadType,
} from "../../proto/gen/workload_pb.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, type ResourceText } from "./protocol.ts";

/** A field of istio.workload.Workload by its name, or what stands for it; bytes as in the message. */
export type WorkloadFields = Exclude<MessageInitShape<typeof WorkloadSchema>, { $typeName: string }>;
export type ServiceFields = Exclude<MessageInitShape<typeof ServiceSchema>, { $typeName: string }>;
type GatewayFields = MessageInitShape<typeof GatewayAddressSchema>;

/** What `podWorkload` reads of a pod: LabPod has it. */
export interface PodFacts {
  readonly name: string;
  readonly ips: readonly string[];
  readonly node: { readonly name: string };
}

export interface PodWorkload {
  /** Default "default". */
  readonly namespace?: string;
  /** Default: the namespace's "default". */
  readonly serviceAccount?: string;
  /** Default true: HBONE. */
  readonly meshed?: boolean;
  readonly trustDomain?: string;
  readonly network?: string;
  readonly healthy?: boolean;
  /** Port of the service → port of the pod, by "namespace/hostname". */
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
  readonly policies?: readonly string[];
  /** Address or "namespace/hostname" of the waypoint for it. */
  readonly waypoint?: string;
  /** Other fields of the message, or other values. */
  readonly fields?: WorkloadFields;
}

export interface ServicePlan {
  readonly name: string;
  /** Default "default". */
  readonly namespace?: string;
  /** Default NAME.NAMESPACE.svc.cluster.local. */
  readonly hostname?: string;
  readonly addresses: readonly string[];
  readonly network?: string;
  /** Port of the service → port of the pods; 0: as the workload says. */
  readonly ports: Readonly<Record<number, number>>;
  readonly waypoint?: string;
  readonly fields?: ServiceFields;
}

export type PolicyPlan = Exclude<MessageInitShape<typeof AuthorizationSchema>, { $typeName: string }> & {
  readonly name: string;
  readonly namespace: string;
};

/** The uid that istiod gives a pod's workload. */
export function podUid(namespace: string, name: string): string {
  return `Kubernetes//Pod/${namespace}/${name}`;
}

/** 4 or 16 bytes of an address. @throws Error if it is none */
export function ipBytes(text: string): Uint8Array<ArrayBuffer> {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  // The URL parser writes an IPv6 address in one way only, an IPv4 tail included.
  const [head = "", tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split("::");
  const left = head.split(":").filter(Boolean);
  const right = (tail ?? "").split(":").filter(Boolean);
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return Uint8Array.from(groups.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** The port of waypoints' and pods' tunnels. */
const HBONE_PORT = 15008;

function gateway(text: string, network: string): GatewayFields {
  const slash = text.indexOf("/");
  return {
    destination: slash < 0
      ? { case: "address", value: { network, address: ipBytes(text) } }
      : { case: "hostname", value: { namespace: text.slice(0, slash), hostname: text.slice(slash + 1) } },
    hboneMtlsPort: HBONE_PORT,
  };
}

function portList(ports: Readonly<Record<number, number>>) {
  return Object.entries(ports).map(([servicePort, targetPort]) => ({
    servicePort: Number(servicePort),
    targetPort,
    appProtocol: AppProtocol.UNKNOWN,
  }));
}

/** The workload of a pod. */
export function podWorkload(pod: PodFacts, plan: PodWorkload = {}): ResourceText {
  const { namespace = "default", network = "" } = plan;
  return workloadText({
    uid: podUid(namespace, pod.name),
    name: pod.name,
    namespace,
    addresses: pod.ips.map(ipBytes),
    network,
    tunnelProtocol: plan.meshed === false ? TunnelProtocol.NONE : TunnelProtocol.HBONE,
    trustDomain: plan.trustDomain ?? "",
    serviceAccount: plan.serviceAccount ?? "",
    node: pod.node.name,
    canonicalName: pod.name,
    canonicalRevision: "latest",
    workloadType: WorkloadType.POD,
    workloadName: pod.name,
    services: Object.fromEntries(
      Object.entries(plan.services ?? {}).map(([key, ports]) => [key, { ports: portList(ports) }]),
    ),
    authorizationPolicies: [...plan.policies ?? []],
    status: plan.healthy === false ? WorkloadStatus.UNHEALTHY : WorkloadStatus.HEALTHY,
    clusterId: "Kubernetes",
    ...(plan.waypoint === undefined ? {} : { waypoint: gateway(plan.waypoint, network) }),
    ...plan.fields,
  });
}

/** Any workload, field by field; its name on the wire is its uid. */
export function workloadText(fields: WorkloadFields): ResourceText {
  const address = create(AddressSchema, { type: { case: "workload", value: fields } });
  return { typeUrl: ADDRESS_TYPE, name: fields.uid ?? "", value: base64(toBinary(AddressSchema, address)) };
}

export function serviceText(plan: ServicePlan): ResourceText {
  const { namespace = "default", network = "" } = plan;
  const hostname = plan.hostname ?? `${plan.name}.${namespace}.svc.cluster.local`;
  const address = create(AddressSchema, {
    type: {
      case: "service",
      value: {
        name: plan.name,
        namespace,
        hostname,
        addresses: plan.addresses.map((ip) => ({ network, address: ipBytes(ip) })),
        ports: portList(plan.ports),
        ...(plan.waypoint === undefined ? {} : { waypoint: gateway(plan.waypoint, network) }),
        ...plan.fields,
      },
    },
  });
  return { typeUrl: ADDRESS_TYPE, name: `${namespace}/${hostname}`, value: base64(toBinary(AddressSchema, address)) };
}

export function policyText(plan: PolicyPlan): ResourceText {
  const value = toBinary(AuthorizationSchema, create(AuthorizationSchema, plan));
  return { typeUrl: AUTHORIZATION_TYPE, name: `${plan.namespace}/${plan.name}`, value: base64(value) };
}
