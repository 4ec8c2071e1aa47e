import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { CertificateError } from "./certificate.ts";

/** The messages of `istio.v1.auth.IstioCertificateService` (spec/ztunnel.md §3.4), without descriptors. */

/** gRPC path of the one method, unary. */
export const CREATE_CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/** `IstioCertificateRequest`. */
export interface CertificateRequest {
  /** PEM; field 1 */
  readonly csr: string;
  /** seconds; field 3 */
  readonly validity: number;
  /** Field 4, a Struct whose values are all texts; left out when empty. */
  readonly metadata: Readonly<Record<string, string>>;
}

export function encodeCertificateRequest({ csr, validity, metadata }: CertificateRequest): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(csr);
  writer.tag(3, WireType.Varint).int64(validity);
  const entries = Object.entries(metadata);
  if (entries.length === 0) return writer.finish();
  writer.tag(4, WireType.LengthDelimited).fork();
  for (const [key, value] of entries) {
    // Struct.fields (1): a map entry of the key (1) and a Value (2), in which string_value is 3
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string(value).join();
    writer.join();
  }
  return writer.join().finish();
}

/** `cert_chain` (1) of an `IstioCertificateResponse`. Throws CertificateError for bytes that are none. */
export function decodeCertificateResponse(bytes: Uint8Array): string[] {
  const chain: string[] = [];
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field !== 1) {
        reader.skip(type, field);
      } else if (type === WireType.LengthDelimited) {
        chain.push(reader.string());
      } else {
        throw new Error(`cert_chain has wire type ${type}`);
      }
    }
  } catch (error) {
    throw new CertificateError(`the answer is no IstioCertificateResponse: ${(error as Error).message}`);
  }
  return chain;
}
