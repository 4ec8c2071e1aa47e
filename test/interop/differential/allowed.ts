/** Where we differ from the original on purpose. Each rule says why, for which cases, and in what. */
import type { Part } from "./comparison.ts";

export interface Allowed {
  readonly why: string;
  readonly cases: RegExp;
  readonly parts: readonly Part[];
}

const ALL: readonly Part[] = ["response", "closed", "upstream", "log"];

export const ALLOWED: readonly Allowed[] = [
  {
    why: "spec/waypoint.md §7 ▲: bare LF, obs-fold, double spaces and tabs in the request line are refused",
    cases: /^(bare lf|obs fold|double space|tab in line|trailing space in line)$/,
    parts: ALL,
  },
  { why: "the same in what an application answers: 502", cases: /^answer (bare lf|obs fold)$/, parts: ALL },
  { why: "spec/waypoint.md §7 ▲: two Host fields are refused", cases: /^two hosts$/, parts: ALL },
  { why: "a chunk that is longer than its size is refused, not cut", cases: /^chunk too long$/, parts: ALL },
  {
    why: "a 101 that nobody asked for is a protocol error, not passed on",
    cases: /^answer 101 unasked$/,
    parts: ["response", "log"],
  },
  {
    why: "spec/waypoint.md §7 ▲: a client that ends its side after its request gets the answer",
    cases: /^half close$/,
    parts: ["response", "log"],
  },
  {
    why: "spec/waypoint.md §7 ▲: trailers of responses go to clients that announce TE: trailers",
    cases: /^(answer chunked trailers te|to h2 (trailers|grpc)|h2 answer trailers)$/,
    parts: ["response"],
  },
  {
    why: "trailers of requests are passed on: HTTP has no way for an application to announce that it takes them",
    cases: /^(h2 )?post (chunked )?trailers$/,
    parts: ["upstream"],
  },
  {
    why: "spec/waypoint.md §7 ▲: a gRPC call whose time is up is told DEADLINE_EXCEEDED, not UNAVAILABLE",
    cases: /^(time .* grpc( \w+)?|grpc timeout|h2 timeout grpc)$/,
    parts: ["response", "log"],
  },
  {
    why: "spec/waypoint.md §7 ▲: policy matches the path with merged slashes, too",
    cases: /^deny path-exact \/a\/\/b$/,
    parts: ALL,
  },
  {
    why: "spec/waypoint.md §7 ▲: ReplacePrefixMatch / redirects to /a, not //a",
    cases: /^redirect sep-root/,
    parts: ["response"],
  },
  {
    why: "spec/waypoint.md §6.1: the port that is the scheme's default is not named in a redirect",
    cases: /^redirect (https-443|port-80|port-443 proto)/,
    parts: ["response"],
  },
  {
    why: "spec/waypoint.md §7: where we answer 100-continue, the application still sees Expect",
    cases: /^(expect( at once| without body| case)?|answer (100 expected|417)|to h2 expect)$/,
    parts: ["upstream"],
  },
  {
    why: "a request without a body gets no 100: there is nothing to go on with (RFC 9110 §10.1.1)",
    cases: /^expect without body$/,
    parts: ["response"],
  },
  {
    why: "RFC 9110 §15.2: a proxy passes 102 and 103 on",
    cases: /^(h2 )?answer 10[23]$/,
    parts: ["response"],
  },
  {
    why: "RFC 9112 §3.2.1: a target without a path means /",
    cases: /^target http:\/\/other\?x$/,
    parts: ALL,
  },
  { why: "RFC 9110 §6.4.1: 204 has no content", cases: /^fault abort\/204/, parts: ["response"] },
  {
    why: "our line for a message that cannot be read names the request as far as it is known",
    cases:
      /^(http10( no host| post)?|length .*|encoding .*|host (a b|web\/)|h2 (97|120) fields|h2 65k|h2 (no authority|authority.*|host differs|length .*))$/,
    parts: ["log"],
  },
  {
    why: "the log has an empty authority or path where Envoy has none",
    cases: /^(no host|http10 taken no host|(h2 )?(connect( authority)?|no route connect|allow none connect))$/,
    parts: ["log"],
  },
  {
    why: "an upgraded connection that its server ends has ended, not failed, and its client hears of it at once",
    cases: /^websocket( upper| keep-alive| no key| post| length| other answer| rewritten| protocol)?$/,
    parts: ["closed", "log"],
  },
  {
    why: "a refused upgrade ends its connection, whatever the server says of it",
    cases: /^websocket 426$/,
    parts: ALL,
  },
  {
    why: "RFC 8441: we ask for the extended CONNECT that a server did not offer; it refuses instead of us",
    cases: /^to h2 websocket$/,
    parts: ["response", "log"],
  },
  {
    why: "spec/waypoint.md §7 ▲: what is malformed in HTTP/2 costs its stream, at once, not the connection",
    cases:
      /^h2 (length twice|no (authority|path|scheme|method)|empty path|two paths|unknown pseudo|pseudo late|upper case|connection|keep-alive|transfer-encoding|upgrade|proxy-connection|te gzip|get star|relative path|absolute path|space in path|authority (a b|a@b|a\/b)?|value with (nul|newline|control)|name with space|empty name)$/,
    parts: ALL,
  },
  { why: "RFC 9113 §8.2.1: white space around a value is malformed", cases: /^h2 value with spaces$/, parts: ALL },
  { why: "RFC 9113 §8.3.1: a Host that differs from :authority is malformed", cases: /^h2 host differs$/, parts: ALL },
  { why: "RFC 8441: WebSocket comes over HTTP/2, too", cases: /^h2 extended connect/, parts: ALL },
];
