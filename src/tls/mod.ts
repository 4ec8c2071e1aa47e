/**
 * Mutual TLS with SPIFFE certificates on Bun's sockets (spec/ztunnel.md §6.1, spec/bun.md).
 *
 * The runtime's rules, each kept by a test in test/tls:
 *
 * - A verdict exists only in `handshake`, which comes once, before any `data`. Nothing may be read from or written to a
 *   peer before verifyClient or verifyServer said ok, and a refused one is ended there and then with `terminate()`:
 *   then no `data` follows even if its bytes are already here. `end()` is not enough, it goes on reading.
 * - A failed handshake calls `handshake(socket, false, error)`, then `close`. An untrusted, expired or misused client
 *   certificate calls `handshake(socket, true, error)`: `ok` alone says nothing.
 * - A TLS 1.3 client is through its handshake before the server has judged its certificate. It learns of a refusal as
 *   `error` (an alert), `end` or `close` afterwards.
 * - A listener that upgrades must have no `data` handler, or Bun copies all ciphertext for it; it must have `drain`,
 *   since one of the two is demanded. An accepted socket whose certificate is still being fetched must be paused at
 *   once: bytes that arrive before the upgrade are lost otherwise. The upgrade resumes it.
 * - `upgradeTLS` returns two sockets; the second is the TLS one. The first gets `close` too.
 *
 * ```ts
 * const listener = Bun.listen({
 *   fd,
 *   allowHalfOpen: true,
 *   socket: {
 *     open(socket) {
 *       const certificate = certificates.peek(own); // if undefined: socket.pause(), get(), then the same
 *       socket.upgradeTLS({ isServer: true, tls: serverContext(certificate, policy), socket: inbound });
 *     },
 *     drain() {},
 *   },
 * });
 * const inbound = {
 *   handshake(socket, ok, error) {
 *     const verdict = verifyClient(socket, ok, error, identity);
 *     if (!verdict.ok) return void socket.terminate(); // log `tls handshake error: ${verdict.error}`
 *     // the connection begins here
 *   },
 *   data(socket, bytes) {},
 * };
 *
 * Bun.connect({
 *   fd, // of connectTcp(); writes before `handshake` are short
 *   allowHalfOpen: true,
 *   tls: clientContext(certificate, policy),
 *   socket: {
 *     handshake(socket, ok, error) {
 *       const verdict = verifyServer(socket, ok, error, decision.expectedIdentities);
 *       if (!verdict.ok) return void socket.terminate();
 *       // the connection begins here, and is accepted when HBONE answers 200
 *     },
 *   },
 * });
 * ```
 *
 * Whether a peer may stay when revocation lists or roots change, and may come while lists are in force, is PeerTrust's
 * word; what the runtime tells of a peer's chain stands at ChainSocket.
 */
export { clientContext, serverContext, type TlsContext } from "./context.ts";
export { type ChainSocket } from "./peer_chain.ts";
export { PeerTrust, type PeerTrustOptions, type RevocationStatus } from "./peer_trust.ts";
export type { CutReason, TrackedPeer, TrustedTunnel } from "./tracked_peer.ts";
export { DEFAULT_TLS_POLICY, type TlsPolicy } from "./policy.ts";
export { type PeerSocket, type PeerVerdict, verifyClient, verifyServer } from "./verification.ts";
