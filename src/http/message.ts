/** HTTP messages as the router sees them, whatever version carried them. */
import type { HeaderList } from "../http2/mod.ts";

export type HttpProtocol = "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";

/**
 * The head of a request. `fields` are regular fields with names in lower case, in the order of the wire, values as octets
 * (latin1): no pseudo-fields, no Host, no hop-by-hop fields (Connection and what it names, Keep-Alive, Proxy-Connection,
 * Transfer-Encoding, Upgrade). `te: trailers` and Content-Length stay. The array belongs to the receiver and may be changed.
 */
export interface RequestHead {
  method: string;
  /** `http` or `https`. */
  scheme: string;
  /** Host or `:authority` as sent; empty when an HTTP/1.0 request had none. */
  authority: string;
  /** Path with query; `*` for OPTIONS *; as sent. */
  path: string;
  readonly protocol: HttpProtocol;
  fields: HeaderList;
  /** Protocol that the client asks to upgrade to, lower case: `websocket`. HTTP/2: `:protocol` of an extended CONNECT. */
  upgrade: string | undefined;
  /** Of an HTTP/1 request that asks for an upgrade: the two fields as sent, which the server is to see as they are. */
  readonly upgradeFields?: { readonly connection: string; readonly upgrade: string } | undefined;
  /** `Expect: 100-continue` was sent; the field stays in `fields`. */
  readonly expectContinue: boolean;
  /** Lower case → as sent, for a connection that keeps the case of names (HTTP/1 only). */
  readonly originalNames?: ReadonlyMap<string, string> | undefined;
  /** Bytes of the header section on the wire, roughly: for the size histograms. */
  readonly wireBytes: number;
}

/** The head of a response, final or informational; `fields` as in RequestHead. */
export interface ResponseHead {
  status: number;
  fields: HeaderList;
  readonly protocol: HttpProtocol;
  /** Status 101 only: what the connection becomes. */
  upgrade: string | undefined;
  readonly originalNames?: ReadonlyMap<string, string> | undefined;
  readonly wireBytes: number;
}

/** First value of a field; undefined when it is absent. */
export function fieldOf(fields: HeaderList, name: string): string | undefined {
  for (const field of fields) if (field[0] === name) return field[1];
  return undefined;
}

/** The parts of a request that have names of fields in HTTP/2, and Host, which is the authority whatever the version. */
export function pseudoField(
  head: Pick<RequestHead, "method" | "authority" | "path" | "scheme">,
  name: string,
): string | undefined {
  switch (name) {
    case ":method":
      return head.method;
    case ":authority":
    case "host":
      return head.authority;
    case ":path":
      return head.path;
    case ":scheme":
      return head.scheme;
    default:
      return undefined;
  }
}

/** All values of a field joined by `,`, as Envoy's matchers see it; undefined when it is absent. */
export function joinedField(fields: HeaderList, name: string): string | undefined {
  let joined: string | undefined;
  for (const field of fields) {
    if (field[0] === name) joined = joined === undefined ? field[1] : `${joined},${field[1]}`;
  }
  return joined;
}

/** Replaces all values of a field by one, at the place of the first; appends it when there was none. */
export function setField(fields: HeaderList, name: string, value: string): void {
  let kept = 0;
  let found = false;
  for (const field of fields) {
    if (field[0] !== name) fields[kept++] = field;
    else if (!found) {
      found = true;
      fields[kept++] = [name, value];
    }
  }
  fields.length = kept;
  if (!found) fields.push([name, value]);
}

export function removeField(fields: HeaderList, name: string): void {
  let kept = 0;
  for (const field of fields) if (field[0] !== name) fields[kept++] = field;
  fields.length = kept;
}
