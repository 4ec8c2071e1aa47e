/** Messages of Envoy's delta ADS (envoy.service.discovery.v3, spec/ztunnel.md §3.2), without I/O. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { TextCache } from "./text_cache.ts";
import { FieldReader, within } from "./wire.ts";

/** One resource of a push. */
export interface DeltaResource {
  readonly name: string;
  readonly version: string;
  /** Of the Any inside; empty where there is none. */
  readonly typeUrl: string;
  /** The resource itself: a view of the push, so not to be kept. */
  readonly value: Uint8Array;
}

export type DeltaResourceResult =
  | { readonly ok: true; readonly resource: DeltaResource }
  | { readonly ok: false; readonly error: string };

export interface DeltaResponse {
  /** All resources of a push are of this type. */
  readonly typeUrl: string;
  /** To be given back in the answer. */
  readonly nonce: string;
  readonly systemVersion: string;
  readonly resources: DeltaResources;
  /** Names. */
  readonly removed: readonly string[];
}

export type DeltaResponseResult =
  | { readonly ok: true; readonly response: DeltaResponse }
  | { readonly ok: false; readonly error: string };

/**
 * The resources of a push, each read when it is asked for: a push of 70 000 can be worked through in parts, and between
 * them the event loop turns. Keeps the bytes of the push as long as it lives itself.
 */
export class DeltaResources {
  readonly #bytes: Uint8Array;
  readonly #bounds: readonly number[];

  /** @param bounds where each resource begins and ends in `bytes` */
  constructor(bytes: Uint8Array, bounds: readonly number[]) {
    this.#bytes = bytes;
    this.#bounds = bounds;
  }

  get length(): number {
    return this.#bounds.length / 2;
  }

  /** The resource at `i`; one that cannot be read does not keep the others from it. Throws RangeError past the end. */
  at(i: number): DeltaResourceResult {
    const [start, end] = [this.#bounds[2 * i], this.#bounds[2 * i + 1]];
    if (start === undefined || end === undefined) throw new RangeError(`no resource ${i} of ${this.length}`);
    const view = this.#bytes.subarray(start, end);
    const draft: ResourceDraft = { name: "", version: "", any: { typeUrl: "", value: NO_BYTES } };
    try {
      new FieldReader(view, texts).fields(readResource, draft);
    } catch (error) {
      return { ok: false, error: `resource ${draft.name || i}: ${within("", error).text}` };
    }
    const { name, version, any } = draft;
    return { ok: true, resource: { name, version, typeUrl: any.typeUrl, value: any.value } };
  }
}

const NO_BYTES = new Uint8Array(0);
const texts = new TextCache();

interface ResourceDraft {
  name: string;
  version: string;
  any: AnyDraft;
}

interface AnyDraft {
  typeUrl: string;
  value: Uint8Array;
}

function readResource(reader: FieldReader, field: number, into: ResourceDraft): boolean {
  if (field === 1) into.version = reader.text("version");
  else if (field === 2) reader.message("resource", readAny, into.any);
  else if (field === 3) into.name = reader.text("name");
  else return false;
  return true;
}

function readAny(reader: FieldReader, field: number, into: AnyDraft): boolean {
  if (field === 1) into.typeUrl = reader.sharedText("type_url");
  else if (field === 2) into.value = reader.view("value");
  else return false;
  return true;
}

class ResponseDraft {
  systemVersion = "";
  typeUrl = "";
  nonce = "";
  /** Of the resources, in pairs. */
  readonly bounds: number[] = [];
  readonly removed: string[] = [];
}

function readResponse(reader: FieldReader, field: number, into: ResponseDraft): boolean {
  if (field === 1) into.systemVersion = reader.text("system_version_info");
  else if (field === 2) reader.bounds("resources", into.bounds);
  else if (field === 4) into.typeUrl = reader.sharedText("type_url");
  else if (field === 5) into.nonce = reader.text("nonce");
  else if (field === 6) into.removed.push(reader.text(`removed_resources[${into.removed.length}]`));
  else return false;
  return true;
}

/** Reads the frame of a DeltaDiscoveryResponse; its resources wait until they are asked for. Never throws. */
export function decodeDeltaResponse(bytes: Uint8Array): DeltaResponseResult {
  const draft = new ResponseDraft();
  try {
    new FieldReader(bytes, texts).fields(readResponse, draft);
  } catch (error) {
    return { ok: false, error: `DeltaDiscoveryResponse: ${within("", error).text}` };
  }
  const { systemVersion, typeUrl, nonce, bounds, removed } = draft;
  const resources = new DeltaResources(bytes, bounds);
  return { ok: true, response: { systemVersion, typeUrl, nonce, removed, resources } };
}

/** JSON data, as google.protobuf.Struct holds it. */
export type StructValue =
  | null
  | boolean
  | number
  | string
  | readonly StructValue[]
  | StructFields;

/** A whole google.protobuf.Struct. */
export interface StructFields {
  readonly [key: string]: StructValue;
}

/** Who asks. */
export interface XdsNode {
  /** e.g. `ztunnel~10.244.0.3~ztunnel-a.istio-system~istio-system.svc.cluster.local` */
  readonly id: string;
  readonly metadata: StructFields;
  /** e.g. `waypoint.shop`: service account and namespace. */
  readonly cluster?: string;
  readonly locality?: XdsLocality;
}

/** Where a node is; what is empty is not known. */
export interface XdsLocality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** A subscription, or the answer to a response; what is absent or empty is not written. */
export interface DeltaRequest {
  /** In the first request of a type on a stream only. */
  readonly node?: XdsNode | undefined;
  readonly typeUrl: string;
  /** Names to add to the subscription and to take from it. Neither, in the first request: everything. */
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  /** Name → version of what is known from an earlier stream. */
  readonly initialVersions?: ReadonlyMap<string, string>;
  /** Of the response that this answers. */
  readonly nonce?: string | undefined;
  /** What was wrong with that response; it is refused by this. */
  readonly error?: string | undefined;
}

export function encodeDeltaRequest(request: DeltaRequest): Uint8Array {
  const writer = new BinaryWriter();
  if (request.node !== undefined) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writeNode(writer, request.node);
    writer.join();
  }
  writeText(writer, 2, request.typeUrl);
  for (const name of request.subscribe ?? []) writer.tag(3, WireType.LengthDelimited).string(name);
  for (const name of request.unsubscribe ?? []) writer.tag(4, WireType.LengthDelimited).string(name);
  for (const [name, version] of request.initialVersions ?? []) {
    writer.tag(5, WireType.LengthDelimited).fork();
    writeText(writer, 1, name);
    writeText(writer, 2, version);
    writer.join();
  }
  if (request.nonce !== undefined) writeText(writer, 6, request.nonce);
  if (request.error !== undefined) {
    writer.tag(7, WireType.LengthDelimited).fork(); // google.rpc.Status, with the code that is not written: 0
    writeText(writer, 2, request.error);
    writer.join();
  }
  return writer.finish();
}

function writeText(writer: BinaryWriter, field: number, text: string): void {
  if (text !== "") writer.tag(field, WireType.LengthDelimited).string(text);
}

function writeNode(writer: BinaryWriter, { id, cluster, metadata, locality }: XdsNode): void {
  writeText(writer, 1, id);
  writeText(writer, 2, cluster ?? "");
  writer.tag(3, WireType.LengthDelimited).fork();
  writeStruct(writer, metadata);
  writer.join();
  if (locality === undefined) return;
  writer.tag(4, WireType.LengthDelimited).fork();
  writeText(writer, 1, locality.region);
  writeText(writer, 2, locality.zone);
  writeText(writer, 3, locality.subzone);
  writer.join();
}

function writeStruct(writer: BinaryWriter, fields: StructFields): void {
  for (const [key, value] of Object.entries(fields)) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writeText(writer, 1, key);
    writer.tag(2, WireType.LengthDelimited).fork();
    writeValue(writer, value);
    writer.join().join();
  }
}

/** google.protobuf.Value: a oneof, whose member is written even where it is empty. */
function writeValue(writer: BinaryWriter, value: StructValue): void {
  if (value === null) writer.tag(1, WireType.Varint).uint32(0);
  else if (typeof value === "number") writer.tag(2, WireType.Bit64).double(value);
  else if (typeof value === "string") writer.tag(3, WireType.LengthDelimited).string(value);
  else if (typeof value === "boolean") writer.tag(4, WireType.Varint).bool(value);
  else if (isList(value)) {
    writer.tag(6, WireType.LengthDelimited).fork();
    for (const item of value) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writeValue(writer, item);
      writer.join();
    }
    writer.join();
  } else {
    writer.tag(5, WireType.LengthDelimited).fork();
    writeStruct(writer, value);
    writer.join();
  }
}

function isList(value: readonly StructValue[] | StructFields): value is readonly StructValue[] {
  return Array.isArray(value);
}
