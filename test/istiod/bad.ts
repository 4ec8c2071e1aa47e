/** Addresses that a client has to refuse, each for another reason; none is of use to anybody. */
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { AddressSchema, TunnelProtocol } from "../../proto/gen/workload_pb.ts";
import { podUid, serviceText, workloadText } from "./content.ts";
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, type ResourceText } from "./protocol.ts";

/** No value of any enum of istio.workload has it. */
const UNKNOWN_ENUM = 77 as TunnelProtocol;

export interface BadResources {
  /** A tunnel protocol that does not exist. */
  readonly unknownEnum: ResourceText;
  /** LEGACY_ISTIO_MTLS, which ztunnel does not speak. */
  readonly legacyTunnel: ResourceText;
  /** An address of five bytes. */
  readonly badIp: ResourceText;
  /** Bytes that are no protobuf at all. */
  readonly garbage: ResourceText;
  /** A message that ends in the middle of a field. */
  readonly truncated: ResourceText;
  /** The Any names the other type. */
  readonly wrongType: ResourceText;
  /** Neither workload nor service. */
  readonly empty: ResourceText;
  /** A waypoint without a destination. */
  readonly waypointNowhere: ResourceText;
  /** A service's endpoints under a key without a slash. */
  readonly badServiceKey: ResourceText;
}

export function badResources(): BadResources {
  const base = (name: string) => ({ uid: podUid("default", name), name, namespace: "default" });
  const raw = (name: string, value: Uint8Array, anyTypeUrl = ADDRESS_TYPE): ResourceText => ({
    typeUrl: ADDRESS_TYPE,
    name: podUid("default", name),
    value: Buffer.from(value).toString("base64"),
    anyTypeUrl,
  });
  const whole = Buffer.from(workloadText(base("bad-truncated")).value, "base64");
  return {
    unknownEnum: workloadText({ ...base("bad-enum"), tunnelProtocol: UNKNOWN_ENUM }),
    legacyTunnel: workloadText({ ...base("bad-tunnel"), tunnelProtocol: TunnelProtocol.LEGACY_ISTIO_MTLS }),
    badIp: workloadText({ ...base("bad-ip"), addresses: [Uint8Array.of(10, 1, 2, 3, 4)] }),
    garbage: raw("bad-garbage", Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
    truncated: raw("bad-truncated", whole.subarray(0, whole.length - 3)),
    wrongType: raw("bad-type", whole, AUTHORIZATION_TYPE),
    empty: raw("bad-empty", toBinary(AddressSchema, create(AddressSchema, {}))),
    waypointNowhere: workloadText({ ...base("bad-waypoint"), waypoint: { hboneMtlsPort: 15008 } }),
    badServiceKey: workloadText({ ...base("bad-service"), services: { "no-slash": { ports: [] } } }),
  };
}

/** A service with an address of five bytes, and text that is not UTF-8 in its name. */
export function badService(): ResourceText {
  const service = serviceText({ name: "bad", addresses: [], ports: { 80: 80 } });
  const writer = new BinaryWriter();
  const message = Buffer.from(service.value, "base64");
  writer.tag(2, WireType.LengthDelimited);
  // Service.name again, with a byte that begins no character; the last one counts.
  writer.bytes(Buffer.concat([message.subarray(2), Uint8Array.of(0x0a, 2, 0xc3, 0x28)]));
  return { ...service, value: Buffer.from(writer.finish()).toString("base64") };
}
