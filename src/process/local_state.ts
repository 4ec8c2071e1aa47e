import {
  type DocumentError,
  type DocumentResult,
  formatDocumentError,
  formatPlace,
  type LoadOptions,
  type LocalDocument,
  LocalSource,
  type LocalState,
  parseLocalText,
} from "../config/mod.ts";
import type { Field, LogScope, MetricRegistry, Sample } from "../telemetry/mod.ts";
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

function at(error: DocumentError): Field[] {
  const place = formatPlace(error);
  return place === "" ? [] : [["at", { display: place }]];
}

/** What a good state holds: the mesh, or in waypoint mode what the waypoint makes of it. */
function contents(document: LocalDocument, waypoint: WaypointSnapshot | undefined): Field[] {
  if (waypoint?.contents === undefined) {
    return [
      ["workloads", document.workloads.length],
      ["services", document.services.length],
      ["policies", document.policies.length],
    ];
  }
  const { gateway, contents: { services, routes, policies } } = waypoint;
  return [
    ["gateway", { display: `${gateway.namespace}/${gateway.name}` }],
    ["services", services],
    ["routes", routes],
    ["policies", policies],
  ];
}

/** The state's age and how often it was refused. */
function registerLocalStateMetrics(registry: MetricRegistry): { readonly refused: Sample; readonly lastGood: Sample } {
  return {
    refused: registry.family({
      name: "ambient_local_state_refused",
      type: "counter",
      help: "Changes of the local state that were refused (unstable).",
    }).labels(),
    lastGood: registry.family({
      name: "ambient_local_state_last_good_timestamp_seconds",
      type: "gauge",
      help: "When the local state that serves was taken over (unstable).",
      unit: "seconds",
    }).labels(),
  };
}

/**
 * Reads the local state and follows its changes: it must be right at the start; later a bad one leaves the last good one
 * serving, and is counted in `registry`. @throws LocalStateError
 */
export async function followLocalState(
  state: LocalState,
  options: LoadOptions,
  scope: LogScope,
  registry: MetricRegistry,
  owner: LocalStateOwner,
): Promise<LocalSource | undefined> {
  const metrics = registerLocalStateMetrics(registry);
  let started = false;
  const onError = (errors: readonly DocumentError[]) => {
    if (!started) throw new LocalStateError(errors.map(formatDocumentError).join("\n"));
    metrics.refused.value++;
    for (const error of errors) {
      scope.error("local state refused, the last good one stays", [...at(error), ["error", error.message]]);
    }
  };
  const onDocument = (
    document: LocalDocument,
    warnings: readonly DocumentError[],
    waypoint: WaypointSnapshot | undefined,
  ) => {
    for (const warning of warnings) scope.warn(warning.message, at(warning));
    const errors = owner.replace(document, waypoint);
    const path = state.kind === "file" ? state.path : "LOCAL_XDS";
    if (errors.length > 0) return onError(errors.map((message) => ({ path, message })));
    metrics.lastGood.value = Date.now() / 1000;
    scope.info("local state loaded", contents(document, waypoint));
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
