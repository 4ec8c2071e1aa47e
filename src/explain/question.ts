/** Who and where in a question: pods and services by the names that people use. */
import type { MeshState, Service, Workload } from "../mesh/mod.ts";
import { canonicalIp, isIpv4, parseAddress, type SocketAddress } from "../net/address.ts";

/** What a question may refer to. */
export interface QuestionContext {
  readonly mesh: MeshState;
  readonly network: string;
  /** CLUSTER_DOMAIN */
  readonly clusterDomain: string;
}

/** The client: a workload at one of its addresses, or an address of which nothing is known. */
export interface Source {
  readonly workload: Workload | undefined;
  readonly ip: string;
}

export type Found<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

function found<T>(value: T): Found<T> {
  return { ok: true, value };
}

function lost(error: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error };
}

/** Workloads by uid, `namespace/name`, or a name that only one has. */
function workloadsNamed({ mesh }: QuestionContext, text: string): Workload[] {
  const exact = mesh.workloadByUid(text);
  if (exact !== undefined) return [exact];
  const slash = text.indexOf("/");
  const namespace = slash < 0 ? undefined : text.slice(0, slash);
  const name = text.slice(slash + 1);
  const named: Workload[] = [];
  for (const workload of mesh.workloads()) {
    if (workload.name === name && (namespace === undefined || workload.namespace === namespace)) named.push(workload);
  }
  return named;
}

function oneOf(text: string, named: readonly Workload[]): Found<Workload> {
  const [workload, second] = named;
  if (workload === undefined) return lost(`no workload ${text}: give a uid, namespace/name or an IP`);
  if (second === undefined) return found(workload);
  return lost(`${text} is ambiguous: ${named.slice(0, 5).map(({ uid }) => uid).join(", ")}`);
}

/** The client: `IP`, uid, `namespace/name` or `name`. */
export function readSource(context: QuestionContext, text: string): Found<Source> {
  const ip = canonicalIp(text);
  if (ip !== undefined) return found({ workload: context.mesh.workloadByAddress(context.network, ip), ip });
  const named = oneOf(text, workloadsNamed(context, text));
  if (!named.ok) return named;
  const [address] = named.value.addresses;
  return address === undefined
    ? lost(`workload ${text} has no address`)
    : found({ workload: named.value, ip: address });
}

/** `subject` and `port` of `SUBJECT[:PORT]`; IPv6 addresses may stand in brackets or without a port. */
function splitPort(text: string): Found<{ subject: string; port: number | undefined }> {
  const whole = parseAddress(text);
  if (whole !== undefined) return found({ subject: whole.ip, port: whole.port });
  const ip = canonicalIp(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text);
  if (ip !== undefined) return found({ subject: ip, port: undefined });
  const colon = text.lastIndexOf(":");
  if (colon < 0) return found({ subject: text, port: undefined });
  const digits = text.slice(colon + 1);
  const port = Number(digits);
  if (!/^[0-9]{1,5}$/.test(digits) || port === 0 || port > 65_535) return lost(`not a port: ${digits}`);
  return found({ subject: text.slice(0, colon), port });
}

/** Service ports of a record, without the target ports. */
function portsOf(service: Service): number[] {
  return service.ports.filter((_, index) => index % 2 === 0);
}

/** The port of the question, else the only one that the service has. */
function portFor(text: string, port: number | undefined, service: Service | undefined): Found<number> {
  if (port !== undefined) return found(port);
  if (service === undefined) return lost(`${text} needs a port, as in ${text}:80`);
  const ports = portsOf(service);
  const [only] = ports;
  if (only !== undefined && ports.length === 1) return found(only);
  return lost(`${text} needs a port, one of ${ports.join(", ")}`);
}

/** The names that a client of a namespace may mean, the most specific reading first. */
function hostnames(subject: string, namespace: string, domain: string): string[] {
  const slash = subject.indexOf("/");
  if (slash > 0) return [`${subject.slice(slash + 1)}.${subject.slice(0, slash)}.svc.${domain}`];
  const name = subject.replace(/\.$/, "");
  const labels = name.split(".").length;
  const expansions = [name];
  if (labels === 1) expansions.push(`${name}.${namespace}.svc.${domain}`);
  if (labels === 2) expansions.push(`${name}.svc.${domain}`);
  if (labels === 3 && name.endsWith(".svc")) expansions.push(`${name}.${domain}`);
  return expansions;
}

function serviceNamed(context: QuestionContext, subject: string, namespace: string): Service | undefined {
  const slash = subject.indexOf("/");
  if (slash > 0) {
    const exact = context.mesh.service(subject.slice(0, slash), subject.slice(slash + 1));
    if (exact !== undefined) return exact;
  }
  for (const hostname of hostnames(subject, namespace, context.clusterDomain)) {
    const service = context.mesh.serviceByHostname(hostname, namespace);
    if (service !== undefined) return service;
  }
  return undefined;
}

/** A VIP of the service in our network, of the client's family if there is one. */
function vipOf({ network }: QuestionContext, service: Service, clientIp: string): string | undefined {
  const vips = service.vips.filter((vip) => vip.network === network).map(({ ip }) => ip);
  return vips.find((ip) => isIpv4(ip) === isIpv4(clientIp)) ?? vips[0];
}

/** An endpoint of a service without VIPs (headless): what DNS would answer. */
function endpointOf({ mesh, network }: QuestionContext, service: Service, clientIp: string): string | undefined {
  let first: string | undefined;
  for (const uid of service.endpoints.keys()) {
    const workload = mesh.workloadByUid(uid);
    if (workload === undefined || workload.network !== network) continue;
    const same = workload.addresses.find((ip) => isIpv4(ip) === isIpv4(clientIp));
    if (same !== undefined) return same;
    first ??= workload.addresses[0];
  }
  return first;
}

/**
 * The destination: `IP[:PORT]`, `HOST[:PORT]`, or `NAMESPACE/NAME[:PORT]` of a service or a workload; what the client's
 * application would connect to. Names are read as its pod would (with the namespace of `source`).
 */
export function readDestination(context: QuestionContext, text: string, source: Source): Found<SocketAddress> {
  const split = splitPort(text);
  if (!split.ok) return split;
  const { subject, port } = split.value;
  const ip = canonicalIp(subject);
  const namespace = source.workload?.namespace ?? "";
  if (ip !== undefined) {
    const chosen = portFor(subject, port, context.mesh.serviceByVip(context.network, ip, namespace));
    return chosen.ok ? found({ ip, port: chosen.value }) : chosen;
  }
  const service = serviceNamed(context, subject, namespace);
  if (service !== undefined) {
    const chosen = portFor(subject, port, service);
    if (!chosen.ok) return chosen;
    const address = vipOf(context, service, source.ip) ?? endpointOf(context, service, source.ip);
    if (address === undefined) {
      return lost(`service ${service.namespace}/${service.hostname} has no address to connect to`);
    }
    return found({ ip: address, port: chosen.value });
  }
  const named = workloadsNamed(context, subject);
  if (named.length === 0) {
    return lost(`no service or workload ${subject}: give an IP, a service's host name, or namespace/name`);
  }
  const workload = oneOf(subject, named);
  if (!workload.ok) return workload;
  const address = workload.value.addresses.find((candidate) => isIpv4(candidate) === isIpv4(source.ip)) ??
    workload.value.addresses[0];
  if (address === undefined) return lost(`workload ${subject} has no address`);
  const chosen = portFor(subject, port, undefined);
  return chosen.ok ? found({ ip: address, port: chosen.value }) : chosen;
}
