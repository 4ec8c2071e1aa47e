/** istio.workload.Address: one workload or one service of the mesh. */
import { type Service, serviceKey } from "../../mesh/service.ts";
import type { WorkloadUpdate } from "../../mesh/update.ts";
import { shortName } from "../shortened.ts";
import { TextCache } from "../text_cache.ts";
import { BadField, type FieldReader, Readers, within } from "../wire.ts";
import { readService, ServiceDraft, toService } from "./service.ts";
import { readWorkload, toWorkload, WorkloadDraft } from "./workload.ts";

export const ADDRESS_TYPE = "type.googleapis.com/istio.workload.Address";

/** A record of the mesh. */
export type DecodedAddress =
  | { readonly kind: "workload"; readonly update: WorkloadUpdate }
  | { readonly kind: "service"; readonly service: Service };

export type AddressResult =
  | { readonly ok: true; readonly address: DecodedAddress }
  /** Says which resource and which field, e.g. `workload Kubernetes//Pod/shop/web-1: status: unknown value 7`. */
  | { readonly ok: false; readonly error: string };

/** What has been read of an Address: of workload and service the one that came last. */
class AddressDraft {
  workload: WorkloadDraft | undefined;
  service: ServiceDraft | undefined;
}

/** Of the workload of the present record; empty between two, as it may have views of what was read. */
const workloadDraft = new WorkloadDraft();

function readAddress(reader: FieldReader, field: number, into: AddressDraft): boolean {
  if (field === 1) {
    into.service = undefined;
    reader.message("", readWorkload, into.workload = workloadDraft);
  } else if (field === 2) {
    into.workload?.reset();
    into.workload = undefined;
    reader.message("", readService, into.service ??= new ServiceDraft());
  } else {
    return false;
  }
  return true;
}

const readers = new Readers(new TextCache());

/**
 * Reads one Address and converts it (spec/ztunnel.md §3.3). The record keeps nothing of `bytes`. Bytes that are no
 * Address, and an Address that does not mean anything, give an error; nothing is thrown.
 */
export function decodeAddress(bytes: Uint8Array): AddressResult {
  const draft = new AddressDraft();
  try {
    readers.over(bytes).fields(readAddress, draft);
    const { workload, service } = draft;
    if (workload !== undefined) return { ok: true, address: { kind: "workload", update: toWorkload(workload) } };
    if (service !== undefined) return { ok: true, address: { kind: "service", service: toService(service) } };
    throw new BadField("", "neither workload nor service");
  } catch (error) {
    return { ok: false, error: `${nameOf(draft)}: ${within("", error).text}` };
  } finally {
    draft.workload?.reset();
  }
}

/** As far as it was read. */
function nameOf({ workload, service }: AddressDraft): string {
  if (workload !== undefined) {
    const { uid, namespace, name } = workload;
    return uid === "" && name === "" ? "workload" : `workload ${shortName(uid || `${namespace}/${name}`)}`;
  }
  if (service === undefined) return "address";
  return service.hostname === "" ? "service" : `service ${shortName(serviceKey(service))}`;
}
