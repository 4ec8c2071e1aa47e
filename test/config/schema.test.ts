import { expect, test } from "bun:test";
import { schemaText } from "../../src/cli/schema.ts";

const COMMITTED = new URL("../../src/config/schema.json", import.meta.url);

test("the committed JSON Schema is the one that `ambient schema` prints", async () => {
  expect(await Bun.file(COMMITTED).text()).toBe(await schemaText());
});

test("the schema knows what the validator knows", async () => {
  const schema = JSON.parse(await schemaText()).definitions.Mesh;
  expect(schema.additionalProperties).toBe(false);
  const { workloads, services, policies } = schema.properties;
  expect(workloads.items.required).toEqual(["workloadIps", "namespace", "services"]);
  expect(services.items.required).toEqual(["name", "namespace", "hostname", "vips", "ports"]);
  expect(policies.items.required).toEqual(["name", "namespace", "scope", "action", "rules", "dryRun"]);
  expect(workloads.items.properties.protocol.enum).toEqual(["TCP", "HBONE"]);
});
