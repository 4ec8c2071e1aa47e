import { formatBaggage } from "../hbone/mod.ts";
import type { Workload } from "../mesh/mod.ts";

/** Records are immutable, so their baggage is made once for each. */
const texts = new WeakMap<Workload, string>();

export function baggageOf(workload: Workload): string {
  let text = texts.get(workload);
  if (text === undefined) {
    text = formatBaggage(workload);
    texts.set(workload, text);
  }
  return text;
}
