export { clientContext, serverContext, type TlsContext } from "./context.ts";
export { DEFAULT_TLS_POLICY, type TlsPolicy } from "./policy.ts";
export { type PeerSocket, type PeerVerdict, verifyClient, verifyServer } from "./verification.ts";
