/** Traffic from and to pods, made by the test's own process with sockets that live in the pod's namespace. */
export { adoptConnection, adoptListener, descriptorOf } from "./adoption.ts";
export {
  Conversation,
  ConversationError,
  conversationHandlers,
  type ConversationOptions,
  type Destination,
} from "./conversation.ts";
export { type HttpAnswer, httpRequest } from "./http.ts";
export { type Behaviour, doubling, PodServer, type Visit } from "./server.ts";
export { HbonePeer, type PeerCredentials, type StreamEvents } from "./hbone_peer.ts";
export { type Field, fieldOf, http1, type Http1Answer, Http1Client, type Http1Request, jsonOf } from "./http1.ts";
export { openThroughSocks, type SocksOptions } from "./socks5.ts";
export {
  DNS_TYPES,
  type DnsAnswer,
  type DnsQuestion,
  type DnsRecord,
  type DnsType,
  encodeQuestion,
  parseAnswer,
} from "./dns_message.ts";
