/**
 * The application in the soak's pods. A line says what is wanted:
 *
 *     SAY text      the text comes back, and the next line may follow
 *     GIVE bytes    so many bytes, then the end
 *     TAKE bytes    reads so many bytes, says `done`, ends
 *     LATE ms       waits for the client's end, then so long, says `late`, ends
 *     DROP          gives a little, then resets the connection
 */
import { setResetOnClose } from "../../src/linux/mod.ts";
import type { Conversation } from "../lab/traffic/mod.ts";

/** Longest that a client says nothing, ms. */
const PATIENCE_MS = 600_000;
const BLOCK = new Uint8Array(64 << 10).fill(0x61);
/** What DROP gives before it drops. */
export const BEFORE_DROP = "going";

export async function application(conversation: Conversation): Promise<void> {
  while (true) {
    const line = await conversation.readUntil("\n", PATIENCE_MS).catch(() => undefined);
    if (line === undefined) break;
    const [verb = "", argument = ""] = line.trimEnd().split(" ");
    if (verb === "SAY") {
      conversation.write(`${argument}\n`);
      continue;
    }
    if (verb === "GIVE") give(conversation, Number(argument));
    else if (verb === "TAKE") await take(conversation, Number(argument));
    else if (verb === "LATE") await late(conversation, Number(argument));
    else if (verb === "DROP") return drop(conversation.write(BEFORE_DROP));
    break;
  }
  conversation.finish();
}

function give(conversation: Conversation, bytes: number): void {
  for (let left = bytes; left > 0; left -= BLOCK.length) {
    conversation.write(left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left));
  }
}

async function take(conversation: Conversation, bytes: number): Promise<void> {
  let left = bytes - conversation.discard();
  while (left > 0 && !conversation.ended) {
    await conversation.untilReceived(conversation.received + 1, PATIENCE_MS);
    left -= conversation.discard();
  }
  if (left <= 0) conversation.write("done\n");
}

async function late(conversation: Conversation, ms: number): Promise<void> {
  await conversation.readToEnd(PATIENCE_MS);
  await Bun.sleep(ms);
  conversation.write("late\n");
}

/** Ends a connection with RST. */
export function drop(conversation: Conversation): void {
  if (!conversation.closed) setResetOnClose(conversation.fd);
  conversation.close();
}
