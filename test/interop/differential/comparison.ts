/** What differs between two observations of a case, once what is new each time is left out. */
import type { Observation } from "./rig.ts";

export type Part = "response" | "closed" | "upstream" | "log";

export interface Difference {
  readonly part: Part;
  readonly ours: string;
  readonly original: string;
}

const UUID = /\bx-request-id: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
/** Our answers and Envoy's carry the present date; those of an application have one of its own. */
const DATE = /\bdate: \w{3}, \d{2} \w{3} 20\d{2} [\d:]{8} GMT/g;

function timeless(text: string): string {
  return text.replace(UUID, "x-request-id: (new)").replace(DATE, "date: (now)")
    .replace(/x-envoy-upstream-service-time: \d+/g, "x-envoy-upstream-service-time: (ms)")
    // A mirror names the proxy's own address.
    .replace(
      /(x-forwarded-for: (?:[\d.]+,)?)(?:127\.0\.0\.1|192\.\d+\.\d+\.\d+|172\.\d+\.\d+\.\d+|10\.\d+\.\d+\.\d+)(?=\r)/g,
      "$1(own)",
    );
}

/** Heads with their fields in alphabetical order: among different names order means nothing (RFC 9110 §5.3). */
function sorted(text: string): string {
  if (text.startsWith(":")) return text.split("\n").sort().join("\n");
  return text.split("\r\n\r\n").map((part) => {
    const [first = "", ...fields] = part.split("\r\n");
    // Behind a body without a line end of its own the next head begins in the same line.
    return /HTTP\/1\.[01]/.test(first) ? [first, ...fields.sort()].join("\r\n") : part;
  }).join("\r\n\r\n");
}

const canonical = (text: string) => sorted(timeless(text));

export function differences(ours: Observation, original: Observation): readonly Difference[] {
  const found: Difference[] = [];
  const compare = (part: Part, own: string, other: string) => {
    if (own !== other) found.push({ part, ours: own, original: other });
  };
  compare("response", canonical(ours.text), canonical(original.text));
  // Where the end of the connection was announced, Envoy waits up to a second for the client to end it.
  if (!(ours.closed && /\bconnection: close\b/i.test(original.text))) {
    compare("closed", String(ours.closed), String(original.closed));
  }
  const sent = ({ upstream }: Observation) => upstream.map(canonical).sort().join("\n----\n");
  compare("upstream", sent(ours), sent(original));
  compare("log", ours.log, original.log);
  return found;
}
