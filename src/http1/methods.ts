/**
 * The methods that are taken, as Envoy's HTTP/1 codec takes them: RFC 9110 §9.3, PATCH, WebDAV and its kin. `M-SEARCH`,
 * with its hyphen, is not among them there either (spec/waypoint.md §7).
 */
const NAMES = [
  ...["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"],
  ...["ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE"],
  ...["MSEARCH", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE"],
  ...["UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE", "QUERY"],
];

/** Each name by itself: what comes out is not a part of the head that it was found in. */
export const METHODS: ReadonlyMap<string, string> = new Map(NAMES.map((name) => [name, name]));
