/** How cases are written: a name, a request of HTTP/1 as it goes over the wire, and what the application answers. */
import type { Answer } from "../backend.ts";
import type { RawRequest } from "../client.ts";
import type { Case } from "../rig.ts";

type Extra = Partial<Omit<Case, "name" | "request">> & Partial<Omit<RawRequest, "octets">>;

export function raw(name: string, octets: string, { then, halfClose, ...rest }: Extra = {}): Case {
  return { name, request: { octets, then, halfClose }, ...rest };
}

/** A request with the fields as they are given, Host `web` in front. */
export function ask(
  name: string,
  line: string,
  fields: readonly string[] = [],
  body = "",
  extra: Extra & { host?: string } = {},
): Case {
  const { host = "web", ...rest } = extra;
  const lines = fields.map((field) => `${field}\r\n`).join("");
  return raw(name, `${line} HTTP/1.1\r\nhost: ${host}\r\n${lines}\r\n${body}`, rest);
}

/** The application answers with these one after the other; the last one stays. */
export function answered(...raws: (string | Answer)[]): { readonly answers: readonly Answer[] } {
  return { answers: raws.map((text) => typeof text === "string" ? { raw: text } : text) };
}

export const ok = (fields = "", body = "ok"): string =>
  `HTTP/1.1 200 OK\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`;

export const status = (code: number, reason = "X", fields = ""): string =>
  `HTTP/1.1 ${code} ${reason}\r\n${fields}content-length: 0\r\n\r\n`;

/** Fields of a preflight. */
export const preflight = (
  origin: string,
  ...more: string[]
) => [`origin: ${origin}`, "access-control-request-method: POST", ...more];

/** Fields that ask for a WebSocket, and the answer that grants it. */
export const SOCKET = [
  "connection: Upgrade",
  "upgrade: websocket",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version: 13",
];
export const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
