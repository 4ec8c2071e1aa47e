/** Roots that a control plane is verified against: where they come from, and what is taken for some. */
import { Buffer } from "node:buffer";
import { DerError, parseCertificate, pemBlocks } from "../identity/mod.ts";
import { SYSTEM_ROOT_FILES } from "../tls/system_roots.ts";

/** XDS_ROOT_CA and CA_ROOT_CA as the configuration understands them (spec/ztunnel.md §1.3). */
export type RootsSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "system" }
  | { readonly kind: "pem"; readonly pem: string };

/** A bundle that names more is no bundle. */
const MAX_ROOTS_BYTES = 16 << 20;

/** For GrpcChannelOptions.roots: reads the source anew at each call; throws Error naming the file and what is wrong. */
export function rootsReader(source: RootsSource): () => Promise<string | undefined> {
  switch (source.kind) {
    case "system":
      return () => Promise.resolve(undefined);
    case "pem":
      return () =>
        Promise.resolve(source.pem).then((pem) => requireRoots(pem, `the roots given as text${fileHint(pem)}`));
    case "file":
      return async () => requireRoots(await readRoots(source.path), `roots file ${source.path}`);
  }
}

/** For a text that was meant as the name of a file: names without a slash are files only if they are there at the start. */
function fileHint(pem: string): string {
  return /^\S{1,200}$/.test(pem) ? ` (no file ${pem} was there at the start)` : "";
}

/** The system's store as PEM; SSL_CERT_FILE goes first, as for OpenSSL. Throws Error where there is none. */
export async function systemRoots(environment: Readonly<Record<string, string | undefined>>): Promise<string> {
  const named = environment.SSL_CERT_FILE;
  const files = named === undefined || named === "" ? SYSTEM_ROOT_FILES : [named];
  for (const path of files) {
    if (await Bun.file(path).exists()) return requireBundle(await readRoots(path), `system's roots file ${path}`);
  }
  throw new Error(`the system has no file of trusted roots (looked for ${files.join(", ")})`);
}

async function readRoots(path: string): Promise<string> {
  const file = Bun.file(path);
  try {
    if (file.size > MAX_ROOTS_BYTES && Number.isFinite(file.size)) throw new Error(`it has ${file.size} bytes`);
    return await file.text();
  } catch (error) {
    throw new Error(`roots file ${path} cannot be read: ${(error as Error).message}`);
  }
}

/** The certificates of a text, as they are: an operating system's bundle may have oddities among hundreds of good ones. */
function requireBundle(pem: string, what: string): string {
  if (pem.trim() === "") throw new Error(`${what}: it is empty`);
  const blocks = pemBlocks("CERTIFICATE", pem);
  if (blocks.length === 0) throw new Error(`${what}: it holds no PEM certificate`);
  return blocks.join("");
}

/** The certificates of a text if none of them is broken; throws Error that begins with `what`. */
export function requireRoots(pem: string, what: string): string {
  const blocks = pemBlocks("CERTIFICATE", requireBundle(pem, what));
  for (const [i, block] of blocks.entries()) {
    const problem = certificateProblem(block);
    if (problem !== undefined) {
      throw new Error(`${what}: certificate ${i + 1} of ${blocks.length} is broken: ${problem}`);
    }
  }
  return blocks.join("");
}

function certificateProblem(block: string): string | undefined {
  const body = block.replace(/-----[^-]+-----|\s/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body)) return "it is not base64";
  try {
    parseCertificate(Buffer.from(body, "base64"));
  } catch (error) {
    if (error instanceof DerError) return error.message;
    throw error;
  }
  return undefined;
}
