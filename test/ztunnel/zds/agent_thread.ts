/** Worker of agent.ts: carries out one step after the other with calls that wait, and reports each one's outcome. */
import { SeqpacketListener, SeqpacketSocket } from "../../../src/linux/mod.ts";

declare const self: Worker;

export type AgentStep =
  | { readonly step: "listen"; readonly path: string }
  /** Takes the next client and its hello. */
  | { readonly step: "accept" }
  /** Sends a packet and, unless told otherwise, waits for the answer. */
  | { readonly step: "send"; readonly bytes: Uint8Array; readonly fds: readonly number[]; readonly answered: boolean }
  /** Waits for a packet: empty when the client has gone. */
  | { readonly step: "receive" }
  | { readonly step: "hang up" };

export interface AgentOutcome {
  readonly bytes: Uint8Array;
  readonly error: string | undefined;
}

const NOTHING = new Uint8Array(0);
let listener: SeqpacketListener | undefined;
let client: SeqpacketSocket | undefined;

function carryOut(step: AgentStep): Uint8Array {
  if (step.step === "listen") {
    listener = new SeqpacketListener(step.path);
    return NOTHING;
  }
  if (step.step === "accept") client = listener?.accept();
  if (client === undefined) throw new Error("no client");
  if (step.step === "hang up") {
    client.close();
    return NOTHING;
  }
  if (step.step === "send") {
    client.send(step.bytes, step.fds);
    if (!step.answered) return NOTHING;
  }
  return client.receive(1024).bytes;
}

self.onmessage = (event: MessageEvent<AgentStep>) => {
  let outcome: AgentOutcome;
  try {
    outcome = { bytes: carryOut(event.data), error: undefined };
  } catch (error) {
    outcome = { bytes: NOTHING, error: String(error) };
  }
  self.postMessage(outcome);
};
