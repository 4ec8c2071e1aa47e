import type { HeaderList } from "../http2/mod.ts";

let second = 0;
let field: HeaderList[number] = ["date", ""];

/** The field `date` of this second (RFC 9110 §6.6.1), made once a second. */
export function dateField(): HeaderList[number] {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    field = ["date", new Date(now * 1000).toUTCString()];
  }
  return field;
}
