/** istio.workload.GatewayAddress, NetworkAddress and NamespacedHostname. */
import type { GatewayAddress, GatewayDestination } from "../../mesh/workload.ts";
import { BadField, type FieldReader } from "../wire.ts";
import { ipOf } from "./cidr.ts";
import { sharedGateway } from "./shared.ts";

/** What has been read of a NetworkAddress. */
export interface AddressDraft {
  network: string;
  /** A view of what is being read. */
  bytes: Uint8Array | undefined;
  /** Of the prefix, in bits. */
  length: number | undefined;
}

export function newAddressDraft(): AddressDraft {
  return { network: "", bytes: undefined, length: undefined };
}

export function readNetworkAddress(reader: FieldReader, field: number, into: AddressDraft): boolean {
  if (field === 1) into.network = reader.sharedText("network");
  else if (field === 2) into.bytes = reader.view("address");
  else if (field === 3) into.length = reader.uint32("length");
  else return false;
  return true;
}

interface HostnameDraft {
  namespace: string;
  hostname: string;
}

function readNamespacedHostname(reader: FieldReader, field: number, into: HostnameDraft): boolean {
  if (field === 1) into.namespace = reader.sharedText("namespace");
  else if (field === 2) into.hostname = reader.sharedText("hostname");
  else return false;
  return true;
}

/** What has been read of a GatewayAddress: of its two destinations the one that came last. */
export class GatewayDraft {
  address: AddressDraft | undefined;
  hostname: HostnameDraft | undefined;
  port = 0;
}

export function readGateway(reader: FieldReader, field: number, into: GatewayDraft): boolean {
  if (field === 1) {
    into.address = undefined;
    reader.message("hostname", readNamespacedHostname, into.hostname ??= { namespace: "", hostname: "" });
  } else if (field === 2) {
    into.hostname = undefined;
    reader.message("address", readNetworkAddress, into.address ??= newAddressDraft());
  } else if (field === 3) {
    into.port = toPort(reader.uint32("hbone_mtls_port"));
  } else {
    return false;
  }
  return true;
}

/** The 16 bits that are a port; the others are cut off, as ztunnel does. */
export function toPort(number: number): number {
  return number & 0xffff;
}

/** Throws BadField where the destination is missing. */
export function toGateway(draft: GatewayDraft, path: string): GatewayAddress {
  return sharedGateway({ destination: destinationOf(draft, path), hboneMtlsPort: draft.port });
}

function destinationOf({ address, hostname }: GatewayDraft, path: string): GatewayDestination {
  if (hostname !== undefined) {
    return { kind: "hostname", namespace: hostname.namespace, hostname: hostname.hostname };
  }
  if (address === undefined) throw new BadField(path, "neither address nor hostname");
  return { kind: "address", network: address.network, ip: ipOf(address.bytes, `${path}.address`) };
}
