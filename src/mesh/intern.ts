/**
 * One copy of what many records say. A mesh has a hundred thousand workloads, but few namespaces, nodes, service lists
 * and port maps; a decoder makes new ones for each record.
 */
import type { GatewayAddress, Locality, PortMap } from "./workload.ts";

/** Entries of a table before it starts again. What records hold stays as it is: only sharing with later ones is lost. */
const MAX_ENTRIES = 1 << 16;

const NONE: readonly never[] = [];

const texts = new Map<string, string>();
const localities = new Map<string, Locality>();
const lists = new Map<string, readonly string[]>();
const portMaps = new Map<string, PortMap>();
const gateways = new Map<string, GatewayAddress>();

function intern<T>(table: Map<string, T>, key: string, value: T): T {
  const present = table.get(key);
  if (present !== undefined) return present;
  if (table.size >= MAX_ENTRIES) table.clear();
  table.set(key, value);
  return value;
}

/** A text that many records share: a namespace, node, network. Not for what is one record's own. */
export function internText(text: string): string {
  return text === "" ? "" : intern(texts, text, text);
}

export function internTexts(list: readonly string[]): readonly string[] {
  if (list.length === 0) return NONE;
  return intern(lists, list.length === 1 ? list[0]! : list.join("\0"), list);
}

export function internPorts(ports: PortMap): PortMap {
  return ports.length === 0 ? NONE : intern(portMaps, ports.join(), ports);
}

export function internLocality(locality: Locality): Locality {
  const { region, zone, subzone } = locality;
  return intern(localities, `${region}\0${zone}\0${subzone}`, locality);
}

export function internGateway(gateway: GatewayAddress): GatewayAddress {
  const { destination: to, hboneMtlsPort } = gateway;
  const place = to.kind === "address" ? `${to.network}\0${to.ip}` : `${to.namespace}\0${to.hostname}`;
  return intern(gateways, `${to.kind}\0${place}\0${hboneMtlsPort}`, gateway);
}
