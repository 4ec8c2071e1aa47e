/** Spreads what differs in some bits of a hash over all of its bits: texts that count up would land on few places. */
export function scatter(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 15), 0x85ebca77);
  return bits ^ (bits >>> 16);
}
