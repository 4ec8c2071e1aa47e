import type { X509Certificate } from "node:crypto";
import { DerError, type Identity, parseCertificate, parseIdentity } from "../identity/mod.ts";

/** Who the peer is, or why it may not talk to us. */
export type PeerVerdict = { readonly ok: true; readonly identity: string } | {
  readonly ok: false;
  readonly error: string;
};

/** What is asked of a socket after its handshake; Bun.Socket has it. */
export interface PeerSocket {
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** Stands for every identity of a trust domain. */
const TRUST_DOMAIN = /^spiffe:\/\/[^/]+\/$/;

/** Bun's code for a good chain whose certificate lacks the DNS name that was dialled; none of ours has one. */
const NAME_MISMATCH = "ERR_TLS_CERT_ALTNAME_INVALID";

/**
 * Judges the client of an inbound connection, with the arguments of the `handshake` callback: its chain must lead to our
 * roots, and one of its SPIFFE names must be of the trust domain of `own`. Its identity is the first SPIFFE name, as in
 * the original (spec/ztunnel.md §6.1). An error excludes the peer even where `ok` is true, which Bun reports for
 * untrusted clients.
 */
export function verifyClient(
  socket: PeerSocket,
  ok: boolean,
  error: Error | null | undefined,
  own: Identity,
): PeerVerdict {
  if (error) return refused(describe(error));
  if (!ok) return refused("the handshake was not completed");
  const names = spiffeNames(socket);
  if (typeof names === "string") return refused(names);
  const [first] = names;
  if (first !== undefined && names.some((name) => parseIdentity(name)?.trustDomain === own.trustDomain)) {
    return { ok: true, identity: first };
  }
  return refused(
    `identity verification error: peer did not present the expected trustdomain (${own.trustDomain}), got ${
      names.join(",")
    }`,
  );
}

/**
 * Judges the server of an outbound connection, with the arguments of the `handshake` callback: its chain must lead to
 * our roots, and one of its SPIFFE names must be among `expected`; that one is its identity. Of the expected names only a
 * bare trust domain stands for more than itself: `spiffe://cluster.local/` is any identity of it. It must be our own word,
 * nothing that a control plane or a file names.
 */
export function verifyServer(
  socket: PeerSocket,
  ok: boolean,
  error: Error | null | undefined,
  expected: readonly string[],
): PeerVerdict {
  if (error) {
    if (codeOf(error) !== NAME_MISMATCH) return refused(describe(error));
  } else if (!ok) {
    return refused("the handshake was not completed");
  }
  const names = spiffeNames(socket);
  if (typeof names === "string") return refused(names);
  const identity = names.find((name) =>
    expected.some((known) => TRUST_DOMAIN.test(known) ? name.startsWith(known) : name === known)
  );
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
  try {
    return parseCertificate(certificate.raw).uris.filter((uri) => parseIdentity(uri) !== undefined);
  } catch (error) {
    if (error instanceof DerError) return `unreadable peer certificate: ${error.message}`;
    throw error;
  }
}

function refused(error: string): PeerVerdict {
  return { ok: false, error };
}

function describe(error: Error): string {
  const code = codeOf(error);
  return typeof code === "string" ? `${code}: ${error.message}` : error.message;
}

function codeOf(error: Error): unknown {
  return "code" in error ? error.code : undefined;
}
