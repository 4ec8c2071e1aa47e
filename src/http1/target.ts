/** Request targets and authorities (RFC 9112 §3.2, RFC 9110 §4.2). */
import { AUTHORITY, HOST } from "./characters.ts";

export interface Target {
  readonly scheme: "http" | "https" | undefined;
  /** Of absolute-form and authority-form; it replaces Host (RFC 9112 §3.2.2). */
  readonly authority: string | undefined;
  /** "" for CONNECT. */
  readonly path: string;
}

/** Why a Host field is refused, or "". Its form beyond its octets is not looked at: Envoy passes it on as it is. */
export function hostFieldProblem(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff || HOST[code] === 0) return "octet that no authority has";
  }
  return "";
}

/** Why a text is not `host` or `host:port`, or "". */
export function authorityProblem(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff || AUTHORITY[code] === 0) {
      return code === 0x40 ? "user information in an authority" : "octet that no authority has";
    }
  }
  let hostEnd = text.indexOf(":");
  if (text.charCodeAt(0) === 0x5b) {
    const close = text.indexOf("]");
    if (close < 0) return "IPv6 literal without ]";
    hostEnd = close + 1 === text.length ? -1 : close + 1;
    if (hostEnd >= 0 && text.charCodeAt(hostEnd) !== 0x3a) return "text behind an IPv6 literal";
  } else if (text.includes("[") || text.includes("]")) return "bracket in a name";
  if (hostEnd < 0) return "";
  if (hostEnd === 0) return "port without a host";
  let port = 0;
  for (let i = hostEnd + 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return "port is not a number";
    port = port * 10 + digit;
    if (port > 65535) return "port is beyond 65535";
  }
  return "";
}

/** Reads the target of a request; a text says what is wrong with it. Its octets were checked. */
export function requestTarget(method: string, text: string): Target | string {
  if (method === "CONNECT") {
    const wrong = authorityProblem(text);
    if (wrong !== "") return wrong;
    if (!/:[0-9]+$/.test(text)) return "CONNECT without a port"; // RFC 9112 §3.2.3
    return { scheme: undefined, authority: text, path: "" };
  }
  if (text.charCodeAt(0) === 0x2f) return { scheme: undefined, authority: undefined, path: text };
  if (text === "*") {
    return method === "OPTIONS" ? { scheme: undefined, authority: undefined, path: "*" } : "* is for OPTIONS";
  }
  const start = text.indexOf("://");
  const scheme = text.slice(0, Math.max(0, start)).toLowerCase();
  if (scheme !== "http" && scheme !== "https") return "neither a path nor an http or https URI";
  let end = start + 3;
  while (end < text.length && text[end] !== "/" && text[end] !== "?") end++;
  const written = text.slice(start + 3, end);
  const authority = written.slice(written.lastIndexOf("@") + 1); // user information goes no further (RFC 9110 §4.2.4)
  if (authority === "") return "URI without a host";
  const wrong = authorityProblem(authority);
  if (wrong !== "") return wrong;
  const rest = text.slice(end);
  if (rest === "") return { scheme, authority, path: "/" }; // of OPTIONS too, as Envoy has it
  return { scheme, authority, path: rest.charCodeAt(0) === 0x3f ? `/${rest}` : rest };
}
