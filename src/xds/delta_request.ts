/** Requests of Envoy's delta ADS (envoy.service.discovery.v3, spec/ztunnel.md §3.2), without I/O. */
import { Buffer } from "node:buffer";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

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
  readonly initialVersions?: Iterable<readonly [name: string, version: string]>;
  /** Of the response that this answers. */
  readonly nonce?: string | undefined;
  /** What was wrong with that response; it is refused by this. */
  readonly error?: string | undefined;
}

export function encodeDeltaRequest(request: DeltaRequest): Uint8Array {
  const writer = new DeltaRequestWriter(request);
  while (!writer.write(Infinity));
  return writer.finish().bytes;
}

/** What is around a name and its version, bytes at most: three tags with a length each. */
function frameSize(texts: number): number {
  return texts < 1 << 13 ? 9 : 18;
}

/** A written request. */
export interface WrittenRequest {
  readonly bytes: Uint8Array;
  /** Names of `initialVersions` that there was no room for. */
  readonly unlisted: Set<string>;
}

/**
 * Writes a request, some of its versions at a time: after a reconnect there may be 70 000 of them.
 *
 *     while (!writer.write(256)) await nextTurn();
 *     writer.finish()
 */
export class DeltaRequestWriter {
  readonly #pieces: Uint8Array[];
  readonly #versions: Iterator<readonly [string, string], unknown>;
  readonly #unlisted = new Set<string>();
  /** Bytes that versions may still take. */
  #room: number;

  /** @param room bytes for `initialVersions`; what is beyond is left out */
  constructor(request: DeltaRequest, room = Infinity) {
    this.#pieces = [encodeAllButVersions(request)];
    this.#versions = (request.initialVersions ?? [])[Symbol.iterator]();
    this.#room = room;
  }

  /** Writes up to `most` versions. True: that was the last. */
  write(most: number): boolean {
    const writer = new BinaryWriter();
    let done = false;
    for (let i = 0; i < most; i++) {
      const next = this.#versions.next();
      done = next.done === true;
      if (next.done === true) break;
      const [name, version] = next.value;
      const texts = Buffer.byteLength(name) + Buffer.byteLength(version);
      const size = texts + frameSize(texts);
      if (size > this.#room) {
        this.#unlisted.add(name);
        continue;
      }
      this.#room -= size;
      writer.tag(5, WireType.LengthDelimited).fork();
      writeText(writer, 1, name);
      writeText(writer, 2, version);
      writer.join();
    }
    this.#pieces.push(writer.finish());
    return done;
  }

  /** To be called once all is written. */
  finish(): WrittenRequest {
    return { bytes: Buffer.concat(this.#pieces), unlisted: this.#unlisted };
  }
}

function encodeAllButVersions(request: DeltaRequest): Uint8Array {
  const writer = new BinaryWriter();
  if (request.node !== undefined) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writeNode(writer, request.node);
    writer.join();
  }
  writeText(writer, 2, request.typeUrl);
  for (const name of request.subscribe ?? []) writer.tag(3, WireType.LengthDelimited).string(name);
  for (const name of request.unsubscribe ?? []) writer.tag(4, WireType.LengthDelimited).string(name);
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
