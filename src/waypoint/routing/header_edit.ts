/** Changes of header sections that routes ask for, in Envoy's order (spec/waypoint.md §1.14). */
import { joinedField, removeField, setField } from "../../http/message.ts";
import type { HeaderList } from "../../http2/mod.ts";
import { octetsOf } from "../../matching/mod.ts";
import type { HeaderAddition, HeaderMutation } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import { compileHeaderFormat, type TextFormat } from "../telemetry/mod.ts";

type Action = "remove" | HeaderAddition["action"];

interface Step {
  readonly name: string;
  readonly action: Action;
  /** Where nothing of it is to be computed. */
  readonly value: string;
  readonly format: TextFormat | undefined;
}

/** Steps in the order in which they are done. */
export type HeaderEdit = readonly Step[];

export const NO_EDIT: HeaderEdit = [];

/** They decide how a message is framed or what a connection does: no route may set them. */
const FRAMING: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** Names that stand for parts of the first line; `host` is the authority. */
const PARTS: ReadonlySet<string> = new Set([":authority", ":path", "host"]);

/** What is wrong with a change; the message names the field. */
export class HeaderEditError extends Error {}

/**
 * Of one level: removals before additions, as Envoy's HeaderParser::evaluateHeaders does them.
 * @throws HeaderEditError
 */
export function compileEdit(mutation: HeaderMutation, of: "request" | "response"): HeaderEdit {
  if (mutation.add.length === 0 && mutation.remove.length === 0) return NO_EDIT;
  const steps: Step[] = [];
  for (const name of mutation.remove) {
    if (name.startsWith(":") || name === "host") throw new HeaderEditError(`${of} header ${name} may not be removed`);
    steps.push({ name, action: "remove", value: "", format: undefined });
  }
  for (const addition of mutation.add) steps.push(compileAddition(addition, of));
  return steps;
}

function compileAddition({ name, value, action }: HeaderAddition, of: "request" | "response"): Step {
  const field = `${of} header ${name}`;
  const part = of === "request" && PARTS.has(name);
  if (!part && (FRAMING.has(name) || name === "host" || !isToken(name))) {
    throw new HeaderEditError(`${field} may not be set`);
  }
  if (!isFieldValue(value)) throw new HeaderEditError(`${field}: the value has a control character`);
  const common = { name: name === "host" ? ":authority" : name, action };
  if (!value.includes("%")) return { ...common, value: octetsOf(value), format: undefined };
  const compiled = compileHeaderFormat(value);
  if (!compiled.ok) throw new HeaderEditError(`${field}: ${compiled.error}`);
  return { ...common, value: "", format: compiled.format };
}

/** Several levels as one, the first done first. */
export function joinEdits(...edits: readonly HeaderEdit[]): HeaderEdit {
  const some = edits.filter((edit) => edit.length > 0);
  return some.length <= 1 ? some[0] ?? NO_EDIT : some.flat();
}

/** A message whose fields can be edited; a response has no authority and no path. */
export interface EditedHead {
  fields: HeaderList;
  authority?: string;
  path?: string;
}

export function applyEdit(head: EditedHead, edit: HeaderEdit, info: StreamInfo): void {
  const { fields } = head;
  for (const { name, action, value: constant, format } of edit) {
    if (action === "remove") {
      removeField(fields, name);
      continue;
    }
    const value = format === undefined ? constant : format(info);
    // An operator may give nothing, and no value of the outside may break the message.
    if (value === "" || format !== undefined && !isFieldValue(value)) continue;
    if (name.charCodeAt(0) === 0x3a /* : */) editPart(head, name, action, value);
    else if (action === "append") fields.push([name, value]);
    else if (action === "overwrite") setField(fields, name, value);
    else if (joinedField(fields, name) === undefined) fields.push([name, value]);
  }
}

/** There is always one authority and one path: to append is to replace. */
function editPart(head: EditedHead, name: string, action: Action, value: string): void {
  const part = name === ":path" ? "path" : "authority";
  if (action !== "if-absent" || head[part] === "") head[part] = value;
}

/** RFC 9110 §5.6.2, in lower case. */
function isToken(name: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name);
}

/** RFC 9110 §5.5: no control characters but the tab. */
function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code < 0x20 && code !== 0x09 || code === 0x7f) return false;
  }
  return true;
}
