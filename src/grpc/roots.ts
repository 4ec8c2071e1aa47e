/** Roots that a control plane is verified against: where they come from, and what is taken for some. */
import { readFileSync, statSync } from "node:fs";
import { decodePem, DerError, parseCertificate, pemBlocks } from "../identity/mod.ts";
import { SYSTEM_ROOT_FILES } from "../tls/system_roots.ts";

/** XDS_ROOT_CA and CA_ROOT_CA as the configuration understands them (spec/ztunnel.md §1.3). */
export type RootsSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "pem"; readonly pem: string };

/** A bundle that names more is no bundle. */
const MAX_ROOTS_BYTES = 16 << 20;

/** Roots that are none, or that cannot be read; the message names the file and says what is wrong. */
export class RootsError extends Error {
  override readonly name = "RootsError";
}

/** For GrpcChannelOptions.roots: reads the source anew at each call; rejects with RootsError. */
export function rootsReader(source: RootsSource): () => Promise<string | undefined> {
  switch (source.kind) {
    case "system":
      return () => Promise.resolve(undefined);
    case "pem":
      return () =>
        Promise.resolve(source.pem).then((pem) => requireRoots(pem, `the roots given as text${fileHint(pem)}`));
    case "file":
      return () => Promise.resolve(source.path).then(readRootsFile);
  }
}

/** For a text that was meant as the name of a file: names without a slash are files only if they are there at the start. */
function fileHint(pem: string): string {
  return /^\S{1,200}$/.test(pem) ? ` (no file ${pem} was there at the start)` : "";
}

/** The certificates of a file of roots. Throws RootsError. */
export function readRootsFile(path: string): string {
  return requireRoots(readText(path), `roots file ${path}`);
}

/** The system's store as PEM; SSL_CERT_FILE goes first, as for OpenSSL. Rejects with RootsError where there is none. */
export async function systemRoots(environment: Readonly<Record<string, string | undefined>>): Promise<string> {
  const named = environment.SSL_CERT_FILE;
  const files = named === undefined || named === "" ? SYSTEM_ROOT_FILES : [named];
  for (const path of files) {
    if (await Bun.file(path).exists()) return requireBundle(readText(path), `system's roots file ${path}`);
  }
  throw new RootsError(`the system has no file of trusted roots (looked for ${files.join(", ")})`);
}

function readText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > MAX_ROOTS_BYTES) throw new Error(`it has ${size} bytes`);
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new RootsError(`roots file ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** The certificates of a text, as they are: an operating system's bundle may have oddities among hundreds of good ones. */
function requireBundle(pem: string, what: string): string {
  if (pem.trim() === "") throw new RootsError(`${what}: it is empty`);
  const blocks = pemBlocks("CERTIFICATE", pem);
  if (blocks.length === 0) throw new RootsError(`${what}: it holds no PEM certificate`);
  return blocks.join("");
}

/** The certificates of a text if none of them is broken; throws RootsError that begins with `what`. */
export function requireRoots(pem: string, what: string): string {
  const blocks = pemBlocks("CERTIFICATE", requireBundle(pem, what));
  for (const [i, block] of blocks.entries()) {
    const problem = certificateProblem(block);
    if (problem !== undefined) {
      throw new RootsError(`${what}: certificate ${i + 1} of ${blocks.length} is broken: ${problem}`);
    }
  }
  return blocks.join("");
}

function certificateProblem(block: string): string | undefined {
  const der = decodePem(block);
  if (der === undefined) return "it is not base64";
  try {
    parseCertificate(der);
  } catch (error) {
    if (error instanceof DerError) return error.message;
    throw error;
  }
  return undefined;
}
