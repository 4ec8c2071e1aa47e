/** Responses of Envoy's delta ADS (envoy.service.discovery.v3, spec/ztunnel.md §3.2), without I/O. */
import { shortName } from "./shortened.ts";
import { TextCache } from "./text_cache.ts";
import { FieldReader, within } from "./wire.ts";

/** One resource of a push. */
export interface DeltaResource {
  readonly name: string;
  readonly version: string;
  /** Of the Any inside; empty where there is none. */
  readonly typeUrl: string;
  /** The resource itself: a view of the push, so not to be kept. */
  readonly value: Uint8Array;
  /** Other names that it can be asked for by; absent where there are none. */
  readonly aliases?: readonly string[];
}

export type DeltaResourceResult =
  | { readonly ok: true; readonly resource: DeltaResource }
  | {
    readonly ok: false;
    readonly error: string;
    /** As far as it can be found; else empty. */
    readonly name: string;
    readonly aliases?: readonly string[];
  };

export interface DeltaResponse {
  /** All resources of a push are of this type. */
  readonly typeUrl: string;
  /** To be given back in the answer. */
  readonly nonce: string;
  readonly systemVersion: string;
  readonly resources: DeltaResources;
  /** Names. */
  readonly removed: readonly string[];
}

export type DeltaResponseResult =
  | { readonly ok: true; readonly response: DeltaResponse }
  | { readonly ok: false; readonly error: string };

/**
 * The resources of a push, each read when it is asked for: a push of 70 000 can be worked through in parts, and between
 * them the event loop turns. Keeps the bytes of the push as long as it lives itself.
 */
export class DeltaResources {
  readonly #reader: FieldReader;
  readonly #bounds: readonly number[];

  /** @param bounds where each resource begins and ends, for the reader of the push */
  constructor(reader: FieldReader, bounds: readonly number[]) {
    this.#reader = reader;
    this.#bounds = bounds;
  }

  get length(): number {
    return this.#bounds.length / 2;
  }

  /** The resource at `i`; one that cannot be read does not keep the others from it. Throws RangeError past the end. */
  at(i: number): DeltaResourceResult {
    const start = this.#bounds[2 * i];
    const end = this.#bounds[2 * i + 1];
    if (start === undefined || end === undefined) throw new RangeError(`no resource ${i} of ${this.length}`);
    const draft: ResourceDraft = { name: "", version: "", any: { typeUrl: "", value: NO_BYTES } };
    try {
      this.#reader.begin(start, end);
      this.#reader.fields(readResource, draft);
    } catch (error) {
      const { name, aliases } = this.#namesIn(start, end);
      const refused = {
        ok: false,
        error: `resource ${shortName(name) || i}: ${within("", error).text}`,
        name,
      } as const;
      return aliases === undefined ? refused : { ...refused, aliases };
    }
    const { name, version, any, aliases } = draft;
    const resource = { name, version, typeUrl: any.typeUrl, value: any.value };
    return { ok: true, resource: aliases === undefined ? resource : { ...resource, aliases } };
  }

  /** Of a resource that cannot be read: its names come after what is likely to be wrong. */
  #namesIn(start: number, end: number): NamesDraft {
    const draft: NamesDraft = { name: "" };
    try {
      this.#reader.begin(start, end);
      this.#reader.fields(readNames, draft);
    } catch {
      // As many as there were.
    }
    return draft;
  }
}

const NO_BYTES = new Uint8Array(0);
const texts = new TextCache();

interface NamesDraft {
  name: string;
  aliases?: string[];
}

interface ResourceDraft extends NamesDraft {
  version: string;
  any: AnyDraft;
}

interface AnyDraft {
  typeUrl: string;
  value: Uint8Array;
}

function readResource(reader: FieldReader, field: number, into: ResourceDraft): boolean {
  if (field === 1) into.version = reader.text("version");
  else if (field === 2) reader.message("resource", readAny, into.any);
  else return readNames(reader, field, into);
  return true;
}

function readNames(reader: FieldReader, field: number, into: NamesDraft): boolean {
  if (field === 3) into.name = reader.text("name");
  else if (field === 4) (into.aliases ??= []).push(reader.text("aliases"));
  else return false;
  return true;
}

function readAny(reader: FieldReader, field: number, into: AnyDraft): boolean {
  if (field === 1) into.typeUrl = reader.sharedText("type_url");
  else if (field === 2) into.value = reader.view("value");
  else return false;
  return true;
}

class ResponseDraft {
  systemVersion = "";
  typeUrl = "";
  nonce = "";
  /** Of the resources, in pairs. */
  readonly bounds: number[] = [];
  readonly removed: string[] = [];
}

function readResponse(reader: FieldReader, field: number, into: ResponseDraft): boolean {
  if (field === 1) into.systemVersion = reader.text("system_version_info");
  else if (field === 2) reader.bounds("resources", into.bounds);
  else if (field === 4) into.typeUrl = reader.sharedText("type_url");
  else if (field === 5) into.nonce = reader.text("nonce");
  else if (field === 6) into.removed.push(reader.text(`removed_resources[${into.removed.length}]`));
  else return false;
  return true;
}

/**
 * Reads the frame of a DeltaDiscoveryResponse, some fields at a time; its resources wait until they are asked for. One of
 * 70 000 resources takes milliseconds, in which connections would wait.
 */
export class DeltaReader {
  readonly #fields: FieldReader;
  readonly #draft = new ResponseDraft();

  constructor(bytes: Uint8Array) {
    this.#fields = new FieldReader(bytes, texts);
  }

  /** Reads on, at most so many resources or names. Undefined: there is more. Never throws. */
  read(most: number): DeltaResponseResult | undefined {
    try {
      if (!this.#fields.some(readResponse, this.#draft, most)) return undefined;
    } catch (error) {
      return { ok: false, error: `DeltaDiscoveryResponse: ${within("", error).text}` };
    }
    return { ok: true, response: this.#response() };
  }

  #response(): DeltaResponse {
    const { systemVersion, typeUrl, nonce, bounds, removed } = this.#draft;
    return { systemVersion, typeUrl, nonce, removed, resources: new DeltaResources(this.#fields, bounds) };
  }
}

/** Reads the frame of a DeltaDiscoveryResponse at once. Never throws. */
export function decodeDeltaResponse(bytes: Uint8Array): DeltaResponseResult {
  const reader = new DeltaReader(bytes);
  for (;;) {
    const result = reader.read(Infinity);
    if (result !== undefined) return result;
  }
}
