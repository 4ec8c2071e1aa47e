/**
 * The Connection field (RFC 9110 §7.6.1): what it says of the connection, and the fields that it declares to be of this
 * hop only.
 */
import { removeField } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import { COLON, TOKEN } from "./characters.ts";

export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  /** Lower-case names of fields that are to be removed. */
  readonly nominated: readonly string[];
  /** Why the field is refused, or "". */
  readonly problem: string;
}

/** Envoy takes as many; each costs a walk over the fields. */
const MAX_NOMINATED = 10;

const NONE: readonly string[] = [];
const KEEP_ALIVE: ConnectionOptions = { close: false, keepAlive: true, upgrade: false, nominated: NONE, problem: "" };
const CLOSE: ConnectionOptions = { close: true, keepAlive: false, upgrade: false, nominated: NONE, problem: "" };
const UPGRADE: ConnectionOptions = { close: false, keepAlive: false, upgrade: true, nominated: NONE, problem: "" };
const ABSENT: ConnectionOptions = { close: false, keepAlive: false, upgrade: false, nominated: NONE, problem: "" };

/**
 * Fields that the far end needs and that say who the client is or what the message means: removing them at a sender's
 * wish would let it hide what another hop has added, or break the message.
 */
function isProtected(name: string): boolean {
  switch (name) {
    case "host":
    case "content-length":
    case "content-type":
    case "content-encoding":
    case "authorization":
    case "cookie":
    case "set-cookie":
    case "expect":
    case "forwarded":
    case "x-request-id":
      return true;
  }
  return name.startsWith("x-forwarded-") || name.startsWith("x-envoy-");
}

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff || TOKEN[code] === 0) return false;
  }
  return text !== "";
}

/** Reads the field's value (all its lines joined by commas); "" when it is absent. */
export function connectionOptions(value: string): ConnectionOptions {
  switch (value) {
    case "":
      return ABSENT;
    case "keep-alive":
    case "Keep-Alive":
      return KEEP_ALIVE;
    case "close":
      return CLOSE;
    case "Upgrade":
    case "upgrade":
      return UPGRADE;
  }
  let close = false;
  let keepAlive = false;
  let upgrade = false;
  let problem = "";
  const nominated: string[] = [];
  for (const part of value.split(",")) {
    const option = part.trim().toLowerCase();
    switch (option) {
      case "": // RFC 9110 §5.6.1.2: empty elements of a list are ignored
        continue;
      case "close":
        close = true;
        continue;
      case "keep-alive":
        keepAlive = true;
        continue;
      case "upgrade":
        upgrade = true;
        continue;
      case "te": // forwarded when it says `trailers`, dropped otherwise
      case "transfer-encoding": // read and dropped in any case
      case "proxy-connection":
      case "http2-settings":
        continue;
    }
    if (option.charCodeAt(0) === COLON) problem = "Connection names a pseudo-header field";
    else if (!isToken(option)) continue; // no field can have that name
    else if (isProtected(option)) problem = `Connection names ${option}`;
    else if (nominated.length === MAX_NOMINATED) problem = `Connection names more than ${MAX_NOMINATED} fields`;
    else nominated.push(option);
  }
  return { close, keepAlive, upgrade, nominated, problem };
}

/** Removes what Connection named. */
export function removeNominated(fields: HeaderList, options: ConnectionOptions): void {
  for (const name of options.nominated) removeField(fields, name);
}
