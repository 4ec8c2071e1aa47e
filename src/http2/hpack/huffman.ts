/**
 * The Huffman code of RFC 7541 Appendix B. It is canonical (codes of one length go up with the symbol), so the lengths
 * alone define it. Decoding walks a table of states, four bits a step.
 */

const EOS = 256;

/** Code length in bits of every symbol, EOS last. */
const LENGTHS: Uint8Array = Uint8Array.from([
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  ...[28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  ...[5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  ...[7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  ...[6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  ...[24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  ...[21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  ...[19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  ...[26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  30,
]);

function canonicalCodes(): Uint32Array {
  const codes = new Uint32Array(LENGTHS.length);
  let code = 0;
  for (let length = 5; length <= 30; length++) {
    code = code << 1;
    for (let symbol = 0; symbol < LENGTHS.length; symbol++) {
      if (LENGTHS[symbol] === length) codes[symbol] = code++;
    }
  }
  return codes;
}

const CODES = canonicalCodes();

/** Entry of the decoding table: next state, then flags, then the symbol that this step completes. */
const STATE_MASK = 0xff;
const EMITS = 0x100;
const ACCEPTS = 0x200; // the input may end here: only ones since the last symbol, fewer than eight
const FAILS = 0x400; // the code of EOS: an error inside a string (RFC 7541 §5.2)
const SYMBOL_SHIFT = 16;

/** Nodes of the code tree: children at 2n and 2n+1; a negative child is the symbol -1-child. 0 is no child yet. */
function codeTree(): Int32Array {
  const children = new Int32Array(2 * 256);
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = LENGTHS[symbol]! - 1; bit > 0; bit--) {
      const slot = 2 * node + ((CODES[symbol]! >>> bit) & 1);
      if (children[slot] === 0) children[slot] = nodes++;
      node = children[slot]!;
    }
    children[2 * node + (CODES[symbol]! & 1)] = -1 - symbol;
  }
  return children;
}

function decodingTable(): Uint32Array {
  const children = codeTree();
  const accepting = new Set<number>();
  for (let node = 0, ones = 0; ones < 8; ones++) {
    accepting.add(node);
    node = children[2 * node + 1]!;
  }
  const table = new Uint32Array(256 * 16);
  for (let state = 0; state < 256; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const child = children[2 * node + ((nibble >>> bit) & 1)]!;
        if (child >= 0) {
          node = child;
        } else if (child === -1 - EOS) {
          entry |= FAILS;
          node = 0;
        } else {
          entry |= EMITS | ((-1 - child) << SYMBOL_SHIFT);
          node = 0;
        }
      }
      if (accepting.has(node)) entry |= ACCEPTS;
      table[state * 16 + nibble] = entry | node;
    }
  }
  return table;
}

const TABLE = decodingTable();

/** Octets that a decoded string can have at most for each encoded one: the shortest code has five bits. */
export const MAX_EXPANSION = 8 / 5;

/**
 * Decodes `from[at..end)` into `to` from offset 0, which must hold MAX_EXPANSION times as many octets.
 * Returns the decoded length, or -1 for a wrong padding or an EOS inside (RFC 7541 §5.2).
 */
export function decodeHuffman(from: Uint8Array, at: number, end: number, to: Uint8Array): number {
  let length = 0;
  let entry = ACCEPTS;
  for (let i = at; i < end; i++) {
    const octet = from[i]!;
    entry = TABLE[((entry & STATE_MASK) << 4) | (octet >>> 4)]!;
    if ((entry & (EMITS | FAILS)) !== 0) {
      if ((entry & FAILS) !== 0) return -1;
      to[length++] = entry >>> SYMBOL_SHIFT;
    }
    entry = TABLE[((entry & STATE_MASK) << 4) | (octet & 15)]!;
    if ((entry & (EMITS | FAILS)) !== 0) {
      if ((entry & FAILS) !== 0) return -1;
      to[length++] = entry >>> SYMBOL_SHIFT;
    }
  }
  return (entry & ACCEPTS) !== 0 ? length : -1;
}

/** Octets that `from[at..end)` takes in Huffman code. */
export function huffmanLength(from: Uint8Array, at: number, end: number): number {
  let bits = 0;
  for (let i = at; i < end; i++) bits += LENGTHS[from[i]!]!;
  return (bits + 7) >>> 3;
}

/** Encodes `from[at..end)` into `to` at `out`; returns the offset after it. */
export function encodeHuffman(from: Uint8Array, at: number, end: number, to: Uint8Array, out: number): number {
  let pending = 0; // bits not written yet, fewer than eight between symbols
  let count = 0;
  for (let i = at; i < end; i++) {
    const symbol = from[i]!;
    let length = LENGTHS[symbol]!;
    const code = CODES[symbol]!;
    if (length > 24) { // keeps pending within 32 bits
      length -= 8;
      pending = (pending << 8) | (code >>> length);
      to[out++] = pending >>> count;
      pending &= (1 << count) - 1;
    }
    pending = (pending << length) | (code & ((1 << length) - 1));
    count += length;
    while (count >= 8) {
      count -= 8;
      to[out++] = pending >>> count;
    }
    pending &= (1 << count) - 1;
  }
  if (count > 0) to[out++] = (pending << (8 - count)) | (0xff >>> count);
  return out;
}
