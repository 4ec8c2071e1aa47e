/** DNS without sockets: messages, the names of the mesh, what is asked of other name servers and kept of it. */
export * from "./types.ts";
export { isDomainName, isLocalhost, lowerName, sameName } from "./name.ts";
export { decodeMessage, decodeQuery } from "./decode.ts";
export { encodeMessage } from "./encode.ts";
export { type Alias, aliases, clusterSearchDomains, expansions, type SearchDomains, wildcards } from "./aliases.ts";
export {
  type AddressFamily,
  lookupName,
  type NamedServices,
  type NameFound,
  type NameSettings,
  type NameUnknown,
} from "./mesh_lookup.ts";
export { agedRecords, AnswerCache, type CachedAnswer, type CacheLimits, STALE_TTL } from "./answer_cache.ts";
export {
  Exchange,
  type Sending,
  type UpstreamObserver,
  type UpstreamProtocol,
  type UpstreamQuestion,
  type UpstreamResult,
  type UpstreamSettings,
  type UpstreamTransport,
} from "./exchange.ts";
export { frame, FrameReader } from "./framing.ts";
export { parseResolvConf, type ResolverConfig, withoutResolvConf } from "./resolv_conf.ts";
export { HostnameResolver, type HostnameResolverOptions, type ResolvedHostname } from "./hostname_resolver.ts";
export { type Lookup, type LookupAnswer, type ResolvedAddress, systemLookup } from "./system_lookup.ts";
