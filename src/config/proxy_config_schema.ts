/** Shapes of Istio's MeshConfig and ProxyConfig as far as they concern us. Loaded only where there is such a document. */
import * as v from "valibot";
import type { MeshAccessLog } from "./access_log.ts";
import { parseDuration } from "./duration.ts";
import type { ProxyConfig } from "./proxy_config.ts";
import { U16 } from "./variables.ts";

const WHOLE_NUMBER = `expected a whole number from 0 to ${U16}`;
const number = v.nullish(
  v.pipe(v.number(WHOLE_NUMBER), v.integer(WHOLE_NUMBER), v.minValue(0, WHOLE_NUMBER), v.maxValue(U16, WHOLE_NUMBER)),
);
/** YAML reads `false` and `1` where a text is meant. */
const text = v.pipe(v.union([v.string(), v.number(), v.boolean()], "expected a text"), v.transform(String));

/** Text such as `5s`, as milliseconds. */
const duration = v.nullish(v.pipe(
  v.string("expected a duration such as 5s"),
  v.transform(parseDuration),
  v.number("expected a duration such as 5s"),
));

const schema = v.nullish(v.object({
  proxyMetadata: v.nullish(v.record(v.string(), text, "expected a mapping")),
  discoveryAddress: v.nullish(v.string("expected a text")),
  proxyAdminPort: number,
  statsPort: number,
  concurrency: number,
  terminationDrainDuration: duration,
  proxyHeaders: v.nullish(
    v.object({ preserveHttp1HeaderCase: v.nullish(v.boolean("expected true or false")) }, "expected a mapping"),
  ),
}, "expected a mapping"));

const accessLog = v.object({
  accessLogFile: v.nullish(v.string("expected a text")),
  accessLogEncoding: v.nullish(v.picklist(["TEXT", "JSON"], "expected TEXT or JSON")),
  accessLogFormat: v.nullish(v.string("expected a text")),
});

/** Reads a parsed document; what is wrong is added to `errors`, with `where` and the field in front. */
export function proxyConfigOf(value: unknown, where: string, errors: string[]): ProxyConfig {
  const result = v.safeParse(schema, value);
  if (!result.success) {
    for (const issue of result.issues) {
      const path = v.getDotPath(issue);
      errors.push(`${where}${path === null ? "" : `.${path}`}: ${issue.message}`);
    }
    return { proxyMetadata: {} };
  }
  const { proxyMetadata, proxyHeaders, ...plain } = result.output ?? {};
  const scalars = { ...plain, preserveHttp1HeaderCase: proxyHeaders?.preserveHttp1HeaderCase };
  const given = Object.entries(scalars).filter(([, scalar]) => scalar !== null && scalar !== undefined);
  return { ...Object.fromEntries(given), proxyMetadata: proxyMetadata ?? {} };
}

/** The mesh's access log of a parsed mesh file; undefined: it says nothing of it, or something wrong. */
export function accessLogOf(value: unknown, where: string, errors: string[]): MeshAccessLog | undefined {
  const result = v.safeParse(accessLog, value);
  if (!result.success) {
    for (const issue of result.issues) errors.push(`${where}: ${v.getDotPath(issue)}: ${issue.message}`);
    return undefined;
  }
  const { accessLogFile, accessLogEncoding, accessLogFormat } = result.output;
  const log: MeshAccessLog = {
    ...(accessLogFile && { file: accessLogFile }),
    ...(accessLogEncoding && { encoding: accessLogEncoding }),
    ...(accessLogFormat && { format: accessLogFormat }),
  };
  return Object.keys(log).length === 0 ? undefined : log;
}
