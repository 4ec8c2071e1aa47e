/** Objects in Kubernetes' shape from documents: kind, validation, duplicates. Loads zod. */
import type { DocumentError } from "./local_document.ts";
import { Place } from "./local_place.ts";
import type { YamlText } from "./local_yaml.ts";
import { forWaypointsOnly, isForWaypointsOnly } from "./object_part.ts";
import { kindOf, SCHEMAS } from "./objects/kinds.ts";
import type { Kind, LocalObject, LocalObjects, ValuePath } from "./objects/mod.ts";

const DEFAULT_NAMESPACE = "default";

/** Whether a document is an object (or a List of them) and no mesh document. */
export function isObject(value: unknown): boolean {
  return isRecord(value) && ("apiVersion" in value || "kind" in value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Collects the objects of all documents. */
export class ObjectReader {
  readonly errors: DocumentError[] = [];
  /** What is wrong with objects that are left out, since only waypoints need them. */
  readonly warnings: DocumentError[] = [];
  readonly #waypoint: boolean;
  readonly #objects: { [K in Kind]: LocalObject<K>[] } = {
    Gateway: [],
    HTTPRoute: [],
    GRPCRoute: [],
    TCPRoute: [],
    ReferenceGrant: [],
    DestinationRule: [],
    AuthorizationPolicy: [],
    PeerAuthentication: [],
    Telemetry: [],
  };
  readonly #places = new Map<string, Place>();

  /** @param waypoint whether a waypoint reads: for a ztunnel what concerns only waypoints is no error */
  constructor(waypoint: boolean) {
    this.#waypoint = waypoint;
  }

  get objects(): LocalObjects {
    return this.#objects;
  }

  /** Place of an object by its `Kind namespace/name`. */
  placeOf(subject: string): Place | undefined {
    return this.#places.get(subject);
  }

  /** Reads a document that is an object. */
  read(file: string, yaml: YamlText): void {
    this.#read(file, yaml, [], yaml.value);
  }

  #read(file: string, yaml: YamlText, base: ValuePath, value: unknown): void {
    const place = new Place(file, yaml, base);
    if (!isRecord(value)) {
      this.errors.push(place.error([], "expected an object of Kubernetes"));
      return;
    }
    const { apiVersion, kind } = value;
    if (typeof apiVersion !== "string" || apiVersion === "") {
      this.errors.push(place.error("apiVersion" in value ? ["apiVersion"] : [], "an object needs apiVersion"));
      return;
    }
    if (typeof kind !== "string" || kind === "") {
      this.errors.push(place.error("kind" in value ? ["kind"] : [], "an object needs kind"));
      return;
    }
    if (kind === "List" && apiVersion === "v1") this.#readList(file, yaml, base, value, place);
    else this.#readObject(file, yaml, base, value, apiVersion, kind);
  }

  #readList(file: string, yaml: YamlText, base: ValuePath, value: Record<string, unknown>, place: Place): void {
    for (const key of Object.keys(value)) {
      if (["apiVersion", "kind", "metadata", "items"].includes(key)) continue;
      this.errors.push(place.error([key], "no such field here"));
    }
    const { items } = value;
    if (!Array.isArray(items)) {
      this.errors.push(place.error(["items"], "a List needs items"));
      return;
    }
    for (const [i, item] of items.entries()) this.#read(file, yaml, [...base, "items", i], item);
  }

  #readObject(
    file: string,
    yaml: YamlText,
    base: ValuePath,
    value: Record<string, unknown>,
    apiVersion: string,
    kind: string,
  ): void {
    const known = kindOf(apiVersion, kind);
    const place = new Place(file, yaml, base, subjectOf(kind, value["metadata"]));
    if ("refused" in known) {
      this.#refuse(value, { ...place.locate(["kind"]), message: known.refused(subjectOf(kind, value["metadata"])) });
      return;
    }
    const result = SCHEMAS[known.kind].safeParse(value);
    if (!result.success) {
      this.#refuse(value, ...result.error.issues.flatMap((issue) => place.issue(issue, SCHEMAS[known.kind])));
      return;
    }
    const { metadata, spec } = result.data;
    const namespace = metadata.namespace ?? DEFAULT_NAMESPACE;
    const key = `${kind} ${namespace}/${metadata.name}`;
    const before = this.#places.get(key);
    if (before !== undefined) {
      const message = `${key} is already at ${before.seenFrom(place, [])}`;
      this.#refuse(value, new Place(file, yaml, base).error(["metadata", "name"], message));
      return;
    }
    this.#places.set(key, place);
    const object: LocalObject = {
      kind: known.kind,
      namespace,
      namespaceAssumed: metadata.namespace === undefined,
      name: metadata.name,
      labels: metadata.labels ?? {},
      annotations: metadata.annotations ?? {},
      created: metadata.creationTimestamp ? Date.parse(metadata.creationTimestamp) : Infinity,
      spec,
      origin: place,
    };
    (this.#objects[known.kind] as LocalObject[]).push(object);
  }

  #refuse(value: Readonly<Record<string, unknown>>, ...errors: readonly DocumentError[]): void {
    if (this.#waypoint || !isForWaypointsOnly(value)) this.errors.push(...errors);
    else this.warnings.push(...errors.map(forWaypointsOnly));
  }
}

/** `HTTPRoute shop/web`, with what there is of it. */
function subjectOf(kind: string, metadata: unknown): string {
  const { name, namespace } = isRecord(metadata) ? metadata : {};
  if (typeof name !== "string") return kind;
  return `${kind} ${typeof namespace === "string" ? namespace : DEFAULT_NAMESPACE}/${name}`;
}
