/** Heads as HTTP/2 header lists and back (RFC 9113 §8.2, §8.3). */
import type { HeaderList } from "../http2/mod.ts";
import type { RequestHead, ResponseHead } from "./message.ts";

type Field = HeaderList[number];

/** Fields that belong to one HTTP/1 connection (RFC 9110 §7.6.1); `te` is treated by its value. */
export function isConnectionField(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === "upgrade";
    case 10:
      return name === "connection" || name === "keep-alive";
    case 16:
      return name === "proxy-connection";
    case 17:
      return name === "transfer-encoding";
    default:
      return false;
  }
}

function mayCross(field: Field): boolean {
  const name = field[0];
  if (isConnectionField(name)) return false;
  return name !== "te" || field[1].toLowerCase() === "trailers";
}

const METHODS = new Map<string, Field>(
  ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"].map((method) => [method, [":method", method]]),
);
const HTTP: Field = [":scheme", "http"];
const HTTPS: Field = [":scheme", "https"];
const STATUSES: Field[] = Array.from({ length: 600 }, (_, status) => [":status", String(status)]);

/** A request as an HTTP/2 header list; an upgrade is an extended CONNECT (RFC 8441). */
export function requestList(head: RequestHead): HeaderList {
  const { fields, upgrade } = head;
  const list: HeaderList = [];
  if (upgrade !== undefined) list.push([":method", "CONNECT"], [":protocol", upgrade]);
  else list.push(METHODS.get(head.method) ?? [":method", head.method]);
  const { scheme } = head;
  list.push(scheme === "http" ? HTTP : scheme === "https" ? HTTPS : [":scheme", scheme]);
  if (head.authority !== "") list.push([":authority", head.authority]);
  list.push([":path", head.path]);
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    if (mayCross(field)) list.push(field);
  }
  return list;
}

/** A response as an HTTP/2 header list. */
export function responseList(status: number, fields: HeaderList): HeaderList {
  const list: HeaderList = [STATUSES[status] ?? [":status", String(status)]];
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    if (!isConnectionField(field[0])) list.push(field);
  }
  return list;
}

/** Trailers without what may not be in them. */
export function trailerList(fields: HeaderList): HeaderList {
  for (const field of fields) {
    if (isConnectionField(field[0])) return fields.filter(([name]) => !isConnectionField(name));
  }
  return fields;
}

/** A validated request of an HTTP/2 client. The list becomes `fields`. */
export function requestHead(list: HeaderList): RequestHead {
  let method = "";
  let scheme = "http";
  let authority = "";
  let path = "/";
  let upgrade: string | undefined;
  let expectContinue = false;
  let cookie = -1;
  let bytes = 0;
  let kept = 0;
  for (let i = 0; i < list.length; i++) {
    const field = list[i]!;
    const name = field[0];
    const value = field[1];
    bytes += name.length + value.length;
    if (name.charCodeAt(0) === 0x3a) {
      switch (name) {
        case ":method":
          method = value;
          break;
        case ":scheme":
          scheme = value;
          break;
        case ":authority":
          authority = value;
          break;
        case ":path":
          path = value;
          break;
        case ":protocol":
          upgrade = value.toLowerCase();
      }
      continue;
    }
    if (name === "host") {
      if (authority === "") authority = value; // RFC 9113 §8.3.1; both were compared by the codec
      continue;
    }
    if (name === "cookie") {
      // Crumbs are one field for everybody else (RFC 9113 §8.2.3).
      if (cookie >= 0) {
        list[cookie] = ["cookie", `${list[cookie]![1]}; ${value}`];
        continue;
      }
      cookie = kept;
    } else if (name === "expect") expectContinue ||= value.toLowerCase() === "100-continue";
    list[kept++] = field;
  }
  list.length = kept;
  if (upgrade !== undefined) method = "GET"; // as the same request looks in HTTP/1
  return {
    method,
    scheme,
    authority,
    path,
    protocol: "HTTP/2",
    fields: list,
    upgrade,
    expectContinue,
    wireBytes: bytes,
  };
}

/** A validated response of an HTTP/2 server. The list becomes `fields`. */
export function responseHead(list: HeaderList): ResponseHead {
  let status = 0;
  let bytes = 0;
  let kept = 0;
  for (let i = 0; i < list.length; i++) {
    const field = list[i]!;
    bytes += field[0].length + field[1].length;
    if (field[0] === ":status") status = Number(field[1]);
    else list[kept++] = field;
  }
  list.length = kept;
  return { status, fields: list, protocol: "HTTP/2", upgrade: undefined, wireBytes: bytes };
}
