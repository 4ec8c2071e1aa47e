/**
 * Target of a CONNECT request (RFC 9110 §9.3.6): an address of the pod, or the hostname of a service.
 *
 * Anything with a host and a port passes as hostname form, as in ztunnel; whether such a host exists is for the mesh to
 * say.
 */
import { canonicalIp, parseAddress } from "./address.ts";

export type Authority =
  | { readonly kind: "address"; readonly ip: string; readonly port: number }
  | { readonly kind: "hostname"; readonly host: string; readonly port: number }
  | { readonly kind: "invalid" };

const INVALID: Authority = { kind: "invalid" };
const PORT = /^[0-9]{1,5}$/;
/** Characters that cannot be part of an authority (RFC 3986 §3.2, Appendix A). */
// deno-lint-ignore no-control-regex
const ILLEGAL = /[\x00-\x20\x7f-\uffff"#/<>?\\^`{|}]/;

/** Reads `ip:port`, `[ipv6]:port` or `host:port`; the port is required. */
export function parseAuthority(text: string): Authority {
  const address = parseAddress(text);
  if (address !== undefined) return { kind: "address", ip: address.ip, port: address.port };
  const colon = text.lastIndexOf(":");
  if (colon < 0) return INVALID;
  const digits = text.slice(colon + 1);
  const host = text.slice(0, colon);
  const port = Number(digits);
  if (!PORT.test(digits) || port > 65535 || ILLEGAL.test(host)) return INVALID;
  // What still has a colon or a bracket is a botched IPv6 address, not a name; a botched IPv4 one is taken as a name.
  if (/[:[\]]/.test(host.slice(host.lastIndexOf("@") + 1))) return INVALID;
  const ip = canonicalIp(host);
  return ip === undefined ? { kind: "hostname", host, port } : { kind: "address", ip, port };
}
