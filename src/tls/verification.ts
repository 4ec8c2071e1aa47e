import type { X509Certificate } from "node:crypto";
import { type Identity, parseIdentity, subjectAltNameUris } from "../identity/mod.ts";

/** Who the peer is, or why it may not talk to us. */
export type PeerVerdict = { readonly ok: true; readonly identity: string } | {
  readonly ok: false;
  readonly error: string;
};

/** What is asked of a socket after its handshake. */
export interface PeerSocket {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** The chain was good and only the DNS name was not: a SPIFFE certificate has none (spec/bun.md). */
const NAME_MISMATCH = "ERR_TLS_CERT_ALTNAME_INVALID";

/**
 * Judges the client of an inbound connection, with the arguments of the `handshake` callback: its chain must lead to our
 * roots, and a SPIFFE name must be of the trust domain of `own`. The identity is the first SPIFFE name (§6.7).
 */
export function verifyClient(
  socket: PeerSocket,
  ok: boolean,
  error: Error | null | undefined,
  own: Identity,
): PeerVerdict {
  if (!ok || error) return refused(error ? describe(error) : "handshake failed");
  const names = spiffeNames(socket);
  if (typeof names === "string") return refused(names);
  const [first] = names;
  if (first === undefined) return refused("identity verification error: peer presents no SPIFFE identity");
  if (!names.some((name) => parseIdentity(name)?.trustDomain === own.trustDomain)) {
    return refused(
      `identity verification error: peer did not present an identity of trust domain ${own.trustDomain}, got ${
        names.join(",")
      }`,
    );
  }
  return { ok: true, identity: first };
}

/**
 * Judges the server of an outbound connection, with the arguments of the `handshake` callback: its chain must lead to our
 * roots, and one of its SPIFFE names must be among `expected`, which is then the identity.
 */
export function verifyServer(
  socket: PeerSocket,
  _ok: boolean,
  error: Error | null | undefined,
  expected: readonly string[],
): PeerVerdict {
  if (error && !(("code" in error) && error.code === NAME_MISMATCH)) return refused(describe(error));
  const names = spiffeNames(socket);
  if (typeof names === "string") return refused(names);
  const identity = names.find((name) => expected.includes(name));
  if (identity !== undefined) return { ok: true, identity };
  return refused(
    `identity verification error: peer did not present the expected SAN (${expected.join(",")}), got ${
      names.join(",")
    }`,
  );
}

/** The peer's SPIFFE names in order, or why they cannot be had. */
function spiffeNames(socket: PeerSocket): string[] | string {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return "peer presented no certificate";
  return subjectAltNameUris(certificate.raw).filter((uri) => parseIdentity(uri) !== undefined);
}

function refused(error: string): PeerVerdict {
  return { ok: false, error };
}

function describe(error: Error): string {
  return "code" in error && typeof error.code === "string" ? `${error.code}: ${error.message}` : error.message;
}
