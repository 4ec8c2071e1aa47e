/** A local file from text to records, with everything that is wrong in it. Pure. Loads zod and yaml. */
import type { ZodIssue } from "zod/v3";
import { formatGateway, type GatewayAddress, workloadIdentity } from "../mesh/workload.ts";
import { type Service, serviceKey } from "../mesh/service.ts";
import { policyKey } from "../policy/policy.ts";
import { parseIdentity } from "../identity/spiffe.ts";
import {
  convertPolicy,
  convertService,
  convertWorkload,
  membershipsOfService,
  membershipsOfWorkload,
  uidOf,
} from "./local_convert.ts";
import type {
  DocumentError,
  DocumentResult,
  DocumentWarning,
  LoadOptions,
  LocalDocument,
  LocalFile,
} from "./local_document.ts";
import { localSchema, type LocalYaml } from "./local_schema.ts";
import { parseYaml, type ValuePath, type YamlText } from "./local_yaml.ts";

/** Reads the files of local state: what is wrong anywhere in them refuses all of them. */
export function parseLocalState(files: readonly LocalFile[], options: LoadOptions): DocumentResult {
  const [file, second] = files;
  if (file === undefined || second !== undefined || options.waypoint !== undefined) {
    const message = "only one file, and no waypoint, can be read in this version";
    return { ok: false, errors: [{ path: file?.path ?? "", line: 1, column: 1, message }] };
  }
  return parseLocalDocument(file.text, file.path);
}

/**
 * Reads a local file.
 *
 * @param path how errors name the file
 */
export function parseLocalDocument(text: string, path: string): DocumentResult {
  const parsed = parseYaml(text, path);
  if (!parsed.ok) return parsed;
  const { yaml } = parsed;
  // A file that is being written in place is empty for a moment: that must not mean an empty mesh.
  if (yaml.value === null || yaml.value === undefined) {
    const message = 'the document is empty; an empty mesh is written as "workloads: []"';
    return { ok: false, errors: [{ path, line: 1, column: 1, message }] };
  }
  const result = localSchema.safeParse(yaml.value);
  if (!result.success) {
    return { ok: false, errors: result.error.issues.flatMap((issue) => describeIssue(issue, yaml, path)) };
  }
  const errors = findConflicts(result.data, yaml, path);
  if (errors.length > 0) return { ok: false, errors };
  const document = convert(result.data);
  return { ok: true, document, waypoint: undefined, warnings: findDoubts(result.data, document, yaml, path) };
}

function convert(yaml: LocalYaml): LocalDocument {
  const workloads = yaml.workloads ?? [];
  const services = yaml.services ?? [];
  return {
    workloads: workloads.map(convertWorkload),
    memberships: [...services.flatMap(membershipsOfService), ...workloads.flatMap(membershipsOfWorkload)],
    services: services.map(convertService),
    policies: (yaml.policies ?? []).map(convertPolicy),
  };
}

/** `workloads[3].workloadIps[0]`; keys that are no plain words are quoted: `services["shop/cart"]`. */
function formatPath(path: ValuePath): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}

function at(yaml: YamlText, file: string, path: ValuePath, message: string): DocumentError {
  const where = formatPath(path);
  return { path: file, ...yaml.locate(path), message: where === "" ? message : `${where}: ${message}` };
}

/** One error for each unknown field, one for anything else. */
function describeIssue(issue: ZodIssue, yaml: YamlText, file: string): DocumentError[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      path: file,
      ...yaml.locateKey(issue.path, key),
      message: `${formatPath([...issue.path, key])}: no such field here`,
    }));
  }
  return [at(yaml, file, issue.path, issueText(issue))];
}

function issueText(issue: ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.received === "undefined" ? "required" : `expected ${issue.expected}, got ${issue.received}`;
    case "invalid_enum_value":
      return `expected ${issue.options.join(" or ")}, got ${JSON.stringify(issue.received)}`;
    case "too_small":
      return `must be at least ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

/** Things that may exist once only, and policies that do not exist. */
function findConflicts(yaml: LocalYaml, text: YamlText, file: string): DocumentError[] {
  const errors: DocumentError[] = [];
  const once = (what: string) => {
    const first = new Map<string, ValuePath>();
    return (key: string, path: ValuePath) => {
      const before = first.get(key);
      if (before === undefined) first.set(key, path);
      else errors.push(at(text, file, path, `${what} ${key} is already at ${formatPath(before)}`));
    };
  };
  const workload = once("workload");
  for (const [i, item] of (yaml.workloads ?? []).entries()) {
    const path = ["workloads", i];
    workload(uidOf(item), item.uid === undefined ? path : [...path, "uid"]);
  }
  const service = once("service");
  for (const [i, item] of (yaml.services ?? []).entries()) {
    service(serviceKey(item), ["services", i, "hostname"]);
    for (const [uid, endpoint] of Object.entries(item.endpoints ?? {})) {
      if (endpoint.workloadUid === uid) continue;
      const path = ["services", i, "endpoints", uid, "workloadUid"];
      errors.push(at(text, file, path, `${endpoint.workloadUid} is not the key ${uid} that it stands under`));
    }
  }
  const policy = once("policy");
  const policies = new Set<string>();
  for (const [i, item] of (yaml.policies ?? []).entries()) {
    policy(policyKey(item), ["policies", i, "name"]);
    policies.add(policyKey(item));
  }
  // A policy that is not there protects nothing: a slip of the pen must not open a workload.
  for (const [i, item] of (yaml.workloads ?? []).entries()) {
    for (const [j, key] of (item.authorizationPolicies ?? []).entries()) {
      if (policies.has(key)) continue;
      errors.push(at(text, file, ["workloads", i, "authorizationPolicies", j], `no policy ${key} in this file`));
    }
  }
  return errors;
}

/** References that lead nowhere, and names that no certificate can bear: legal, since what they mean may come later. */
function findDoubts(yaml: LocalYaml, document: LocalDocument, text: YamlText, file: string): DocumentWarning[] {
  const warnings: DocumentWarning[] = [];
  const doubt = (path: ValuePath, message: string) => warnings.push(at(text, file, path, message));
  const services = new Set(document.services.map(serviceKey));
  const uids = new Set(document.workloads.map(({ uid }) => uid));
  const places = knownPlaces(document);
  const gateway = (address: GatewayAddress | undefined, path: ValuePath) => {
    const to = address && formatGateway(address.destination);
    if (to !== undefined && !places.has(to)) doubt(path, `nothing in this file is at ${to}`);
  };

  for (const [i, item] of (yaml.workloads ?? []).entries()) {
    const path = ["workloads", i];
    const record = document.workloads[i]!;
    if (record.protocol === "HBONE" && parseIdentity(workloadIdentity(record)) === undefined) {
      doubt(path, `${workloadIdentity(record)} is no SPIFFE id: HBONE needs trustDomain and serviceAccount`);
    }
    for (const key of Object.keys(item.services)) {
      if (!services.has(key)) doubt([...path, "services", key], "no such service in this file");
    }
    gateway(record.waypoint, [...path, "waypoint", "destination"]);
    gateway(record.networkGateway, [...path, "networkGateway", "destination"]);
  }
  for (const [i, service] of document.services.entries()) {
    const path = ["services", i];
    for (const uid of Object.keys(yaml.services?.[i]?.endpoints ?? {})) {
      if (!uids.has(uid)) doubt([...path, "endpoints", uid], "no such workload in this file");
    }
    for (const [j, name] of service.subjectAltNames.entries()) {
      if (parseIdentity(name) === undefined) doubt([...path, "subjectAltNames", j], `${name} is no SPIFFE id; ignored`);
    }
    gateway(service.waypoint, [...path, "waypoint", "destination"]);
  }
  return warnings;
}

/** Everything that a waypoint or gateway reference can lead to, as formatGateway writes it. */
function knownPlaces(document: LocalDocument): Set<string> {
  const places = new Set<string>();
  const service = (item: Service) => {
    places.add(serviceKey(item));
    for (const { network, ip } of item.vips) places.add(`${network}/${ip}`);
  };
  document.services.forEach(service);
  for (const workload of document.workloads) {
    for (const ip of workload.addresses) places.add(`${workload.network}/${ip}`);
    if (workload.hostname !== "") places.add(`${workload.namespace}/${workload.hostname}`);
  }
  return places;
}
