/**
 * The local state of the lab's proxies: a file in the shape of ztunnel's LOCAL_XDS_PATH, or a folder with that file and
 * Kubernetes objects beside it.
 */
import { existsSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { LabPod } from "../topology/mod.ts";

export const LAB_NAMESPACE = "demo";
export const LAB_TRUST_DOMAIN = "cluster.local";

/** One pod as the mesh knows it. */
export interface MeshWorkload {
  readonly pod: LabPod;
  /** Whether peers reach it over HBONE; plain TCP otherwise. */
  readonly hbone: boolean;
  readonly serviceAccount?: string;
  readonly trustDomain?: string;
  /** Namespace; the lab's without one. */
  readonly namespace?: string;
  /** What it is known as where that is not the name of the lab's pod. */
  readonly name?: string;
  /** Pod whose waypoint all traffic to this workload goes through. */
  readonly waypoint?: LabPod;
  readonly version?: string;
  /** service name → service port → target port; `name.namespace` for a service of another namespace */
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
  readonly policies?: readonly string[];
  readonly status?: "Healthy" | "Unhealthy";
  /** More of the record, in the file's own words; they replace what the rest says. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface MeshService {
  readonly name: string;
  readonly vip: string;
  readonly ports: Readonly<Record<number, number>>;
  readonly namespace?: string;
  /** Pod whose waypoint the service's traffic goes through. */
  readonly waypoint?: LabPod;
  /** Service port → declared protocol (`HTTP`, `GRPC`, `TCP` …); undeclared ports are sniffed. */
  readonly appProtocols?: Readonly<Record<number, string>>;
  /** More of the record, in the file's own words; they replace what the rest says. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** A policy in the file's own shape. */
export type PolicyDocument = Readonly<Record<string, unknown>>;

/** An object in Kubernetes' own shape. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<{ name: string; namespace?: string; [key: string]: unknown }>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

export interface MeshConfiguration {
  /** Objects for waypoints, each in a file of its own; only where the configuration is a folder. */
  readonly objects?: readonly KubernetesObject[];
  readonly workloads: readonly MeshWorkload[];
  readonly services?: readonly MeshService[];
  readonly policies?: readonly PolicyDocument[];
}

export function identityOf(workload: MeshWorkload): string {
  const domain = workload.trustDomain ?? LAB_TRUST_DOMAIN;
  return `spiffe://${domain}/ns/${workload.namespace ?? LAB_NAMESPACE}/sa/${serviceAccountOf(workload)}`;
}

export function serviceAccountOf(workload: MeshWorkload): string {
  return workload.serviceAccount ?? workload.name ?? workload.pod.name;
}

/** Hostname of a service by its name, or by `name.namespace`. */
export function hostnameOf(service: string): string {
  return `${service.includes(".") ? service : `${service}.${LAB_NAMESPACE}`}.svc.cluster.local`;
}

/** `namespace/hostname` of a service by its name, or by `name.namespace`. */
export function serviceKeyOf(service: string): string {
  const [, namespace = LAB_NAMESPACE] = service.split(".");
  return `${namespace}/${hostnameOf(service)}`;
}

/** The Gateway that makes a pod a waypoint of its namespace. */
export function waypointGateway(name = "waypoint", namespace = LAB_NAMESPACE, waypointFor = "all"): KubernetesObject {
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name, namespace, labels: { "istio.io/waypoint-for": waypointFor } },
    spec: {
      gatewayClassName: "istio-waypoint",
      listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }],
    },
  };
}

/** DENY for whoever has no identity: what PeerAuthentication STRICT becomes. */
export function strictPolicy(name: string): PolicyDocument {
  return {
    name,
    namespace: LAB_NAMESPACE,
    scope: "WorkloadSelector",
    action: "Deny",
    rules: [[[{ notPrincipals: [{ Presence: null }] }]]],
    dryRun: false,
  };
}

export function renderConfiguration(configuration: MeshConfiguration): string {
  const throughWaypoint = (pod: LabPod | undefined) =>
    pod === undefined ? {} : { waypoint: { destination: `/${pod.ip}`, hboneMtlsPort: 15008 } };
  const workloads = configuration.workloads.map((workload) => ({
    uid: `Kubernetes//Pod/${workload.namespace ?? LAB_NAMESPACE}/${workload.name ?? workload.pod.name}`,
    name: workload.name ?? workload.pod.name,
    namespace: workload.namespace ?? LAB_NAMESPACE,
    serviceAccount: serviceAccountOf(workload),
    trustDomain: workload.trustDomain ?? LAB_TRUST_DOMAIN,
    workloadIps: workload.pod.ips,
    protocol: workload.hbone ? "HBONE" : "TCP",
    node: workload.pod.node.name,
    workloadName: workload.name ?? workload.pod.name,
    workloadType: "deployment",
    canonicalName: workload.name ?? workload.pod.name,
    canonicalRevision: workload.version ?? "v1",
    clusterId: "Kubernetes",
    status: workload.status ?? "Healthy",
    services: Object.fromEntries(
      Object.entries(workload.services ?? {}).map(([name, ports]) => [serviceKeyOf(name), ports]),
    ),
    ...throughWaypoint(workload.waypoint),
    ...(workload.policies === undefined ? {} : { authorizationPolicies: workload.policies }),
    ...workload.fields,
  }));
  const services = (configuration.services ?? []).map((service) => ({
    name: service.name,
    namespace: service.namespace ?? LAB_NAMESPACE,
    hostname: hostnameOf(service.namespace === undefined ? service.name : `${service.name}.${service.namespace}`),
    vips: [`/${service.vip}`],
    ports: service.ports,
    ...throughWaypoint(service.waypoint),
    ...(service.appProtocols === undefined ? {} : { appProtocols: service.appProtocols }),
    ...service.fields,
  }));
  return stringify({ workloads, services, policies: configuration.policies ?? [] });
}

/** Replaces a file in one step, as an editor or a ConfigMap volume does. */
export function writeFile(path: string, text: string): void {
  // The name of the new file must not look like configuration.
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

/** Writes the file, or into the folder that `path` is: `mesh.yaml` and one file for each object. */
export function writeConfiguration(path: string, configuration: MeshConfiguration): void {
  if (!existsSync(path) || !statSync(path).isDirectory()) {
    if (configuration.objects !== undefined) throw new Error("objects need a folder");
    writeFile(path, renderConfiguration(configuration));
    return;
  }
  writeFile(join(path, "mesh.yaml"), renderConfiguration(configuration));
  for (const object of configuration.objects ?? []) writeFile(join(path, objectFile(object)), stringify(object));
}

export function objectFile({ kind, metadata }: KubernetesObject): string {
  return `${kind.toLowerCase()}-${metadata.namespace ?? LAB_NAMESPACE}-${metadata.name}.yaml`;
}
