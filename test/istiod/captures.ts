/** Responses of a real istiod, recorded as they came. */
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { DeltaDiscoveryResponseSchema } from "../../proto/gen/discovery_pb.ts";
import type { ResourceText } from "./protocol.ts";

export interface Recorded {
  readonly resources: readonly ResourceText[];
  /** Names by type. */
  readonly removed: Readonly<Record<string, readonly string[]>>;
}

/** What a stream had told when its responses (files, in order) had come. */
export function readCapture(files: readonly string[]): Recorded {
  const resources = new Map<string, ResourceText>();
  const removed: Record<string, string[]> = {};
  for (const file of files) {
    const response = fromBinary(DeltaDiscoveryResponseSchema, new Uint8Array(readFileSync(file)));
    const { typeUrl } = response;
    for (const { name, version, resource } of response.resources) {
      const value = Buffer.from(resource?.value ?? new Uint8Array()).toString("base64");
      resources.set(`${typeUrl} ${name}`, { typeUrl, name, version, value, anyTypeUrl: resource?.typeUrl ?? "" });
      removed[typeUrl] = (removed[typeUrl] ?? []).filter((gone) => gone !== name);
    }
    for (const name of response.removedResources) {
      resources.delete(`${typeUrl} ${name}`);
      (removed[typeUrl] ??= []).push(name);
    }
  }
  return { resources: [...resources.values()], removed };
}
