/** Which record types have domain names in their data, and where. */

/**
 * Layout of a type's data, part by part: a number is that many raw bytes, `name` a domain name, `text` a
 * character-string (length byte and bytes). What follows the last part is raw.
 */
export interface DataLayout {
  readonly parts: readonly (number | "name" | "text")[];
  /** Whether names may be written compressed: only in the types of RFC 1035 (RFC 3597 §4). */
  readonly compressible: boolean;
}

const wellKnown = (...parts: DataLayout["parts"]): DataLayout => ({ parts, compressible: true });
const later = (...parts: DataLayout["parts"]): DataLayout => ({ parts, compressible: false });

/**
 * The types in which a sender may have used compression: those of RFC 1035, and those for which RFC 3597 §4 asks
 * receivers to undo it. In every other type names are never compressed, so that their bytes can be copied as they are.
 */
const LAYOUTS = new Map<number, DataLayout>([
  [2, wellKnown("name")], // NS
  [3, wellKnown("name")], // MD
  [4, wellKnown("name")], // MF
  [5, wellKnown("name")], // CNAME
  [6, wellKnown("name", "name", 20)], // SOA
  [7, wellKnown("name")], // MB
  [8, wellKnown("name")], // MG
  [9, wellKnown("name")], // MR
  [12, wellKnown("name")], // PTR
  [14, wellKnown("name", "name")], // MINFO
  [15, wellKnown(2, "name")], // MX
  [17, later("name", "name")], // RP
  [18, later(2, "name")], // AFSDB
  [21, later(2, "name")], // RT
  [24, later(18, "name")], // SIG
  [26, later(2, "name", "name")], // PX
  [30, later("name")], // NXT
  [33, later(6, "name")], // SRV
  [35, later(4, "text", "text", "text", "name")], // NAPTR
  [39, later("name")], // DNAME
]);

/** The layout of a type with names in its data; undefined: raw bytes. */
export function dataLayout(type: number): DataLayout | undefined {
  return LAYOUTS.get(type);
}
