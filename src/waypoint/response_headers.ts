/** What every response gets before it goes to the client: Envoy's encodeHeaders. */
import { dateField, type ResponseHead, setField } from "../http/mod.ts";
import type { HttpOptions } from "./snapshot/mod.ts";

/** Sets `server` as configured, and `date` where the backend gave none. */
export function finishResponse(head: ResponseHead, options: HttpOptions): void {
  const { fields } = head;
  let date = false;
  let server = -1;
  for (let i = 0; i < fields.length; i++) {
    const name = (fields[i] as [string, string])[0];
    if (name === "date") date = true;
    else if (name === "server") server = i;
  }
  if (!date) fields.push(dateField());
  if (options.serverHeader === "pass-through") return;
  if (server < 0) fields.push(["server", options.serverName]);
  else if (options.serverHeader === "overwrite") setField(fields, "server", options.serverName);
}
