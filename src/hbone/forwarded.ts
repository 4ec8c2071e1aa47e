/** The `forwarded` header of HBONE (RFC 7239): who asked, and for which service. A hint for telemetry, never trusted. */
import { formatAddress, type SocketAddress } from "../net/address.ts";

/** `for="<ip:port>"`, and `;host=<service hostname>` when a service was addressed. */
export function formatForwarded(client: SocketAddress, serviceHostname: string | undefined): string {
  const by = `for="${formatAddress(client)}"`;
  return serviceHostname === undefined ? by : `${by};host=${serviceHostname}`;
}

/** The `host=` of the first element that has one; undefined when absent, empty or not ASCII. */
export function forwardedHost(header: string): string | undefined {
  // deno-lint-ignore no-control-regex
  if (!/^[\x00-\x7f]*$/.test(header)) return undefined;
  for (const pair of header.split(/[;,]/)) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim().toLowerCase() !== "host") continue;
    const value = pair.slice(equals + 1).trim();
    const host = value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    if (host !== "") return host;
  }
  return undefined;
}
