/** Real answers of a control plane through the client: the mesh is the one that they make when they are applied whole. */
import { describe, expect, test } from "bun:test";
import { GrpcError, GrpcStatus } from "../../../src/grpc/mod.ts";
import { MeshState } from "../../../src/mesh/mod.ts";
import type { AdsPart } from "../../../src/xds/mod.ts";
import { applyPush, bytesOf, FIRST, LATER, loadMesh, type Push, resourcesOf, responseOf } from "../captures.ts";
import { dumpOf } from "../dump.ts";
import { meshTypes } from "./mesh_types.ts";
import { connected, settled } from "./setting.ts";

function replay(slow: boolean) {
  const mesh = new MeshState("node-a");
  const parts: AdsPart[] = [];
  const client = connected(meshTypes(mesh, (part) => {
    parts.push(part);
    // So that no part is larger than the least.
    if (slow) client.clock.work(50);
  }));
  const push = (name: Push) => {
    client.channel.last.push(bytesOf(name));
    client.clock.settle();
  };
  return { mesh, parts, push, ...client };
}

/** Names and versions of all that the pushes have brought and not taken back. */
function versionsAfter(pushes: readonly Push[]): Record<string, string>[] {
  const types = new Map<string, Map<string, string>>();
  for (const push of pushes) {
    const response = responseOf(push);
    let versions = types.get(response.typeUrl);
    if (versions === undefined) types.set(response.typeUrl, versions = new Map());
    for (const name of response.removed) versions.delete(name);
    for (const { name, version } of resourcesOf(response)) versions.set(name, version);
  }
  return [...types.values()].map((versions) => Object.fromEntries(versions));
}

for (const slow of [false, true]) {
  describe(slow ? "in parts that are as small as can be" : "at once", () => {
    test("wds: the mesh, the answers, and being synced", async () => {
      const { mesh, push, channel, client, parts, lines } = replay(slow);
      lines();
      for (const name of FIRST) push(`wds/${name}`);
      expect(dumpOf(mesh)).toEqual(dumpOf(loadMesh("wds")));
      expect(channel.last.sent()).toEqual(FIRST.map((name) => {
        const { typeUrl, nonce } = responseOf(`wds/${name}`);
        return { typeUrl, responseNonce: nonce };
      }));
      expect(await settled(client.synced)).toBe(true);
      expect(lines().at(-1)).toContain(
        "synced with the control plane\tistio.workload.Address=65 istio.security.Authorization=7 took=",
      );
      if (slow) expect(parts.length).toBeGreaterThan(3);
      expect(parts.map(({ last }) => last).indexOf(true)).toBe(parts.length - 1);
    });

    test("wds-live: after each later push the mesh is the same, and what is known is what came and did not go", () => {
      const { mesh, push, channel, clock, client } = replay(slow);
      const whole = loadMesh("wds-live");
      for (const name of FIRST) push(`wds-live/${name}`);
      for (const name of LATER) {
        push(`wds-live/${name}`);
        applyPush(whole, responseOf(`wds-live/${name}`));
        expect(dumpOf(mesh)).toEqual(dumpOf(whole));
      }
      channel.last.sent();
      channel.last.end(new GrpcError("protocol", GrpcStatus.unavailable, "lost the connection"));
      clock.pass(20);
      channel.last.open();
      clock.settle();
      const all = [...FIRST, ...LATER].map((name): Push => `wds-live/${name}`);
      expect(channel.last.sent().map(({ initialResourceVersions }) => initialResourceVersions!)).toEqual(
        versionsAfter(all),
      );
      expect(client.status().types.map(({ resources }) => resources)).toEqual([65, 7]);
    });
  });
}
