/** A SOCKS5 client (RFC 1928) in a pod: it asks the pod's own ztunnel for a connection by address or by name. */
import { Buffer } from "node:buffer";
import { isIPv4, isIPv6 } from "node:net";
import type { NetworkNamespace } from "../topology/mod.ts";
import { Conversation, ConversationError } from "./conversation.ts";

const SOCKS5_PORT = 15080;
const VERSION = 5;
const CONNECT = 1;
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;
/** Version, reply, reserved, 0.0.0.0:0. */
const REPLY_LENGTH = 10;

export interface SocksOptions {
  /** Source address of the client: one of 127.0.0.0/8; the kernel's choice without. */
  readonly source?: string;
}

/**
 * A connection through the proxy's SOCKS5 port.
 * @throws ConversationError with the code `SOCKS5-n` when the proxy answers n
 */
export async function openThroughSocks(
  namespace: NetworkNamespace,
  to: { readonly host: string; readonly port: number },
  options: SocksOptions = {},
): Promise<Conversation> {
  const conversation = await Conversation.open(namespace, { ip: "127.0.0.1", port: SOCKS5_PORT }, options);
  conversation.write(Buffer.from([VERSION, 1, 0]));
  const method = await conversation.readBytes(2);
  if (method[0] !== VERSION || method[1] !== 0) {
    throw new ConversationError("SOCKS5", `method ${method.toString("hex")}`);
  }
  const port = Buffer.from([to.port >> 8, to.port & 0xff]);
  conversation.write(Buffer.concat([Buffer.from([VERSION, CONNECT, 0]), destination(to.host), port]));
  const reply = (await conversation.readBytes(REPLY_LENGTH))[1] ?? 0;
  if (reply === 0) return conversation;
  conversation.close();
  throw new ConversationError(`SOCKS5-${reply}`, `SOCKS5 reply ${reply} for ${to.host}:${to.port}`);
}

function destination(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([IPV4, ...host.split(".").map(Number)]);
  if (!isIPv6(host)) return Buffer.concat([Buffer.from([NAME, host.length]), Buffer.from(host)]);
  const [head = "", tail = ""] = host.split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = groups(tail);
  const all = [...first, ...Array(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from([IPV6, ...all.flatMap((group) => [group >> 8, group & 0xff])]);
}
