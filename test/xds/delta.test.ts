/** Messages of delta ADS: responses read, requests written, beside generated code. */
import { describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from "../../proto/gen/discovery_pb.ts";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  decodeDeltaResponse,
  type DeltaRequest,
  encodeDeltaRequest,
} from "../../src/xds/mod.ts";
import { ALL, bytesOf, jsonOf, resourcesOf, responseOf } from "./captures.ts";

interface JsonResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly systemVersionInfo: string;
  readonly resources?: readonly { name: string; version?: string; resource: { "@type": string } }[];
  readonly removedResources?: readonly string[];
}

describe("responses", () => {
  for (const push of ALL) {
    test(push, () => {
      const json = jsonOf(push) as JsonResponse;
      const response = responseOf(push);
      expect(response).toMatchObject({
        typeUrl: json.typeUrl,
        nonce: json.nonce,
        systemVersion: json.systemVersionInfo,
        removed: json.removedResources ?? [],
      });
      const resources = resourcesOf(response).map(({ name, version, typeUrl }) => ({ name, version, typeUrl }));
      expect(resources).toEqual((json.resources ?? []).map(({ name, version = "", resource }) => ({
        name,
        version,
        typeUrl: resource["@type"],
      })));
    });
  }

  test("the types are those that ztunnel asks for", () => {
    expect(new Set(ALL.map((push) => responseOf(push).typeUrl))).toEqual(new Set([ADDRESS_TYPE, AUTHORIZATION_TYPE]));
  });

  test("one bad resource does not keep the others from being read", () => {
    const good = { name: "good", version: "1", resource: { typeUrl: ADDRESS_TYPE, value: Uint8Array.of(10, 0) } };
    const bytes = toBinary(
      DeltaDiscoveryResponseSchema,
      create(DeltaDiscoveryResponseSchema, { resources: [good, { name: "worse" }, good], typeUrl: ADDRESS_TYPE }),
    );
    // The name of the second becomes the number 14, with bytes that are none of its own.
    const at = bytes.findIndex((_, i) => String.fromCharCode(...bytes.subarray(i, i + 5)) === "worse");
    bytes[at - 2] = 0x18;
    const result = decodeDeltaResponse(bytes);
    if (!result.ok) throw new Error(result.error);
    const { resources } = result.response;
    expect(resources.length).toBe(3);
    expect(resources.at(0)).toEqual({ ok: true, resource: { ...good.resource, name: "good", version: "1" } });
    expect(resources.at(1)).toEqual({ ok: false, error: "resource 1: name: wire type 0, not 2", name: "" });
    expect(resources.at(2)).toEqual(resources.at(0));
    expect(() => resources.at(3)).toThrow(RangeError);
  });

  test("a resource without content, and one with extras", () => {
    const bytes = toBinary(
      DeltaDiscoveryResponseSchema,
      create(DeltaDiscoveryResponseSchema, { resources: [{ name: "empty", aliases: ["a"] }], nonce: "n" }),
    );
    const result = decodeDeltaResponse(bytes);
    if (!result.ok) throw new Error(result.error);
    expect(result.response.resources.at(0)).toEqual({
      ok: true,
      resource: { name: "empty", version: "", typeUrl: "", value: new Uint8Array(0), aliases: ["a"] },
    });
  });

  test("a frame that is cut is refused whole", () => {
    const bytes = bytesOf("wds/delta-002-Authorization");
    expect(decodeDeltaResponse(bytes.subarray(0, bytes.length - 1))).toEqual({
      ok: false,
      error: "DeltaDiscoveryResponse: nonce: truncated: 58 bytes announced, 57 left",
    });
  });
});

describe("requests", () => {
  const read = (request: DeltaRequest) =>
    toJson(DeltaDiscoveryRequestSchema, fromBinary(DeltaDiscoveryRequestSchema, encodeDeltaRequest(request)));

  test("the first of a type on a stream", () => {
    const metadata = {
      NAME: "ztunnel-a",
      INSTANCE_IPS: "10.244.0.3",
      EMPTY: "",
      nested: { yes: true, no: false, nothing: null, numbers: [1, -2.5, 0], deeper: { list: [[], {}] } },
    };
    const versions = new Map([["Kubernetes//Pod/shop/a", "v1"], ["shop/demanded", ""]]);
    const id = "ztunnel~10.244.0.3~ztunnel-a.istio-system~istio-system.svc.cluster.local";
    expect(read({ node: { id, metadata }, typeUrl: ADDRESS_TYPE, initialVersions: versions })).toEqual({
      node: { id, metadata },
      typeUrl: ADDRESS_TYPE,
      initialResourceVersions: { "Kubernetes//Pod/shop/a": "v1", "shop/demanded": "" },
    });
  });

  test("wildcard, on demand", () => {
    expect(read({ typeUrl: AUTHORIZATION_TYPE })).toEqual({ typeUrl: AUTHORIZATION_TYPE });
    expect(read({ typeUrl: ADDRESS_TYPE, subscribe: ["*"], unsubscribe: ["*", ""] })).toEqual({
      typeUrl: ADDRESS_TYPE,
      resourceNamesSubscribe: ["*"],
      resourceNamesUnsubscribe: ["*", ""],
    });
  });

  test("acknowledged and refused", () => {
    expect(read({ typeUrl: ADDRESS_TYPE, nonce: "n" })).toEqual({ typeUrl: ADDRESS_TYPE, responseNonce: "n" });
    expect(read({ typeUrl: ADDRESS_TYPE, nonce: "n", error: "a: b; ü: c" })).toEqual({
      typeUrl: ADDRESS_TYPE,
      responseNonce: "n",
      errorDetail: { message: "a: b; ü: c" },
    });
    // A refusal without a text is one still.
    expect(read({ typeUrl: ADDRESS_TYPE, nonce: "n", error: "" })).toHaveProperty("errorDetail");
  });
});
