import { describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Version,
  type WorkloadRequest,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from "../../../proto/gen/zds_pb.ts";
import {
  encodeAck,
  HELLO,
  MAX_PACKET,
  type ParsedPacket,
  parsePacket,
  type ZdsRequest,
} from "../../../src/ztunnel/zds/messages.ts";

const bytes = (hex: string) =>
  Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
const ascii = (text: string) => hex(new TextEncoder().encode(text));
const parse = (packet: Uint8Array, fdCount = 0, truncated = false) =>
  parsePacket({ bytes: packet, fdCount, truncated });

describe("golden bytes", () => {
  test("hello and the answer of success", () => {
    expect(hex(HELLO)).toBe("08 01");
    expect(hex(encodeAck())).toBe("0a 00");
    expect(hex(encodeAck(""))).toBe("0a 00");
  });

  test("the answer of failure", () => {
    expect(hex(encodeAck("no"))).toBe(`0a 04 0a 02 ${ascii("no")}`);
  });

  const requests: [string, string, number, ZdsRequest][] = [
    ["snapshot_sent", "1a 00", 0, { kind: "snapshot-sent" }],
    ["keep", `2a 05 0a 03 ${ascii("uid")}`, 0, { kind: "keep", uid: "uid" }],
    ["del", `12 05 12 03 ${ascii("uid")}`, 0, { kind: "del", uid: "uid" }],
    [
      "add",
      `0a 0f 0a 03 ${ascii("uid")} 12 08 0a 01 ${ascii("n")} 12 00 1a 01 ${ascii("s")}`,
      1,
      { kind: "add", uid: "uid", info: { name: "n", namespace: "", serviceAccount: "s" } },
    ],
    ["add without its pod", `0a 05 0a 03 ${ascii("uid")}`, 1, { kind: "add", uid: "uid", info: undefined }],
    [
      "add with an empty pod",
      `0a 07 0a 03 ${ascii("uid")} 12 00`,
      1,
      { kind: "add", uid: "uid", info: { name: "", namespace: "", serviceAccount: "" } },
    ],
    ["the last of two payloads", `1a 00 2a 03 0a 01 ${ascii("k")}`, 0, { kind: "keep", uid: "k" }],
    ["unknown fields everywhere", `30 07 1a 03 0a 01 00 4a 02 08 01`, 0, { kind: "snapshot-sent" }],
    ["a reserved field of the pod", `0a 08 12 06 0a 01 ${ascii("n")} 22 01 ff`, 1, {
      kind: "add",
      uid: "",
      info: { name: "n", namespace: "", serviceAccount: "" },
    }],
  ];
  test.each(requests)("%s", (_name, packet, fdCount, request) => {
    expect(parse(bytes(packet), fdCount)).toEqual({ ok: true, request });
  });
});

describe("refusals", () => {
  const keep = `2a 05 0a 03 ${ascii("uid")}`;
  const add = `0a 07 0a 03 ${ascii("uid")} 12 00`;
  const table: [string, string, number, boolean, string][] = [
    ["nothing inside", "", 0, false, "WorkloadRequest has no known payload"],
    ["a payload of the future", "32 00", 0, false, "WorkloadRequest has no known payload"],
    ["an add without a descriptor", add, 0, false, "add came with 0 descriptors, not 1"],
    ["an add with two", add, 2, false, "add came with 2 descriptors, not 1"],
    ["a keep with one", keep, 1, false, "keep came with 1 descriptors, not 0"],
    ["a del with one", "12 00", 1, false, "del came with 1 descriptors, not 0"],
    ["a snapshot_sent with one", "1a 00", 1, false, "snapshot-sent came with 1 descriptors, not 0"],
    [
      "a cut packet",
      keep,
      0,
      true,
      "packet was truncated: more than 1024 bytes, too many descriptors, or none free here",
    ],
    ["an end in the middle", "2a 05 0a 03", 0, false, "invalid WorkloadRequest: "],
    ["a length beyond the end", "2a 7f 0a 03 61 61 61", 0, false, "invalid WorkloadRequest: "],
    ["text that is not UTF-8", "2a 03 0a 01 ff", 0, false, "invalid WorkloadRequest: "],
    ["field number 0", "02 00", 0, false, "invalid WorkloadRequest: "],
    ["random text", ascii("hello?"), 0, false, "invalid WorkloadRequest: "],
  ];
  test.each(table)("%s", (_name, packet, fdCount, truncated, error) => {
    const parsed = parse(bytes(packet), fdCount, truncated);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.error).toStartWith(error);
  });
});

describe("against the generated code of proto/zds.proto", () => {
  test("hello and answers", () => {
    expect(hex(toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version: Version.V1 })))).toBe(hex(HELLO));
    for (const error of ["", "x", "ä".repeat(70), "failure to start proxy : bind([::]:15001): EADDRINUSE"]) {
      const response = create(WorkloadResponseSchema, { payload: { case: "ack", value: { error } } });
      expect(hex(encodeAck(error))).toBe(hex(toBinary(WorkloadResponseSchema, response)));
    }
  });

  function expected(request: WorkloadRequest): ParsedPacket {
    const { payload } = request;
    switch (payload.case) {
      case "add": {
        const { uid, workloadInfo } = payload.value;
        const info = workloadInfo === undefined ? undefined : {
          name: workloadInfo.name,
          namespace: workloadInfo.namespace,
          serviceAccount: workloadInfo.serviceAccount,
        };
        return { ok: true, request: { kind: "add", uid, info } };
      }
      case "del":
      case "keep":
        return { ok: true, request: { kind: payload.case, uid: payload.value.uid } };
      case "snapshotSent":
        return { ok: true, request: { kind: "snapshot-sent" } };
      case undefined:
        return { ok: false, error: "WorkloadRequest has no known payload" };
    }
  }

  let state = 12345;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  const alphabet = ["", "a", "0b1c-2d3e", "default", "wéb", "€𝄞", "x".repeat(130), "\0", "bond"];
  const word = () => alphabet[random(alphabet.length)] ?? "";
  const pod = () =>
    random(4) === 0 ? {} : { workloadInfo: { name: word(), namespace: word(), serviceAccount: word() } };
  const request = (): WorkloadRequest => {
    const kind = random(4);
    if (kind === 0) {
      return create(WorkloadRequestSchema, { payload: { case: "add", value: { uid: word(), ...pod() } } });
    }
    if (kind === 1) return create(WorkloadRequestSchema, { payload: { case: "keep", value: { uid: word() } } });
    if (kind === 2) return create(WorkloadRequestSchema, { payload: { case: "del", value: { uid: word() } } });
    return create(WorkloadRequestSchema, { payload: { case: "snapshotSent", value: {} } });
  };
  /** Fields that neither side knows, of all wire types: varint, 64 bit, length-delimited, group, 32 bit. */
  const unknown = ["", "78 7f", "79 01 02 03 04 05 06 07 08", "7a 02 0a 01", "7b 08 01 7c", "7d 01 02 03 04"].map(
    bytes,
  );
  const packet = () => {
    const parts = Array.from({ length: 1 + random(3) }, () => [
      ...toBinary(WorkloadRequestSchema, request()),
      ...unknown[random(unknown.length)] ?? [],
    ]);
    return Uint8Array.from(parts.flat());
  };

  test("random requests, joined and with unknown fields between them, mean the same", () => {
    for (let i = 0; i < 5000; i++) {
      const sample = packet();
      const reference = expected(fromBinary(WorkloadRequestSchema, sample));
      const isAdd = reference.ok && reference.request.kind === "add";
      expect([hex(sample), parse(sample, isAdd ? 1 : 0)]).toEqual([hex(sample), reference]);
    }
  });

  test("damaged requests never throw", () => {
    const outcomes = { understood: 0, refused: 0 };
    for (let i = 0; i < 20_000; i++) {
      const sample = packet();
      for (let edits = random(4); edits > 0; edits--) sample[random(sample.length)] = random(256);
      const cut = sample.subarray(0, random(3) === 0 ? random(sample.length + 1) : sample.length);
      const parsed = parse(cut, random(2));
      outcomes[parsed.ok ? "understood" : "refused"]++;
      if (!parsed.ok) expect(parsed.error).not.toBe("");
    }
    expect(outcomes.understood).toBeGreaterThan(1000);
    expect(outcomes.refused).toBeGreaterThan(1000);
  });
});

describe("answers fit into the agent's buffer", () => {
  const decode = (packet: Uint8Array) => {
    const { payload } = fromBinary(WorkloadResponseSchema, packet);
    return payload.case === "ack" ? payload.value.error : undefined;
  };

  test.each([127, 128, 1017, 1018])("%d bytes of text are sent whole", (length) => {
    const text = "e".repeat(length);
    const packet = encodeAck(text);
    expect(packet.length).toBeLessThanOrEqual(MAX_PACKET);
    expect(decode(packet)).toBe(text);
  });

  test.each(["e", "ä", "€", "𝄞"])("a long text of %s is cut between characters", (character) => {
    for (let shift = 0; shift < 4; shift++) {
      const text = "x".repeat(shift) + character.repeat(2000);
      const packet = encodeAck(text);
      expect(packet.length).toBeLessThanOrEqual(MAX_PACKET);
      expect(packet.length).toBeGreaterThan(MAX_PACKET - 4);
      const error = decode(packet) ?? "";
      expect(error).toEndWith("…");
      expect(text).toStartWith(error.slice(0, -1));
    }
  });

  test("half a surrogate pair is no reason to fail", () => {
    expect(decode(encodeAck("a\ud834"))).toBe("a\ufffd");
  });
});
