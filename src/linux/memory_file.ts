import { Buffer } from "node:buffer";
import { readSync, writeSync } from "node:fs";
import { MFD_CLOEXEC } from "./constants.ts";
import { closeFd } from "./descriptor.ts";
import { checked, libc } from "./libc.ts";

/**
 * A file that is only memory (memfd_create(2)) and holds these bytes, for another process: what is too long for a packet.
 * Close-on-exec; the caller's to close. Throws SystemError, or the file system's error.
 */
export function memoryFile(pieces: readonly Uint8Array[]): number {
  const fd = checked(libc().memfd_create(Buffer.from("bytes\0"), MFD_CLOEXEC), "memfd_create");
  try {
    let at = 0;
    for (const piece of pieces) {
      for (let from = 0; from < piece.length;) from += writeSync(fd, piece, from, piece.length - from, at + from);
      at += piece.length;
    }
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** The bytes of a file from its start; fewer when it is shorter. Throws the file system's error. */
export function readMemoryFile(fd: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const read = readSync(fd, bytes, at, length - at, at);
    if (read === 0) break;
    at += read;
  }
  return bytes.subarray(0, at);
}
