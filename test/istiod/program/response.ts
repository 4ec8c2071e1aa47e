/** Responses of discovery, from resources that were serialised when they came into the mesh. */
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { DeltaDiscoveryResponseSchema } from "../../../proto/gen/discovery_pb.ts";
import { WORKLOAD_TYPE } from "../protocol.ts";
import { resourceBytes, type Stored, workloadOf } from "./store.ts";
import { fieldHead } from "./wire.ts";

export interface Content {
  readonly entries: readonly Uint8Array[];
  readonly names: readonly string[];
  readonly removed: readonly string[];
}

/** What is said of these resources, in a type: workloads are a view of the addresses. */
export function content(
  typeUrl: string,
  resources: readonly Stored[],
  removed: readonly string[],
  aliases?: (name: string) => readonly string[],
): Content {
  const names: string[] = [];
  const entries: Uint8Array[] = [];
  for (const stored of resources) {
    const value = typeUrl === WORKLOAD_TYPE ? workloadOf(stored) : stored.value;
    if (value === undefined) continue;
    names.push(stored.name);
    const also = aliases?.(stored.name) ?? [];
    const isPlain = also.length === 0 && typeUrl !== WORKLOAD_TYPE;
    const anyTypeUrl = typeUrl === WORKLOAD_TYPE ? WORKLOAD_TYPE : stored.anyTypeUrl;
    entries.push(isPlain ? stored.entry : resourceBytes(stored.name, stored.version, value, anyTypeUrl, also));
  }
  return { entries, names, removed };
}

/** DeltaDiscoveryResponse, its fields in the order of their numbers; the resources were serialised before. */
export function responseBytes(
  typeUrl: string,
  version: string,
  nonce: string,
  { entries, removed }: Content,
): Uint8Array {
  const part = (fields: Parameters<typeof create<typeof DeltaDiscoveryResponseSchema>>[1]) =>
    toBinary(DeltaDiscoveryResponseSchema, create(DeltaDiscoveryResponseSchema, fields));
  return Buffer.concat([
    part({ systemVersionInfo: version }),
    ...entries.flatMap((entry) => [fieldHead(2, entry.length), entry]),
    part({ typeUrl, nonce, removedResources: [...removed] }),
  ]);
}

/** istiod's: the version of the push, and chance. */
export function newNonce(version: string): string {
  return `${version}${randomUUID()}`;
}
