/** The JSON Schema of local state, for editors. Loads zod. */
import type { ZodTypeAny } from "zod/v3";
import { zodToJsonSchema } from "zod-to-json-schema";
import { localSchema } from "./local_schema.ts";
import { SCHEMAS } from "./objects/kinds.ts";

type Json = Readonly<Record<string, unknown>>;

function convert(schema: ZodTypeAny): Json {
  const { $schema: _, ...json } = zodToJsonSchema(schema, { $refStrategy: "none", target: "jsonSchema7" });
  return json;
}

function reference(name: string): Json {
  return { $ref: `#/definitions/${name}` };
}

/** One document: part of the mesh, an object, or a List. The committed copy beside this file, schema.json, is its text. */
export function localJsonSchema(): Json {
  const objects = Object.keys(SCHEMAS).map(reference);
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Local state of ambient",
    anyOf: [reference("Mesh"), ...objects, reference("List")],
    definitions: {
      Mesh: convert(localSchema),
      ...Object.fromEntries(Object.entries(SCHEMAS).map(([kind, schema]) => [kind, convert(schema)])),
      List: {
        type: "object",
        properties: {
          apiVersion: { const: "v1" },
          kind: { const: "List" },
          metadata: {},
          items: { type: "array", items: { anyOf: objects } },
        },
        required: ["apiVersion", "kind", "items"],
        additionalProperties: false,
      },
    },
  };
}

/** The schema as it is printed and committed. */
export function localJsonSchemaText(): string {
  return JSON.stringify(localJsonSchema(), undefined, 2) + "\n";
}
