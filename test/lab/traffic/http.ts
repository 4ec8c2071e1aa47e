/** One HTTP/1.0 exchange from inside a namespace: what a test asks of the proxy's admin ports. */
import type { NetworkNamespace } from "../topology/mod.ts";
import { Conversation, type ConversationOptions, type Destination } from "./conversation.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** @throws ConversationError, DeadlineError; Error where the answer is not HTTP */
export async function httpRequest(
  namespace: NetworkNamespace,
  destination: Destination,
  path: string,
  method = "GET",
  options: ConversationOptions = {},
): Promise<HttpAnswer> {
  const conversation = await Conversation.open(namespace, destination, options);
  try {
    conversation.write(`${method} ${path} HTTP/1.0\r\nHost: ${destination.ip}\r\nContent-Length: 0\r\n\r\n`);
    return parseAnswer(await conversation.readToEnd(options.deadlineMs));
  } finally {
    conversation.close();
  }
}

function parseAnswer(text: string): HttpAnswer {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, Math.max(0, end)).split("\r\n");
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1]);
  if (Number.isNaN(status)) throw new Error(`not an HTTP answer: ${JSON.stringify(text.slice(0, 80))}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status, headers, body: text.slice(end + 4) };
}
