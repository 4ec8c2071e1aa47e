import {
  type DocumentError,
  type DocumentResult,
  type LoadOptions,
  type LocalDocument,
  LocalSource,
  type LocalState,
  parseLocalText,
} from "../config/mod.ts";
import type { Field, LogScope } from "../telemetry/mod.ts";
import type { WaypointSnapshot } from "../waypoint/snapshot/mod.ts";

/** Who serves with the local state. */
export interface LocalStateOwner {
  /** A good state; waypoint mode gets its snapshot too. Texts are reasons why it cannot be used after all. */
  replace(document: LocalDocument, waypoint: WaypointSnapshot | undefined): readonly string[];
}

/** The local state at the start cannot be used; the message has a line for each place. */
class LocalStateError extends Error {
  override readonly name = "LocalStateError";
}

function place({ path, line, column }: DocumentError): string {
  return `${path}:${line}:${column}`;
}

function at(error: DocumentError): Field {
  return ["at", { display: place(error) }];
}

/**
 * Reads the local state and follows its changes: it must be right at the start; later a bad one leaves the last good one
 * serving. @throws LocalStateError
 */
export async function followLocalState(
  state: LocalState,
  options: LoadOptions,
  scope: LogScope,
  owner: LocalStateOwner,
): Promise<LocalSource | undefined> {
  let started = false;
  const refused = (lines: readonly string[], errors: readonly DocumentError[]) => {
    if (!started) throw new LocalStateError(lines.join("\n"));
    for (const error of errors) {
      scope.error("local state refused, the last good one stays", [at(error), ["error", error.message]]);
    }
  };
  const onError = (errors: readonly DocumentError[]) =>
    refused(errors.map((error) => `${place(error)}: ${error.message}`), errors);
  const onDocument = (
    document: LocalDocument,
    warnings: readonly DocumentError[],
    waypoint: WaypointSnapshot | undefined,
  ) => {
    for (const warning of warnings) scope.warn(warning.message, [at(warning)]);
    const errors = owner.replace(document, waypoint);
    const path = state.kind === "file" ? state.path : "LOCAL_XDS";
    if (errors.length > 0) return onError(errors.map((message) => ({ path, line: 1, column: 1, message })));
    scope.info("local state loaded", [
      ["workloads", document.workloads.length],
      ["services", document.services.length],
      ["policies", document.policies.length],
      ...(waypoint === undefined ? [] : [["chains", Object.keys(waypoint.chains).length]] as const),
    ]);
  };
  let source: LocalSource | undefined;
  if (state.kind === "file") {
    source = new LocalSource(state.path, { onDocument, onError }, options);
    await source.start();
  } else {
    const parsed: DocumentResult = await parseLocalText(state.text, "LOCAL_XDS", options);
    if (parsed.ok) onDocument(parsed.document, parsed.warnings, parsed.waypoint);
    else onError(parsed.errors);
  }
  started = true;
  return source;
}
