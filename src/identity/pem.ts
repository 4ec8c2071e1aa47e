import { Buffer } from "node:buffer";

/** What a PEM block holds (RFC 7468): its label. */
export type PemLabel = "CERTIFICATE" | "CERTIFICATE REQUEST" | "PRIVATE KEY";

/** PEM of DER, with lines of 64 characters. */
export function encodePem(label: PemLabel, der: Uint8Array): string {
  const text = Buffer.from(der.buffer, der.byteOffset, der.length).toString("base64");
  const lines = text.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The blocks of one label in a text, in order, each with a final newline; text around and between is passed over. */
export function pemBlocks(label: PemLabel, text: string): string[] {
  const block = new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, "g");
  return (text.match(block) ?? []).map((pem) => `${pem}\n`);
}

/** DER of one block as pemBlocks gives it; undefined if what it holds is not base64. */
export function decodePem(block: string): Uint8Array | undefined {
  const body = block.replace(/-----[^-]+-----|\s/g, "");
  return /^[A-Za-z0-9+/]+={0,2}$/.test(body) ? Buffer.from(body, "base64") : undefined;
}
