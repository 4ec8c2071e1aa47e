/** Who and where in a question: pods and services by the names that people use. */
import { lookupName, lowerName, type NameSettings } from "../dns/mod.ts";
import { type MeshState, newWorkload, type Service, serviceKey, servicePorts, type Workload } from "../mesh/mod.ts";
import { canonicalIp, formatAddress, isIpv4, type SocketAddress } from "../net/address.ts";

/** What a question may refer to. */
export interface QuestionContext {
  readonly mesh: MeshState;
  readonly network: string;
  /** As the DNS proxy of a pod reads names. */
  readonly names: NameSettings;
}

/** The client: a workload at one of its addresses, or an address of which nothing is known. */
export interface Source {
  readonly workload: Workload | undefined;
  readonly ip: string;
}

/** What the client's application would connect to. */
export interface Destination {
  readonly address: SocketAddress;
  /** What else the question could have meant; one clause each. */
  readonly notes: readonly string[];
}

export type Found<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

/** Names that are suggested, and uids that are listed, at most. */
const FEW = 3;

function found<T>(value: T): Found<T> {
  return { ok: true, value };
}

function lost(error: string): { readonly ok: false; readonly error: string } {
  return { ok: false, error };
}

/** Namespace, if one is written, and name of `NAMESPACE/NAME`. */
function splitNamespace(text: string): { readonly namespace: string | undefined; readonly name: string } {
  const slash = text.indexOf("/");
  return slash < 0
    ? { namespace: undefined, name: text }
    : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

/** Workloads by uid, `namespace/name`, or a name that only one has. */
function workloadsNamed({ mesh }: QuestionContext, text: string): Workload[] {
  const exact = mesh.workloadByUid(text);
  if (exact !== undefined) return [exact];
  const { namespace, name } = splitNamespace(text);
  const named: Workload[] = [];
  for (const workload of mesh.workloads()) {
    if (workload.name === name && (namespace === undefined || workload.namespace === namespace)) named.push(workload);
  }
  return named;
}

function uids(workloads: readonly Workload[]): string {
  const rest = workloads.length - FEW;
  return `${workloads.map(({ uid }) => uid).sort().slice(0, FEW).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function oneOf(text: string, named: readonly Workload[]): Found<Workload> {
  const [workload, second] = named;
  if (workload === undefined) return lost(`no workload ${text}: give a uid, namespace/name or an IP`);
  return second === undefined ? found(workload) : lost(`${text} is ambiguous: ${uids(named)}`);
}

/** The canonical text of an IP, with or without the brackets that IPv6 wears before a port. */
function readIp(text: string): string | undefined {
  return canonicalIp(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text);
}

/** The client: `IP`, uid, `namespace/name` or `name`. */
export function readSource(context: QuestionContext, text: string): Found<Source> {
  const ip = readIp(text);
  if (ip !== undefined) return found({ workload: context.mesh.workloadByAddress(context.network, ip), ip });
  const named = oneOf(text, workloadsNamed(context, text));
  if (!named.ok) return named;
  const [address] = named.value.addresses;
  return address === undefined
    ? lost(`workload ${text} has no address`)
    : found({ workload: named.value, ip: address });
}

interface Target {
  readonly subject: string;
  /** The subject's canonical text, when it is an IP. */
  readonly ip: string | undefined;
  readonly port: number | undefined;
}

/** `SUBJECT[:PORT]`; IPv6 addresses may stand in brackets, and without a port also alone. */
function splitPort(text: string): Found<Target> {
  const ip = readIp(text);
  if (ip !== undefined) return found({ subject: text, ip, port: undefined });
  const colon = text.lastIndexOf(":");
  if (colon < 0) return found({ subject: text, ip: undefined, port: undefined });
  const digits = text.slice(colon + 1);
  const port = readPort(digits);
  if (port === undefined) return lost(`not a port: ${digits}`);
  const subject = text.slice(0, colon);
  return found({ subject, ip: readIp(subject), port });
}

function readPort(digits: string): number | undefined {
  const port = Number(digits);
  return /^[0-9]{1,5}$/.test(digits) && port > 0 && port < 65_536 ? port : undefined;
}

/** The port of the question, else the only one that the service has. */
function portFor({ subject, ip, port }: Target, service: Service | undefined): Found<number> {
  if (port !== undefined) return found(port);
  const ports = service === undefined ? [] : servicePorts(service);
  const [only] = ports;
  if (only !== undefined && ports.length === 1) return found(only);
  const example = ip === undefined ? `${subject}:80` : formatAddress({ ip, port: 80 });
  const which = ports.length > 0 ? `, one of ${ports.join(", ")}` : `, as in ${example}`;
  return lost(`${subject} needs a port${which}${bracketHint(subject)}`);
}

/** `fd00::4:8080` is an address, and yet probably meant as one with a port. */
function bracketHint(subject: string): string {
  const colon = subject.lastIndexOf(":");
  const ip = canonicalIp(subject.slice(0, Math.max(colon, 0)));
  const port = readPort(subject.slice(colon + 1));
  if (ip === undefined || port === undefined) return "";
  return `; brackets part an IPv6 address from its port: did you mean ${formatAddress({ ip, port })}?`;
}

/** A service by `namespace/name` or `namespace/hostname`. */
function serviceAt({ mesh, names }: QuestionContext, subject: string, clientNamespace: string): Service | undefined {
  const { namespace, name } = splitNamespace(subject);
  if (namespace === undefined) return undefined;
  return mesh.service(namespace, name) ??
    mesh.serviceByHostname(`${name}.${namespace}.svc.${names.clusterDomain}`, clientNamespace);
}

/** The client as DNS sees it. */
function asking({ network }: QuestionContext, { workload, ip }: Source): Workload {
  return workload ?? newWorkload({ network, addresses: [ip] });
}

/** In the order of the records: an explanation is the same each time. */
const UNSHUFFLED = () => 1 - Number.EPSILON;

interface NamedService {
  readonly service: Service;
  /** What the application gets of it, of the client's family if there is one; undefined: no address. */
  readonly ip: string | undefined;
}

/** The service that DNS gives for a host name in lower case. */
function resolveName(context: QuestionContext, name: string, source: Source): NamedService | undefined {
  const families = isIpv4(source.ip) ? ["IPv4", "IPv6"] as const : ["IPv6", "IPv4"] as const;
  let named: NamedService | undefined;
  for (const family of families) {
    const answer = lookupName(context.mesh, asking(context, source), name, family, context.names, UNSHUFFLED);
    if (!answer.found) return undefined;
    named = { service: answer.service, ip: answer.addresses[0] };
    if (named.ip !== undefined) break;
  }
  return named;
}

function serviceNamed(context: QuestionContext, subject: string, source: Source): NamedService | undefined {
  if (!subject.includes("/")) return resolveName(context, dnsName(subject), source);
  const service = serviceAt(context, subject, source.workload?.namespace ?? "");
  if (service === undefined) return undefined;
  const resolved = resolveName(context, lowerName(service.hostname), source);
  return resolved?.service === service ? resolved : { service, ip: vipOf(context, service, source.ip) };
}

/** A VIP of a service that the client cannot see by name. */
function vipOf({ network }: QuestionContext, service: Service, clientIp: string): string | undefined {
  const vips = service.vips.filter((vip) => vip.network === network).map(({ ip }) => ip);
  return vips.find((ip) => isIpv4(ip) === isIpv4(clientIp)) ?? vips[0];
}

/** As DNS takes host names: in lower case, without the final dot. */
function dnsName(subject: string): string {
  return lowerName(subject).replace(/\.$/, "");
}

/**
 * The destination: `IP[:PORT]`, `HOST[:PORT]`, or `NAMESPACE/NAME[:PORT]` of a service or a workload; what the client's
 * application would connect to. Host names are read as the DNS proxy of its pod does (spec/ztunnel.md §9); a service
 * comes before a workload of the same name.
 */
export function readDestination(context: QuestionContext, text: string, source: Source): Found<Destination> {
  const split = splitPort(text);
  if (!split.ok) return split;
  const target = split.value;
  const { subject, ip } = target;
  const { mesh, network } = context;
  if (ip !== undefined) {
    const service = mesh.workloadByAddress(network, ip) === undefined
      ? mesh.serviceByVip(network, ip, source.workload?.namespace ?? "")
      : undefined;
    return at(ip, portFor(target, service), []);
  }
  const named = serviceNamed(context, subject, source);
  const workloads = workloadsNamed(context, subject);
  if (named !== undefined) {
    const key = serviceKey(named.service);
    if (named.ip === undefined) return lost(`service ${key} has no address to connect to`);
    const notes = workloads.length === 0 ? [] : [
      `${subject} is read as service ${key}, and not as the pod of that name: ask for that by uid (${uids(workloads)})`,
    ];
    return at(named.ip, portFor(target, named.service), notes);
  }
  if (workloads.length === 0) return lost(nothingNamed(context, subject, source));
  const workload = oneOf(subject, workloads);
  if (!workload.ok) return workload;
  const { addresses } = workload.value;
  const address = addresses.find((candidate) => isIpv4(candidate) === isIpv4(source.ip)) ?? addresses[0];
  return address === undefined
    ? lost(`workload ${subject} has no address`)
    : at(address, portFor(target, undefined), []);
}

function at(ip: string, port: Found<number>, notes: readonly string[]): Found<Destination> {
  return port.ok ? found({ address: { ip, port: port.value }, notes }) : port;
}

/** Why a name leads nowhere, and what may have been meant. */
function nothingNamed(context: QuestionContext, subject: string, source: Source): string {
  const { mesh, names } = context;
  const namespace = source.workload?.namespace ?? "";
  const similar = suggestions(context, subject, namespace);
  const meant = similar.length === 0 ? "" : `; did you mean ${similar.join(" or ")}?`;
  const host = dnsName(subject);
  const unaddressed = mesh.serviceByHostname(host, namespace);
  if (unaddressed !== undefined) {
    return `service ${serviceKey(unaddressed)} has no address of the mesh, so other name servers answer for ${host}: ` +
      "ask about the IP that they give";
  }
  const foreign = host.includes(".") && !subject.includes("/") && !host.endsWith(`.svc.${names.clusterDomain}`) &&
    !host.endsWith(".svc");
  if (!foreign) {
    return `no service or workload ${subject}: give an IP, a service's host name, or namespace/name${meant}`;
  }
  return `${subject} is no name of the mesh, so other name servers answer for it: ask about the IP that they give${meant}`;
}

/** Services and workloads of the same name in other namespaces. */
function suggestions(context: QuestionContext, subject: string, clientNamespace: string): string[] {
  const { mesh, names } = context;
  const { namespace, name } = splitNamespace(subject);
  const host = dnsName(name);
  const dot = host.indexOf(".");
  const label = dot < 0 ? host : host.slice(0, dot);
  const list: string[] = [];
  for (const { hostname, namespace: of } of mesh.services()) {
    if (hostname !== `${label}.${of}.svc.${names.clusterDomain}`) continue;
    const visible = mesh.serviceByHostname(hostname, clientNamespace) !== undefined;
    if (visible && list.push(`${label}.${of}`) === FEW) return list;
  }
  if (namespace === undefined) return list;
  for (const workload of workloadsNamed(context, name)) {
    if (list.push(`${workload.namespace}/${workload.name}`) === FEW) break;
  }
  return list;
}
