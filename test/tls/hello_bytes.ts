/** ClientHellos by our own hand: right ones, and ones that are wrong in one place. */

export const word = (value: number): number[] => [value >> 8 & 255, value & 255];
export const vector = (bytes: readonly number[], lengthSize = 2): number[] => [
  ...(lengthSize === 1 ? [bytes.length] : lengthSize === 2 ? word(bytes.length) : [0, ...word(bytes.length)]),
  ...bytes,
];
export const octets = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));
export const extension = (type: number, content: readonly number[]): number[] => [...word(type), ...vector(content)];
export const hostName = (name: string): number[] => [0, ...vector(octets(name))];
export const serverName = (...names: readonly number[][]): number[] => extension(0, vector(names.flat()));

export interface HelloParts {
  /** Whole extensions; undefined: no block of extensions at all. */
  readonly extensions?: readonly number[][] | undefined;
  readonly sessionId?: number;
  readonly trailing?: readonly number[];
}

/** Body of a ClientHello. */
export function helloBody({ extensions, sessionId = 32, trailing = [] }: HelloParts): number[] {
  return [
    ...[3, 3],
    ...Array.from({ length: 32 }, (_, i) => i),
    ...vector(Array<number>(sessionId).fill(7), 1),
    ...vector([...word(0x1301), ...word(0x1302)]),
    ...vector([0], 1),
    ...(extensions === undefined ? [] : vector(extensions.flat())),
    ...trailing,
  ];
}

export const message = (body: readonly number[], type = 1): number[] => [type, ...vector(body, 3)];

/** Cuts a message into records of these sizes; the last takes the rest. */
export function records(bytes: readonly number[], sizes: readonly number[] = [], version = 1): Uint8Array {
  const all: number[] = [];
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const piece = bytes.slice(at, at + size);
    all.push(22, 3, version, ...vector(piece));
    at += size;
    if (at >= bytes.length) break;
  }
  return new Uint8Array(all);
}

/** What a client sends first when it asks for this server. */
export function clientHello(name: string | undefined): Uint8Array {
  const named = name === undefined ? [] : [serverName(hostName(name))];
  return records(
    message(helloBody({ extensions: [extension(43, [2, 3, 4]), ...named, extension(10, [0, 2, 0, 29])] })),
  );
}
