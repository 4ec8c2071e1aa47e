import { Buffer } from "node:buffer";
import { DER, DerCursor } from "./der_cursor.ts";

/** Kinds of text that say the same in the same octets, as far as ASCII goes. */
const TEXT_TAGS = new Set([
  0x0c, /* UTF8String */
  0x13, /* PrintableString */
  0x14, /* T61String */
  0x16, /* IA5String */
]);

/**
 * A Name (RFC 5280 §4.1.2.4) as a text by which two can be compared. An authority may write its name in one kind of
 * string into certificates and in another into lists; case and runs of spaces do not count (§7.1). Throws MalformedDer.
 *
 * @param cursor whose last element is the Name
 */
export function nameKey(cursor: DerCursor): string {
  const names = cursor.inside();
  const set = new DerCursor(cursor.bytes);
  const attribute = new DerCursor(cursor.bytes);
  let key = "";
  while (!names.atEnd) {
    names.read(DER.set);
    set.within(names);
    while (!set.atEnd) {
      set.read(DER.sequence);
      attribute.within(set);
      attribute.read(DER.oid);
      key += `${hex(attribute.content())}=`;
      const tag = attribute.tag;
      attribute.read();
      key += TEXT_TAGS.has(tag) ? text(attribute.content()) : `#${hex(attribute.content())}`;
      attribute.finish();
      key += set.atEnd ? ";" : "+";
    }
  }
  return key;
}

function text(bytes: Uint8Array): string {
  const escaped = latin1(bytes).trim().replace(/ +/g, " ").replace(/[\\=;+#]/g, "\\$&");
  return escaped.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
