/** The mesh's own access log: Istio's accessLogFile, accessLogEncoding and accessLogFormat (spec/waypoint.md §4.4). */
import type { AccessLog, JsonFormat } from "../waypoint/snapshot/mod.ts";
import type { Variables } from "./variables.ts";

export type AccessLogEncoding = "TEXT" | "JSON";

/** As the mesh file has it; an empty text is as good as none. */
export interface MeshAccessLog {
  readonly file?: string | undefined;
  readonly encoding?: AccessLogEncoding | undefined;
  readonly format?: string | undefined;
}

export interface AccessLogConfig {
  /** What every chain writes unless a Telemetry says otherwise; undefined: nothing, there is no accessLogFile. */
  readonly accessLog: AccessLog | undefined;
  /** Format of Telemetry's provider `envoy`, which is that of the mesh; undefined: Istio's default text. */
  readonly accessLogFormat: AccessLog["format"];
}

/**
 * ACCESS_LOG_FILE, ACCESS_LOG_ENCODING and ACCESS_LOG_FORMAT, each of them over the mesh file's field. A format with an
 * operator that is none is an error of where it was given.
 *
 * @param meshFile how errors name the mesh file
 */
export async function readAccessLog(
  variables: Variables,
  mesh: MeshAccessLog,
  meshFile: string,
): Promise<AccessLogConfig> {
  const path = variables.text("ACCESS_LOG_FILE") ?? mesh.file ?? "";
  const encoding = variables.oneOf("ACCESS_LOG_ENCODING", ["TEXT", "JSON"]) ?? mesh.encoding ?? "TEXT";
  const own = variables.text("ACCESS_LOG_FORMAT");
  const accessLogFormat = await formatOf(own ?? mesh.format ?? "", encoding, (reason) => {
    if (own !== undefined) variables.invalid("ACCESS_LOG_FORMAT", reason);
    else variables.errors.push(`${meshFile}: accessLogFormat: ${reason}`);
  });
  const accessLog = path === "" ? undefined : { path, format: accessLogFormat, filter: undefined };
  return { accessLog, accessLogFormat };
}

/** Loads what knows the operators only for a format that is given. */
async function formatOf(
  given: string,
  encoding: AccessLogEncoding,
  refuse: (reason: string) => void,
): Promise<AccessLog["format"]> {
  if (given === "" && encoding === "TEXT") return undefined;
  const { compileFormat, compileJsonFormat, ISTIO_JSON_FORMAT } = await import("../waypoint/telemetry/mod.ts");
  if (encoding === "TEXT") {
    const text = given.endsWith("\n") ? given : `${given}\n`; // as istiod has it
    const compiled = compileFormat(text);
    if (!compiled.ok) refuse(compiled.error);
    return { kind: "text", text };
  }
  const fields = given === "" ? ISTIO_JSON_FORMAT : jsonFormat(given, refuse);
  if (fields === undefined) return undefined;
  const compiled = compileJsonFormat(fields);
  if (!compiled.ok) refuse(compiled.error);
  return { kind: "json", fields };
}

function jsonFormat(text: string, refuse: (reason: string) => void): JsonFormat | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    refuse(`with encoding JSON it is an object of JSON: ${(error as Error).message}`);
    return undefined;
  }
  if (isJsonFormat(value)) return value;
  refuse("with encoding JSON it is an object of JSON with texts, or objects of such, as values");
  return undefined;
}

function isJsonFormat(value: unknown): value is JsonFormat {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((field) => typeof field === "string" || isJsonFormat(field));
}
