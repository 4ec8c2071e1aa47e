/** Reading back the access log of a waypoint in Istio's default text (spec/waypoint.md §4.4): one line for each request. */

export interface RequestRecord {
  readonly method: string;
  readonly path: string;
  readonly protocol: string;
  readonly code: number;
  readonly flags: string;
  readonly details: string;
  readonly termination: string;
  readonly upstreamFailure: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly duration: number;
  readonly userAgent: string;
  readonly requestId: string;
  readonly authority: string;
  readonly upstreamHost: string;
  readonly cluster: string;
  readonly downstreamLocal: string;
  readonly downstreamRemote: string;
  /** `-`: none was asked for, or none is known. */
  readonly serverName: string;
  readonly routeName: string;
}

/** Quoted texts are one word each; others have no spaces. */
const WORD = /"((?:[^"\\]|\\.)*)"|(\S+)/g;
const WORDS = 22;

export function parseRequestRecord(line: string): RequestRecord | undefined {
  if (!/^\[\d{4}-/.test(line)) return undefined;
  const words = [...line.matchAll(WORD)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  if (words.length !== WORDS) return undefined;
  const word = (index: number) => words[index] ?? "";
  const [method = "", path = "", protocol = ""] = word(1).split(" ");
  return {
    method,
    path,
    protocol,
    code: Number(word(2)),
    flags: word(3),
    details: word(4),
    termination: word(5),
    upstreamFailure: word(6),
    bytesReceived: Number(word(7)),
    bytesSent: Number(word(8)),
    duration: Number(word(9)),
    userAgent: word(12),
    requestId: word(13),
    authority: word(14),
    upstreamHost: word(15),
    cluster: word(16),
    downstreamLocal: word(18),
    downstreamRemote: word(19),
    serverName: word(20),
    routeName: word(21),
  };
}
