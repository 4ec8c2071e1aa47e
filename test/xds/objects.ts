/** The Kubernetes objects that the captures were made from: what the tests argue with. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

type Labels = Readonly<Record<string, string>>;

interface ServicePort {
  readonly name: string;
  readonly port: number;
  /** A number, the name of a container's port, or absent for the port itself. */
  readonly targetPort?: number | string;
}

/** What the tests read of each kind. */
interface Specs {
  readonly Namespace: undefined;
  readonly Node: undefined;
  readonly Service: {
    readonly type?: "ExternalName" | "ClusterIP";
    readonly clusterIP: string;
    readonly ports: readonly ServicePort[];
    readonly selector: Labels;
  };
  readonly Pod: {
    readonly serviceAccountName: string;
    readonly nodeName: string;
    readonly hostNetwork?: boolean;
    readonly containers: readonly { readonly ports?: readonly { name: string; containerPort: number }[] }[];
  };
  readonly Gateway: { readonly gatewayClassName: string };
  readonly ServiceEntry: {
    readonly hosts: readonly string[];
    readonly addresses?: readonly string[];
    readonly ports: readonly { readonly number: number; readonly targetPort?: number }[];
  };
  readonly PeerAuthentication: {
    readonly selector?: { readonly matchLabels: Labels };
    readonly mtls: { readonly mode: string };
  };
  readonly AuthorizationPolicy: {
    readonly selector?: { readonly matchLabels: Labels };
    readonly targetRefs?: readonly unknown[];
  };
}

export type Kind = keyof Specs;

export interface KubernetesObject<K extends Kind> {
  readonly kind: K;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Labels;
    readonly annotations?: Labels;
  };
  readonly spec: Specs[K];
  /** Of pods. */
  readonly status: {
    readonly podIP: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

const FOLDER = join(import.meta.dirname, "captures", "objects");
const FILES = ["00-cluster", "10-shop", "11-bank", "12-infra", "13-egress", "22-security", "24-serviceentry"];

const objects = FILES.flatMap((file) =>
  parseAllDocuments(readFileSync(join(FOLDER, `${file}.yaml`), "utf8")).map((document) =>
    document.toJS() as KubernetesObject<Kind>
  )
);

/** All of a kind. */
export function objectsOf<K extends Kind>(kind: K): readonly KubernetesObject<K>[] {
  return objects.filter((object) => object.kind === kind) as unknown as readonly KubernetesObject<K>[];
}

export function objectOf<K extends Kind>(kind: K, name: string): KubernetesObject<K> {
  const found = objectsOf(kind).find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

/** The pods of a namespace that have all labels of the selector. */
export function podsOf(namespace: string, selector: Labels): readonly KubernetesObject<"Pod">[] {
  return objectsOf("Pod").filter(({ metadata: { namespace: own, labels } }) =>
    own === namespace && Object.entries(selector).every(([name, value]) => labels?.[name] === value)
  );
}

export function uidOf({ metadata: { namespace, name } }: KubernetesObject<"Pod">): string {
  return `Kubernetes//Pod/${namespace}/${name}`;
}

export function isReady({ status }: KubernetesObject<"Pod">): boolean {
  return !(status.conditions ?? []).some(({ type, status }) => type === "Ready" && status !== "True");
}

/** Port of a Service → port of this pod, for those that the pod has. */
export function portsFor(
  service: KubernetesObject<"Service">,
  pod: KubernetesObject<"Pod">,
): (readonly [port: number, target: number])[] {
  const named = pod.spec.containers.flatMap(({ ports }) => ports ?? []);
  return service.spec.ports.flatMap(({ port, targetPort = port }) => {
    if (typeof targetPort === "number") return [[port, targetPort] as const];
    const found = named.find(({ name }) => name === targetPort);
    return found === undefined ? [] : [[port, found.containerPort] as const];
  });
}
