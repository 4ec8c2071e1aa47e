import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseLocalFiles } from "../../src/config/mod.ts";

/** The README's samples, in the order in which they stand there. */
function samples(): string[] {
  const text = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
  return [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, sample = ""]) => sample);
}

test("the samples of the README are one folder that loads without a word in either mode", async () => {
  const [mesh = "", objects = ""] = samples();
  expect(samples()).toHaveLength(3);
  const files = [{ path: "mesh/mesh.yaml", text: mesh }, { path: "mesh/shop.yaml", text: objects }];
  const ztunnel = await parseLocalFiles(files, {});
  if (!ztunnel.ok) throw new Error(JSON.stringify(ztunnel.errors));
  expect(ztunnel.warnings).toEqual([]);
  expect(ztunnel.document.policies.map(({ name }) => name)).toEqual(["only-through-the-waypoint"]);

  const waypoint = await parseLocalFiles(files, {
    waypoint: {
      gateway: undefined,
      clusterDomain: "cluster.local",
      trustDomains: ["cluster.local"],
      network: "",
      address: "10.0.0.9",
      rootNamespace: "istio-system",
      accessLog: undefined,
    },
  });
  if (!waypoint.ok) throw new Error(JSON.stringify(waypoint.errors));
  expect(waypoint.warnings).toEqual([]);
  expect(waypoint.waypoint?.gateway).toEqual({ namespace: "shop", name: "waypoint" });
  const [chain] = Object.values(waypoint.waypoint?.chains ?? {});
  expect(chain?.name).toBe("inbound-vip|80|http|web.shop.svc.cluster.local");
  expect(chain?.authorization.map(({ action }) => action)).toEqual(["ALLOW"]);
  expect(chain?.telemetry.accessLogs).toHaveLength(1);
});

test("the mesh that is asked about loads, with a word only about the workload without a trust domain", async () => {
  const parsed = await parseLocalFiles([{ path: "why.yaml", text: samples()[2] ?? "" }], {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  expect(parsed.warnings.map(({ message }) => message)).toEqual([
    "workloads[4]: spiffe:///ns/shop/sa/odd is no SPIFFE id: HBONE needs trustDomain and serviceAccount",
  ]);
  expect(parsed.document.workloads.map(({ name }) => name)).toEqual([
    ...["web-1", "cart-1", "pay-1", "waypoint-1", "odd-1", "db-1"],
  ]);
});
