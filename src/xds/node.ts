/** As whom the control plane knows us: node ids and their metadata (spec/ztunnel.md §3.2, spec/waypoint.md §1.1). */
import type { StructFields, StructValue, XdsLocality, XdsNode } from "./delta_request.ts";

/**
 * The version of Istio whose configuration a waypoint understands: istiod sends what is younger than that in its older
 * shape. No version of ours.
 */
export const ISTIO_VERSION = "1.29.2";

/** Labels that say nothing but which ReplicaSet made the pod. */
const LEFT_OUT_LABELS: ReadonlySet<string> = new Set(["pod-template-hash"]);
/** Labels that hold a locality, the first that is there counts. */
const LOCALITY_LABELS = ["topology.istio.io/locality", "istio-locality"] as const;

export interface ZtunnelFacts {
  readonly podName: string;
  readonly podNamespace: string;
  readonly instanceIp: string;
  /** NODE_NAME; undefined: not sent. */
  readonly nodeName: string | undefined;
  /** ISTIO_META_* and the mesh file's proxyMetadata, names without their prefix. */
  readonly metadata: Readonly<Record<string, string>>;
  /** ISTIO_METAJSON_*, parsed. */
  readonly jsonMetadata?: StructFields;
}

export function ztunnelNode(facts: ZtunnelFacts): XdsNode {
  const { podName, podNamespace, instanceIp } = facts;
  return {
    id: `ztunnel~${instanceIp}~${podName}.${podNamespace}~${podNamespace}.svc.cluster.local`,
    metadata: {
      NAME: podName,
      NAMESPACE: podNamespace,
      INSTANCE_IPS: instanceIp,
      ...known({ NODE_NAME: facts.nodeName }),
      ...facts.metadata,
      ...facts.jsonMetadata,
    },
  };
}

export interface WaypointFacts {
  readonly podName: string;
  readonly namespace: string;
  /** istiod holds it against the token. */
  readonly serviceAccount: string;
  /** Of the pod, at least one; the first is in the id. */
  readonly instanceIps: readonly [string, ...string[]];
  /** e.g. `cluster.local` */
  readonly clusterDomain: string;
  readonly clusterId: string;
  /** Empty: not sent. */
  readonly network: string;
  /** Of the pod: its Gateway's name and its kind of gateway are among them. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** NODE_NAME */
  readonly nodeName?: string | undefined;
  readonly workloadName?: string | undefined;
  readonly owner?: string | undefined;
  readonly meshId?: string | undefined;
  /** istio.io/rev */
  readonly revision?: string | undefined;
  /** Default: ISTIO_VERSION. */
  readonly istioVersion?: string | undefined;
  /** The ProxyConfig that applies to us, as JSON. */
  readonly proxyConfig?: StructValue | undefined;
  /** Further ISTIO_META_*, names without their prefix. What is above comes before it. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** ISTIO_METAJSON_*, parsed. */
  readonly jsonMetadata?: StructFields;
}

export function waypointNode(facts: WaypointFacts): XdsNode {
  const { podName, namespace, serviceAccount, instanceIps, clusterDomain } = facts;
  const locality = localityOf(facts.labels);
  return {
    id: `waypoint~${instanceIps[0]}~${podName}.${namespace}~${namespace}.svc.${clusterDomain}`,
    cluster: `${serviceAccount}.${namespace}`,
    ...(locality === undefined ? {} : { locality }),
    metadata: {
      ...facts.metadata,
      ...facts.jsonMetadata,
      NAME: podName,
      NAMESPACE: namespace,
      SERVICE_ACCOUNT: serviceAccount,
      INSTANCE_IPS: instanceIps.join(","),
      CLUSTER_ID: facts.clusterId,
      ISTIO_VERSION: facts.istioVersion ?? ISTIO_VERSION,
      LABELS: Object.fromEntries(Object.entries(facts.labels).filter(([name]) => !LEFT_OUT_LABELS.has(name))),
      ANNOTATIONS: facts.annotations,
      ...known({
        NETWORK: facts.network === "" ? undefined : facts.network,
        NODE_NAME: facts.nodeName,
        WORKLOAD_NAME: facts.workloadName,
        OWNER: facts.owner,
        MESH_ID: facts.meshId,
        ISTIO_REVISION: facts.revision,
        PROXY_CONFIG: facts.proxyConfig,
      }),
    },
  };
}

function known(values: Readonly<Record<string, StructValue | undefined>>): StructFields {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, StructValue] => entry[1] !== undefined),
  );
}

/** `region/zone/subzone`; where there is no slash, dots are taken for them, as labels may have no slashes. */
function localityOf(labels: Readonly<Record<string, string>>): XdsLocality | undefined {
  const text = LOCALITY_LABELS.map((name) => labels[name]).find((value) => value !== undefined && value !== "");
  if (text === undefined) return undefined;
  const [region = "", zone = "", subzone = ""] = text.split(text.includes("/") ? "/" : ".");
  return { region, zone, subzone };
}
