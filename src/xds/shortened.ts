/** Of a name in the log: those of Kubernetes have 253 characters at most. */
const LONGEST_NAME = 256;
/** Of a whole sentence about what the control plane sent or said. */
const LONGEST_TEXT = 1_024;

/** A name that the control plane sent, for the log: one may be as long as a message, which is 200 MiB. */
export function shortName(name: string): string {
  return cut(name, LONGEST_NAME);
}

/** As shortName, for a sentence. */
export function shortText(text: string): string {
  return cut(text, LONGEST_TEXT);
}

function cut(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
}

/** `istio.workload.Address` of a type URL. */
export function lastPart(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
}

/** Milliseconds, or seconds where there are some. */
export function duration(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(ms < 10 ? 1 : 0)}ms` : `${(ms / 1_000).toFixed(1)}s`;
}
