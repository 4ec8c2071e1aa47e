/** What `/debug/controlplane` tells (src/process/control_plane_dump.ts). */
import { expect, test } from "bun:test";
import { sortedJson } from "../../src/admin/sorted_json.ts";
import { dumpControlPlane } from "../../src/process/mod.ts";

const AT = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

const written = (dump: unknown) =>
  JSON.parse([...sortedJson(dump)].filter((piece) => typeof piece === "string").join(""));

test("stream, types and lists, with times that people read", () => {
  const url = "type.googleapis.com/istio.workload.Address";
  const dump = dumpControlPlane({
    connected: false,
    since: AT,
    nextTry: AT + 1_000,
    lastError: "gone",
    synced: true,
    types: [
      { typeUrl: url, resources: 3, lastPush: AT, refused: { at: AT, error: "a: no" } },
      { typeUrl: "other", resources: 0, lastPush: undefined, refused: undefined },
    ],
  }, { path: "/crl.pem", lists: 1, entries: 2, loaded: AT, error: undefined });
  const time = "2026-01-02T03:04:05.006Z";
  expect(written(dump)).toEqual({
    discovery: {
      connected: false,
      since: time,
      nextTry: "2026-01-02T03:04:06.006Z",
      lastError: "gone",
      synced: true,
      types: [
        { typeUrl: url, resources: 3, lastPush: time, refused: { at: time, error: "a: no" } },
        { typeUrl: "other", resources: 0 },
      ],
    },
    revocation: { path: "/crl.pem", lists: 1, entries: 2, loaded: time },
  });
});

test("what there is none of is absent", () => {
  expect(written(dumpControlPlane(undefined, undefined))).toEqual({});
});
