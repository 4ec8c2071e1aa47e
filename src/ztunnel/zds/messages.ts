import { Buffer } from "node:buffer";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { WorkloadInfo } from "../../mesh/workload.ts";

/**
 * Messages of proto/zds.proto (istio.workload.zds), one in each packet. They are read with protobuf's wire reader and
 * not with the generated schemas: those need descriptors at run time, which cost 11 MB of memory for six small messages.
 * The tests hold the two against each other.
 */
export type ZdsRequest =
  | { readonly kind: "add"; readonly uid: string; readonly info: WorkloadInfo | undefined }
  | { readonly kind: "keep"; readonly uid: string }
  | { readonly kind: "del"; readonly uid: string }
  | { readonly kind: "snapshot-sent" };

/** Size of the receive buffers of both sides; a packet that is longer is cut, and an error (spec/ztunnel.md §2.1). */
export const MAX_PACKET = 1024; // bytes

/** `ZdsHello{version: V1}`: the first packet, from us, unanswered. */
export const HELLO: Uint8Array = Uint8Array.of(0x08, 0x01);

/** What frames the text in the longest possible answer: two tags, each with a length of two bytes. */
const ACK_OVERHEAD = 6; // bytes
const ELLIPSIS = "…";

/** `WorkloadResponse{ack{error}}`, never longer than MAX_PACKET: a long error is cut, and says so by an ellipsis. */
export function encodeAck(error?: string): Uint8Array {
  const ack = new BinaryWriter();
  if (error !== undefined && error !== "") ack.tag(1, WireType.LengthDelimited).string(cut(error));
  return new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(ack.finish()).finish();
}

function cut(text: string): string {
  const room = MAX_PACKET - ACK_OVERHEAD;
  const bytes = Buffer.from(text.toWellFormed());
  if (bytes.length <= room) return text.toWellFormed();
  let end = room - Buffer.byteLength(ELLIPSIS);
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // not inside a character
  return bytes.toString("utf8", 0, end) + ELLIPSIS;
}

export type ParsedPacket =
  | { readonly ok: true; readonly request: ZdsRequest }
  | { readonly ok: false; readonly error: string };

/** What of a received packet the rules are about. */
export interface PacketShape {
  readonly bytes: Uint8Array;
  /** How many descriptors came with it. */
  readonly fdCount: number;
  /** The kernel had to cut the packet or its descriptors. */
  readonly truncated: boolean;
}

/**
 * Reads a WorkloadRequest. An `add` has exactly one descriptor, everything else none (spec/ztunnel.md §2.1). Never
 * throws; the descriptors stay the caller's whatever comes out.
 */
export function parsePacket({ bytes, fdCount, truncated }: PacketShape): ParsedPacket {
  if (truncated) {
    return refused(`packet was truncated: more than ${MAX_PACKET} bytes, too many descriptors, or none free here`);
  }
  let request: ZdsRequest | undefined;
  try {
    request = readRequest(bytes);
  } catch (error) {
    return refused(`invalid WorkloadRequest: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (request === undefined) return refused("WorkloadRequest has no known payload");
  const wanted = request.kind === "add" ? 1 : 0;
  if (fdCount !== wanted) return refused(`${request.kind} came with ${fdCount} descriptors, not ${wanted}`);
  return { ok: true, request };
}

function refused(error: string): ParsedPacket {
  return { ok: false, error };
}

/** The last member of a oneof on the wire wins; the same message twice is merged. */
function readRequest(bytes: Uint8Array): ZdsRequest | undefined {
  const reader = new BinaryReader(bytes);
  let request: ZdsRequest | undefined;
  forEachField(reader, (field, type) => {
    if (type !== WireType.LengthDelimited || field > 5 || field === 4) return false;
    const body = new BinaryReader(reader.bytes());
    if (field === 1) {
      request = readAdd(body, request?.kind === "add" ? request : { kind: "add", uid: "", info: undefined });
    } else if (field === 2) {
      request = { kind: "del", uid: readText(body, 2) ?? (request?.kind === "del" ? request.uid : "") };
    } else if (field === 5) {
      request = { kind: "keep", uid: readText(body, 1) ?? (request?.kind === "keep" ? request.uid : "") };
    } else {
      readText(body, undefined);
      request = { kind: "snapshot-sent" };
    }
    return true;
  });
  return request;
}

type AddRequest = Extract<ZdsRequest, { kind: "add" }>;

function readAdd(body: BinaryReader, before: AddRequest): AddRequest {
  let { uid, info } = before;
  forEachField(body, (field, type) => {
    if (type !== WireType.LengthDelimited || field > 2) return false;
    if (field === 1) uid = body.string(true);
    else info = readInfo(new BinaryReader(body.bytes()), info);
    return true;
  });
  return { kind: "add", uid, info };
}

function readInfo(body: BinaryReader, before: WorkloadInfo | undefined): WorkloadInfo {
  let { name, namespace, serviceAccount } = before ?? { name: "", namespace: "", serviceAccount: "" };
  forEachField(body, (field, type) => {
    if (type !== WireType.LengthDelimited || field > 3) return false;
    const text = body.string(true);
    if (field === 1) name = text;
    else if (field === 2) namespace = text;
    else serviceAccount = text;
    return true;
  });
  return { name, namespace, serviceAccount };
}

/** The string in field `wanted` (the last one there), or undefined; all else is skipped. */
function readText(body: BinaryReader, wanted: number | undefined): string | undefined {
  let text: string | undefined;
  forEachField(body, (field, type) => {
    if (type !== WireType.LengthDelimited || field !== wanted) return false;
    text = body.string(true);
    return true;
  });
  return text;
}

/** Walks over a message; a field that `take` does not read is skipped (protobuf's unknown fields). */
function forEachField(reader: BinaryReader, take: (field: number, type: WireType) => boolean): void {
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!take(field, type)) reader.skip(type, field);
  }
}
