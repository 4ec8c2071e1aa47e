/** The local file of the lab's proxies, in the shape of ztunnel's LOCAL_XDS_PATH. */
import { renameSync, writeFileSync } from "node:fs";
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
  /** hostname → service port → target port */
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
  readonly policies?: readonly string[];
  readonly status?: "Healthy" | "Unhealthy";
}

export interface MeshService {
  readonly name: string;
  readonly vip: string;
  readonly ports: Readonly<Record<number, number>>;
}

/** A policy in the file's own shape. */
export type PolicyDocument = Readonly<Record<string, unknown>>;

export interface MeshConfiguration {
  readonly workloads: readonly MeshWorkload[];
  readonly services?: readonly MeshService[];
  readonly policies?: readonly PolicyDocument[];
}

export function identityOf(workload: MeshWorkload): string {
  const domain = workload.trustDomain ?? LAB_TRUST_DOMAIN;
  return `spiffe://${domain}/ns/${LAB_NAMESPACE}/sa/${serviceAccountOf(workload)}`;
}

export function serviceAccountOf(workload: MeshWorkload): string {
  return workload.serviceAccount ?? workload.pod.name;
}

export function hostnameOf(service: string): string {
  return `${service}.${LAB_NAMESPACE}.svc.cluster.local`;
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
  const workloads = configuration.workloads.map((workload) => ({
    uid: `Kubernetes//Pod/${LAB_NAMESPACE}/${workload.pod.name}`,
    name: workload.pod.name,
    namespace: LAB_NAMESPACE,
    serviceAccount: serviceAccountOf(workload),
    trustDomain: workload.trustDomain ?? LAB_TRUST_DOMAIN,
    workloadIps: [workload.pod.ip, ...(workload.pod.ip6 === undefined ? [] : [workload.pod.ip6])],
    protocol: workload.hbone ? "HBONE" : "TCP",
    node: workload.pod.node.name,
    workloadName: workload.pod.name,
    workloadType: "deployment",
    canonicalName: workload.pod.name,
    canonicalRevision: "v1",
    clusterId: "Kubernetes",
    status: workload.status ?? "Healthy",
    services: Object.fromEntries(
      Object.entries(workload.services ?? {}).map(([name, ports]) => [`${LAB_NAMESPACE}/${hostnameOf(name)}`, ports]),
    ),
    ...(workload.policies === undefined ? {} : { authorizationPolicies: workload.policies }),
  }));
  const services = (configuration.services ?? []).map((service) => ({
    name: service.name,
    namespace: LAB_NAMESPACE,
    hostname: hostnameOf(service.name),
    vips: [`/${service.vip}`],
    ports: service.ports,
  }));
  return stringify({ workloads, services, policies: configuration.policies ?? [] });
}

/** Replaces the file in one step, as an editor or a ConfigMap volume does. */
export function writeConfiguration(path: string, configuration: MeshConfiguration): void {
  writeFileSync(`${path}.new`, renderConfiguration(configuration));
  renameSync(`${path}.new`, path);
}
