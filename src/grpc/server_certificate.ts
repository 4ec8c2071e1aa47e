/** Whether the server is who we wanted: its chain by the runtime's verdict, its names by our own (RFC 9525). */
import type { X509Certificate } from "node:crypto";
import { canonicalIp } from "../net/address.ts";
import { errorCode } from "../net/os_error.ts";
import { printable } from "./response.ts";

/** What is asked of a socket after its handshake; Bun.Socket has it. */
export interface ServerSocket {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** Bun's code for a good chain whose certificate lacks the name that was dialled; names are judged here. */
const NAME_MISMATCH = "ERR_TLS_CERT_ALTNAME_INVALID";

/** Codes of a chain that leads to none of the roots. */
const UNTRUSTED: readonly string[] = [
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
];
const MAX_NAMES_SHOWN = 500; // characters

/**
 * Judges a server with the arguments of the `handshake` callback. Its certificate must have one of `names` as a DNS or IP
 * name of its subjectAltName; the subject's common name counts for nothing.
 * @returns what is wrong; undefined: nothing
 */
export function refuseServer(
  socket: ServerSocket,
  ok: boolean,
  error: Error | null | undefined,
  names: readonly string[],
): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (error) {
    const code = errorCode(error);
    if (code !== NAME_MISMATCH) return chainProblem(code, error, certificate);
  } else if (!ok) {
    return "the handshake was not completed";
  }
  if (certificate === undefined) return "the server presented no certificate";
  if (names.some((name) => hasName(certificate, name))) return undefined;
  const wanted = names.filter((name) => name !== "").join(" or ");
  return `the server's certificate is not for ${wanted}, but for ${namesOf(certificate)}`;
}

/** A name without the dot that only says that it is whole. */
export function plainName(name: string): string {
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

/** An alternative that was left empty is nobody's name; the runtime would throw at it. */
function hasName(certificate: X509Certificate, name: string): boolean {
  if (name === "") return false;
  const ip = canonicalIp(name);
  if (ip !== undefined) return certificate.checkIP(ip) !== undefined;
  return certificate.checkHost(plainName(name), { subject: "never", partialWildcards: false }) !== undefined;
}

function namesOf(certificate: X509Certificate): string {
  const names = printable(certificate.subjectAltName ?? "");
  if (names === "") return `no name at all (subject ${oneLine(certificate.subject)})`;
  return names.length > MAX_NAMES_SHOWN ? `${names.slice(0, MAX_NAMES_SHOWN)}…` : names;
}

function chainProblem(code: string, error: Error, certificate: X509Certificate | undefined): string {
  if (certificate === undefined) return `${printable(error.message)}${code === "" ? "" : ` (${code})`}`;
  return `${chainText(code, error, certificate)} (${code})`;
}

function chainText(code: string, error: Error, certificate: X509Certificate): string {
  if (UNTRUSTED.includes(code)) {
    return `the server's certificate leads to none of the trusted roots: its issuer is ${oneLine(certificate.issuer)}`;
  }
  const now = Date.now();
  if (code === "CERT_HAS_EXPIRED") {
    const end = Date.parse(certificate.validTo);
    if (end <= now) return `the server's certificate expired at ${new Date(end).toISOString()}`;
    return "a certificate between the server's and the root has expired";
  }
  if (code === "CERT_NOT_YET_VALID") {
    const begin = Date.parse(certificate.validFrom);
    if (begin > now) return `the server's certificate is not valid before ${new Date(begin).toISOString()}`;
    return "a certificate between the server's and the root is not valid yet";
  }
  return `the server's certificate is refused: ${printable(error.message)}`;
}

/** A distinguished name, which the runtime gives a line for each part. */
function oneLine(name: string | undefined): string {
  const text = printable((name ?? "").trim().replaceAll("\n", ", "));
  return text === "" ? "without a name" : JSON.stringify(text);
}
