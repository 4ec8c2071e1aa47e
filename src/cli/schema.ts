/** `ambient schema`: the JSON Schema of a local file, for editors and other tools. */

/** The text to print. Loads the validator, which nothing else on the command line needs. */
export async function schemaText(): Promise<string> {
  const { localJsonSchemaText } = await import("../config/json_schema.ts");
  return localJsonSchemaText();
}
