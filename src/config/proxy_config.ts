/** The few fields of Istio's MeshConfig and ProxyConfig that concern us, from the mesh file and PROXY_CONFIG. */
import { readFile } from "node:fs/promises";
import type { MeshAccessLog } from "./access_log.ts";

/** Relative to the working directory, which is `/` in the image. */
export const MESH_FILE = "./etc/istio/config/mesh";

export interface ProxyConfig {
  readonly discoveryAddress?: string;
  readonly proxyAdminPort?: number;
  readonly statsPort?: number;
  readonly concurrency?: number;
  /** ms; waypoint mode only. */
  readonly terminationDrainDuration?: number;
  /** proxyHeaders.preserveHttp1HeaderCase: waypoint mode only. */
  readonly preserveHttp1HeaderCase?: boolean;
  readonly proxyMetadata: Readonly<Record<string, string>>;
}

export type ProxyConfigResult =
  | {
    readonly ok: true;
    readonly proxyConfig: ProxyConfig;
    /** Of the mesh file. */
    readonly accessLog?: MeshAccessLog;
  }
  | { readonly ok: false; readonly errors: readonly string[] };

const NOTHING: ProxyConfig = { proxyMetadata: {} };

/** Reads the mesh file, if there is one, and lets PROXY_CONFIG override it: scalars whole, metadata key by key. */
export async function readProxyConfig(
  environmentText: string | undefined,
  meshFile: string = MESH_FILE,
): Promise<ProxyConfigResult> {
  const errors: string[] = [];
  let base = NOTHING;
  const mesh = await readIfPresent(meshFile, errors);
  const given = environmentText !== undefined && environmentText !== "";
  if (mesh === undefined && !given) {
    return errors.length > 0 ? { ok: false, errors } : { ok: true, proxyConfig: NOTHING };
  }
  const { accessLogOf, proxyConfigOf } = await import("./proxy_config_schema.ts");
  let accessLog: MeshAccessLog | undefined;
  if (mesh !== undefined) {
    const document = await parseObject(mesh, meshFile, errors);
    if (document !== undefined) {
      base = proxyConfigOf(document["defaultConfig"], `${meshFile}: defaultConfig`, errors);
      accessLog = accessLogOf(document, meshFile, errors);
    }
  }
  let own = NOTHING;
  if (given) {
    const document = await parseObject(environmentText, "PROXY_CONFIG", errors);
    own = proxyConfigOf(document, "PROXY_CONFIG", errors);
  }
  if (errors.length > 0) return { ok: false, errors };
  return {
    ok: true,
    proxyConfig: { ...base, ...own, proxyMetadata: { ...base.proxyMetadata, ...own.proxyMetadata } },
    ...(accessLog !== undefined && { accessLog }),
  };
}

async function readIfPresent(path: string, errors: string[]): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ENOENT") errors.push(`cannot read ${path}: ${code ?? error}`);
    return undefined;
  }
}

type YamlObject = Record<string, unknown>;

/** JSON is tried first: it is what Kubernetes writes into PROXY_CONFIG, and it needs no YAML parser in memory. */
async function parseObject(text: string, where: string, errors: string[]): Promise<YamlObject | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { parse } = await import("yaml");
    try {
      value = parse(text);
    } catch (error) {
      errors.push(`${where}: ${(error as Error).message.split("\n")[0]}`);
      return undefined;
    }
  }
  if (value === null || value === undefined) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as YamlObject;
  errors.push(`${where}: expected a mapping`);
  return undefined;
}
