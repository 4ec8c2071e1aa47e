/** What a conformance case asks and expects, and how an answer is compared with it, as the public suite does. */
import { type EchoedRequest } from "../lab/peers/mod.ts";
import { type Field, fieldOf, type Http1Answer, jsonOf } from "../lab/traffic/mod.ts";

export interface Case {
  /** Service, service:port or address:port; `echo` at port 80 without one. */
  readonly to?: string;
  readonly path?: string;
  /** Host header; that of `to` without one. */
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** 200 without one. */
  readonly status?: number;
  /** Pod that must have answered. */
  readonly backend?: string;
  /** Path that the backend must have seen. */
  readonly seenPath?: string;
  /** Headers that the backend must have seen, values joined with commas. */
  readonly seenHeaders?: Readonly<Record<string, string>>;
  readonly unseenHeaders?: readonly string[];
  readonly answerHeaders?: Readonly<Record<string, string>>;
  readonly absentAnswerHeaders?: readonly string[];
  /** Parts of the Location; what is not named must be as in the request. */
  readonly redirect?: {
    readonly scheme?: string;
    readonly host?: string;
    readonly port?: string;
    readonly path?: string;
  };
}

export interface Place {
  readonly service: string;
  readonly port: number;
}

export function placeOf(to = "echo"): Place {
  const colon = to.lastIndexOf(":");
  return colon < 0 ? { service: to, port: 80 } : { service: to.slice(0, colon), port: Number(to.slice(colon + 1)) };
}

/** Name of a case in messages. */
export function nameOf(expected: Case): string {
  const headers = Object.entries(expected.headers ?? {}).map(([name, value]) => ` ${name}=${value}`).join("");
  return `${expected.to ?? "echo"}${expected.path ?? "/"}${headers}`;
}

/** What differs; empty where all is as expected. */
export function differences(expected: Case, answer: Http1Answer): string[] {
  const found: string[] = [];
  const compare = (what: string, got: unknown, wanted: unknown) => {
    if (got !== wanted) found.push(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
  };
  compare("status", answer.status, expected.status ?? 200);
  for (const [name, value] of Object.entries(expected.answerHeaders ?? {})) {
    compare(`answer header ${name}`, fieldOf(answer.fields, name), value);
  }
  for (const name of expected.absentAnswerHeaders ?? []) {
    compare(`answer header ${name}`, fieldOf(answer.fields, name), undefined);
  }
  if (expected.redirect !== undefined) compareLocation(expected, answer.fields, compare);
  if (answer.status === 200 && found.length === 0) {
    const seen = jsonOf<EchoedRequest>(answer);
    if (expected.backend !== undefined) compare("backend", seen.pod, expected.backend);
    compare("seen path", seen.path, expected.seenPath ?? expected.path ?? "/");
    compareSeen(expected, seen.headers, compare);
    // Only what went through a waypoint has it (spec/waypoint.md §3.2).
    if (!/^[0-9.]+(:|$)/.test(expected.to ?? "")) {
      compare("x-request-id seen", fieldOf(seen.headers, "x-request-id") !== undefined, true);
      compare("answer header server", fieldOf(answer.fields, "server"), "istio-envoy");
    }
  }
  return found;
}

type Compare = (what: string, got: unknown, wanted: unknown) => void;

export function compareSeen(expected: Case, seen: readonly Field[], compare: Compare): void {
  for (const [name, value] of Object.entries({ ...expected.headers, ...expected.seenHeaders })) {
    if ((expected.unseenHeaders ?? []).some((unseen) => unseen.toLowerCase() === name.toLowerCase())) continue;
    const changed = Object.entries(expected.seenHeaders ?? {}).find(([key]) =>
      key.toLowerCase() === name.toLowerCase()
    );
    compare(`seen header ${name}`, fieldOf(seen, name), changed?.[1] ?? value);
  }
  for (const name of expected.unseenHeaders ?? []) compare(`seen header ${name}`, fieldOf(seen, name), undefined);
}

function compareLocation(expected: Case, fields: readonly Field[], compare: Compare): void {
  const text = fieldOf(fields, "location");
  if (text === undefined) return compare("location", text, "a URL");
  const { redirect = {} } = expected;
  const location = new URL(text, "http://relative.invalid");
  compare("location's scheme", location.protocol, `${redirect.scheme ?? "http"}:`);
  compare("location's host", location.hostname, redirect.host ?? expected.host ?? placeOf(expected.to).service);
  compare("location's port", location.port, redirect.port ?? "");
  compare("location's path", location.pathname, redirect.path ?? expected.path ?? "/");
}
