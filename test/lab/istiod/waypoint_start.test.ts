/** A waypoint and the CA that it starts beside. */
import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { labSuite } from "../fixture.ts";
import {
  ambientBinary,
  LAB_NAMESPACE,
  Proxy,
  READINESS_PORT,
  waypointGateway,
  writeConfiguration,
} from "../mesh/mod.ts";
import { controlledMesh } from "./fixture.ts";

labSuite("a waypoint that starts before its CA", () => {
  const shared = controlledMesh({ pods: [], start: false });

  test("is not ready, asks again, and is ready when the CA has come", async () => {
    const { lab, istiod } = shared();
    const configuration = join(lab.directory, "waypoint");
    mkdirSync(configuration);
    writeConfiguration(configuration, { workloads: [], objects: [waypointGateway()] });
    const { namespace, ip } = lab.addOutside("waypoint");
    await istiod.setPort({ connections: "refuse" });
    const waypoint = new Proxy({
      label: "waypoint",
      namespace,
      command: [ambientBinary(), "--mode=waypoint", "--config", configuration],
      environment: {
        XDS_ADDRESS: "",
        CA_ADDRESS: istiod.url,
        CA_ROOT_CA: istiod.rootPath,
        AUTH_TOKEN: istiod.tokenPath,
        TRUST_DOMAIN: "cluster.local",
        POD_NAMESPACE: LAB_NAMESPACE,
        POD_NAME: "waypoint",
        SERVICE_ACCOUNT: "waypoint",
        INSTANCE_IP: ip,
      },
    });
    try {
      await waypoint.process.line((line) => line.includes("certificate cannot be fetched"));
      expect((await waypoint.ask(READINESS_PORT, "/healthz/ready")).status).toBe(503);
      await istiod.setPort({ connections: "accept" });
      await waypoint.untilReady();
    } finally {
      await waypoint.process.stop("SIGKILL");
    }
  }, 120_000);
});
