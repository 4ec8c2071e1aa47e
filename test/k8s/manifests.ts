/** The manifests of k8s/ as data, and what the executable knows of the environment. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseAllDocuments } from "yaml";
import { loadConfig, loadWaypointConfig } from "../../src/config/mod.ts";

export const REPOSITORY = dirname(dirname(import.meta.dir));
const FOLDER = join(REPOSITORY, "k8s");

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly data?: Readonly<Record<string, string>>;
}

export interface EnvironmentEntry {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: unknown;
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: number };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env: readonly EnvironmentEntry[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly resources: unknown;
  readonly startupProbe?: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe?: Probe;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

export interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly hostPath?: { readonly path: string };
  readonly projected?: { readonly sources: readonly unknown[] };
}

/** What a DaemonSet and a Deployment have in common. */
export interface WorkloadSpec {
  readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly updateStrategy?: unknown;
  readonly template: {
    readonly metadata: {
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
    };
    readonly spec: Readonly<Record<string, unknown>> & {
      readonly serviceAccountName: string;
      readonly terminationGracePeriodSeconds: number;
      readonly containers: readonly Container[];
      readonly volumes: readonly Volume[];
    };
  };
}

export function manifestFiles(): string[] {
  return readdirSync(FOLDER).filter((name) => name.endsWith(".yaml")).sort();
}

/** The documents of a file. Throws Error with what YAML has against it. */
export function documents(file: string): unknown[] {
  return parseAllDocuments(readFileSync(join(FOLDER, file), "utf8"), { uniqueKeys: true }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw new Error(`${file}: ${problem.message}`);
    return document.toJS() as unknown;
  });
}

export function objects(file: string): KubernetesObject[] {
  return documents(file) as KubernetesObject[];
}

export function objectOf(file: string, kind: string): KubernetesObject {
  const found = objects(file).filter((object) => object.kind === kind);
  if (found.length !== 1) throw new Error(`${file} has ${found.length} of kind ${kind}`);
  return found[0]!;
}

export function workloadOf(file: string, kind: "DaemonSet" | "Deployment"): WorkloadSpec {
  return objectOf(file, kind).spec as WorkloadSpec;
}

export function containerOf(workload: WorkloadSpec): Container {
  const [container, ...more] = workload.template.spec.containers;
  if (container === undefined || more.length > 0) throw new Error("not one container");
  return container;
}

/** What Kubernetes would put in the place of `valueFrom`, by variable. */
const DOWNWARD: Readonly<Record<string, string>> = {
  HOST_IP: "192.0.2.1",
  INSTANCE_IP: "10.0.0.9",
  NODE_NAME: "node-a",
  POD_NAME: "ambient-x7k2p",
  POD_NAMESPACE: "shop",
  SERVICE_ACCOUNT: "waypoint",
  ZTUNNEL_CPU_LIMIT: "2",
};

/** The environment as the container gets it. Throws Error for a `valueFrom` that nobody knows here. */
export function environmentOf(container: Container): Record<string, string> {
  return Object.fromEntries(container.env.map(({ name, value, valueFrom }) => {
    const text = valueFrom === undefined ? value : DOWNWARD[name];
    if (text === undefined) throw new Error(`${name} has no value`);
    return [name, text];
  }));
}

/** The arguments as the container gets them: `$(NAME)` is Kubernetes' to replace. */
export function argumentsOf(container: Container): string[] {
  const env = environmentOf(container);
  return container.args.map((argument) =>
    argument.replace(/\$\(([A-Z_]+)\)/g, (_, name: string) => {
      const value = env[name];
      if (value === undefined) throw new Error(`${argument}: there is no variable ${name}`);
      return value;
    })
  );
}

export type Mode = "ztunnel" | "waypoint";

/** Names that the code asks an empty environment for. */
async function namesAsked(mode: Mode): Promise<Set<string>> {
  const asked = new Set<string>();
  const env = new Proxy<Record<string, string | undefined>>({}, {
    get(_, name) {
      if (typeof name === "string") asked.add(name);
      return undefined;
    },
  });
  await (mode === "ztunnel" ? loadConfig(env) : loadWaypointConfig(env));
  return asked;
}

const asked = { ztunnel: await namesAsked("ztunnel"), waypoint: await namesAsked("waypoint") };
const META = "ISTIO_META_";

/** Whether the mode reads a variable: by its name, or as metadata of the proxy. */
export async function isRead(mode: Mode, name: string): Promise<boolean> {
  if (asked[mode].has(name)) return true;
  if (!name.startsWith(META)) return false;
  const env = { [name]: "probe", LOCAL_XDS: "{}", XDS_ADDRESS: "", CA_ADDRESS: "embedded" };
  const loaded = await (mode === "ztunnel" ? loadConfig(env) : loadWaypointConfig(env));
  return loaded.ok && loaded.config.proxyMetadata[name.slice(META.length)] === "probe";
}
