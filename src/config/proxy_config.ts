/** The few fields of Istio's ProxyConfig that concern ztunnel, from the mesh file and PROXY_CONFIG. */
import { readFile } from "node:fs/promises";
import { U16 } from "./variables.ts";

/** Relative to the working directory, which is `/` in the image. */
export const MESH_FILE = "./etc/istio/config/mesh";

export interface ProxyConfig {
  readonly discoveryAddress?: string;
  readonly proxyAdminPort?: number;
  readonly statsPort?: number;
  readonly concurrency?: number;
  readonly proxyMetadata: Readonly<Record<string, string>>;
}

export type ProxyConfigResult =
  | { readonly ok: true; readonly proxyConfig: ProxyConfig }
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
  if (mesh !== undefined) {
    const document = await parseObject(mesh, meshFile, errors);
    if (document !== undefined) base = proxyConfigOf(document["defaultConfig"], `${meshFile}: defaultConfig`, errors);
  }
  let own = NOTHING;
  if (environmentText !== undefined && environmentText !== "") {
    const document = await parseObject(environmentText, "PROXY_CONFIG", errors);
    own = proxyConfigOf(document, "PROXY_CONFIG", errors);
  }
  if (errors.length > 0) return { ok: false, errors };
  return {
    ok: true,
    proxyConfig: { ...base, ...own, proxyMetadata: { ...base.proxyMetadata, ...own.proxyMetadata } },
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

function proxyConfigOf(value: unknown, where: string, errors: string[]): ProxyConfig {
  if (value === undefined || value === null) return NOTHING;
  if (typeof value !== "object" || Array.isArray(value)) {
    errors.push(`${where}: expected a mapping`);
    return NOTHING;
  }
  const document = value as YamlObject;
  const config: { -readonly [K in keyof ProxyConfig]: ProxyConfig[K] } = {
    proxyMetadata: metadataOf(document["proxyMetadata"], where, errors),
  };
  const address = document["discoveryAddress"];
  if (typeof address === "string") config.discoveryAddress = address;
  else if (address !== undefined && address !== null) errors.push(`${where}.discoveryAddress: expected a text`);
  for (const [field, maximum] of [["proxyAdminPort", U16], ["statsPort", U16], ["concurrency", U16]] as const) {
    const number = document[field];
    if (number === undefined || number === null) continue;
    if (typeof number === "number" && Number.isInteger(number) && number >= 0 && number <= maximum) {
      config[field] = number;
    } else {
      errors.push(`${where}.${field}: expected a whole number from 0 to ${maximum}`);
    }
  }
  return config;
}

function metadataOf(value: unknown, where: string, errors: string[]): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    errors.push(`${where}.proxyMetadata: expected a mapping`);
    return {};
  }
  const metadata: Record<string, string> = {};
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "string" || typeof item === "number" || typeof item === "boolean") metadata[key] = String(item);
    else errors.push(`${where}.proxyMetadata.${key}: expected a text`);
  }
  return metadata;
}
