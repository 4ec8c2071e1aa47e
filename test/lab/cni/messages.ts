/**
 * The ZDS messages (istio.workload.zds) as istio-cni writes and reads them, encoded by hand: a second opinion on the
 * proxy's own codec. One packet is one message.
 */
import { Buffer } from "node:buffer";

export interface PodIdentity {
  /** Kubernetes pod UID. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** `ZdsHello{version: V1}` */
export const HELLO = Buffer.from([0x08, 0x01]);

export const SNAPSHOT_SENT = field(3, Buffer.alloc(0));

export function addMessage(pod: PodIdentity): Buffer {
  const info = Buffer.concat([text(1, pod.name), text(2, pod.namespace), text(3, pod.serviceAccount)]);
  return field(1, Buffer.concat([text(1, pod.uid), field(2, info)]));
}

/** An add that breaks the protocol: it says no workload_info. */
export function bareAddMessage(uid: string): Buffer {
  return field(1, text(1, uid));
}

export function keepMessage(uid: string): Buffer {
  return field(5, text(1, uid));
}

export function delMessage(uid: string): Buffer {
  return field(2, text(2, uid));
}

export type Ack = { readonly kind: "ack"; readonly error: string | undefined } | { readonly kind: "not an ack" };

/** Reads `WorkloadResponse{ack{error}}`. */
export function parseAck(packet: Uint8Array): Ack {
  const body = payload(packet);
  if (body === undefined) return { kind: "not an ack" };
  if (body.length === 0) return { kind: "ack", error: undefined };
  const error = payload(body);
  return error === undefined ? { kind: "not an ack" } : { kind: "ack", error: Buffer.from(error).toString() };
}

/** The payload of a message that consists of the one length-delimited field 1. */
function payload(message: Uint8Array): Uint8Array | undefined {
  if (message[0] !== 0x0a) return undefined;
  let length = 0;
  let at = 1;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = message[at++];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return at + length === message.length ? message.subarray(at) : undefined;
  }
  return undefined;
}

function text(number: number, value: string): Buffer {
  return field(number, Buffer.from(value));
}

function field(number: number, bytes: Uint8Array): Buffer {
  const size: number[] = [];
  let length = bytes.length;
  while (length > 0x7f) {
    size.push((length & 0x7f) | 0x80);
    length >>>= 7;
  }
  return Buffer.from([(number << 3) | 2, ...size, length, ...bytes]);
}
