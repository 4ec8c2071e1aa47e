/** What an expression can name: Envoy's attributes as values of CEL, read from the stream only when they are asked for. */
import { type CelInput, type CelMap, celMap } from "@bufbuild/cel";
import type { HeaderList } from "../../../http2/mod.ts";
import type { StreamInfo } from "../../stream_info.ts";
import { type Attribute, ATTRIBUTES, requestField, responseField } from "../attributes.ts";
import { maybeText } from "../attribute_value.ts";
import { FILTER_STATE } from "../filter_state.ts";
import { octetsToText } from "../octets.ts";
import { joinedField } from "../../../http/message.ts";

/**
 * The stream that is evaluated now. Evaluation is synchronous and never nested, so that the maps below can be made once
 * and no evaluation allocates its own.
 */
let current: StreamInfo | undefined;

/** @internal */
export function withStream<T>(info: StreamInfo, evaluate: () => T): T {
  current = info;
  try {
    return evaluate();
  } finally {
    current = undefined;
  }
}

type Member = (info: StreamInfo) => CelInput | undefined;

/** A root such as `request`. As in Envoy its members can be named but not listed. */
class Root extends Map<string, CelInput> {
  readonly #members: ReadonlyMap<string, Member>;

  constructor(members: Readonly<Record<string, Attribute>>, maps: Readonly<Record<string, CelInput>> = {}) {
    super();
    this.#members = new Map<string, Member>([
      ...Object.entries(members),
      ...Object.entries(maps).map(([name, map]): [string, Member] => [name, () => map]),
    ]);
  }

  override get(name: string): CelInput | undefined {
    return current === undefined ? undefined : this.#members.get(name)?.(current);
  }
}

/** A map that is looked up one name at a time, and made only when it is asked for its size or all its members. */
class Lookup extends Map<string, CelInput> {
  readonly #find: (info: StreamInfo, name: string) => CelInput | undefined;
  readonly #names: (info: StreamInfo) => Iterable<string>;

  constructor(
    find: (info: StreamInfo, name: string) => CelInput | undefined,
    names: (info: StreamInfo) => Iterable<string>,
  ) {
    super();
    this.#find = find;
    this.#names = names;
  }

  override get(name: string): CelInput | undefined {
    return current === undefined || typeof name !== "string" ? undefined : this.#find(current, name);
  }

  #all(): Map<string, CelInput> {
    const all = new Map<string, CelInput>();
    if (current === undefined) return all;
    for (const name of this.#names(current)) {
      const value = this.#find(current, name);
      if (value !== undefined) all.set(name, value);
    }
    return all;
  }

  override get size(): number {
    return this.#all().size;
  }

  override keys(): MapIterator<string> {
    return this.#all().keys();
  }

  override entries(): MapIterator<[string, CelInput]> {
    return this.#all().entries();
  }

  override values(): MapIterator<CelInput> {
    return this.#all().values();
  }

  override forEach(callback: (value: CelInput, key: string, map: Map<string, CelInput>) => void): void {
    this.#all().forEach(callback);
  }
}

function namesOf(fields: HeaderList | undefined): string[] {
  return (fields ?? []).map(([name]) => name);
}

const requestHeaders = new Lookup(
  ({ request }, name) => request && maybeText(requestField(request, name.toLowerCase())),
  ({ request }) =>
    request === undefined ? [] : [":authority", ":method", ":path", ":scheme", ...namesOf(request.fields)],
);

const responseHeaders = new Lookup(
  (info, name) => maybeText(responseField(info, name.toLowerCase())),
  (info) => [":status", ...namesOf(info.response?.fields)],
);

const responseTrailers = new Lookup(
  ({ responseTrailers: fields }, name) => {
    const value = fields && joinedField(fields, name.toLowerCase());
    return value === undefined ? undefined : octetsToText(value);
  },
  (info) => namesOf(info.responseTrailers),
);

/** Structs of protobuf: their numbers are doubles. What cannot stand in one is left out. */
function structValue(value: unknown): CelInput | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "number":
      return value;
    case "object":
      break;
    default:
      return undefined;
  }
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((item) => structValue(item) ?? null);
  const members = new Map<string, CelInput>();
  for (const [name, member] of Object.entries(value)) {
    const converted = structValue(member);
    if (converted !== undefined) members.set(name, converted);
  }
  return members;
}

const filterMetadata = new Lookup(
  ({ metadata }, filter) => structValue(metadata?.get(filter)),
  ({ metadata }) => metadata?.keys() ?? [],
);

const encoder = new TextEncoder();

/** Objects of filter state are bytes there. */
const filterState = new Lookup(
  (info, key) => {
    const text = FILTER_STATE.get(key)?.(info);
    return text === undefined || text === "" ? undefined : encoder.encode(text);
  },
  () => FILTER_STATE.keys(),
);

/** By name of the root. */
export const BINDINGS: Readonly<Record<string, CelMap>> = Object.assign(Object.create(null), {
  request: celMap(new Root(ATTRIBUTES.request, { headers: requestHeaders })),
  response: celMap(new Root(ATTRIBUTES.response, { headers: responseHeaders, trailers: responseTrailers })),
  connection: celMap(new Root(ATTRIBUTES.connection)),
  source: celMap(new Root(ATTRIBUTES.source)),
  destination: celMap(new Root(ATTRIBUTES.destination)),
  upstream: celMap(new Root(ATTRIBUTES.upstream)),
  xds: celMap(new Root(ATTRIBUTES.xds)),
  metadata: celMap(new Root({}, { filter_metadata: filterMetadata })),
  filter_state: celMap(filterState),
});
