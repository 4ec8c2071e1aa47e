/** The JSON Schema of a local file, for editors. Loads zod. */
import { zodToJsonSchema } from "zod-to-json-schema";
import { localSchema } from "./local_schema.ts";

/** A JSON value; the committed copy beside this file, schema.json, is its text. */
export function localJsonSchema(): Readonly<Record<string, unknown>> {
  return {
    ...zodToJsonSchema(localSchema, { $refStrategy: "none", target: "jsonSchema7" }),
    title: "Local mesh state of ambient",
  };
}

/** The schema as it is printed and committed. */
export function localJsonSchemaText(): string {
  return JSON.stringify(localJsonSchema(), undefined, 2) + "\n";
}
